"""Limits of a matching job."""

# Bytes of SAEs that a job keeps in memory for its other pairs; the two being compared may take more.
KEPT_BYTES = 2**30
