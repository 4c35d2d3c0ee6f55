"""The threshold on the cosine that is used where none is given."""

THRESHOLD = 0.7
"""Cosine from which a matched latent counts as shared (arXiv 2501.16615)."""
