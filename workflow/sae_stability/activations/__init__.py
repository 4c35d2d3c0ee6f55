"""Activations of a model at its hookpoints: read from it, written to disk, read back.

The public function is imported when it is first asked for.
"""

from sae_stability.errors import naming_missing_extra

__all__ = ["extract"]


def __getattr__(name: str):
    with naming_missing_extra():
        if name == "extract":
            from sae_stability.activations.in_memory import extract

            return extract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
