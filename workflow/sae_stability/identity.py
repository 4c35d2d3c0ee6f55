"""`Contents` under the name by which scripts of others import it."""

from sae_stability.pipeline.contents import Contents

__all__ = ["Contents"]
