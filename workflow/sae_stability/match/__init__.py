"""Exact one-to-one matching of two dictionaries, and how much of them is shared.

`match_rows` and `overlap` are imported on first use. Neither needs torch.
"""

from sae_stability.errors import naming_missing_extra

__all__ = ["match_rows", "overlap"]


def __getattr__(name: str):
    with naming_missing_extra():
        if name == "match_rows":
            from sae_stability.match.assignment import match_rows

            return match_rows
        if name == "overlap":
            from sae_stability.match.pair_overlap import overlap

            return overlap
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
