"""Limits of a matching job."""

# SAEs that a job keeps in memory beside the two that it compares.
KEPT_BYTES = 2**30
