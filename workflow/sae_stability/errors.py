"""The exception for mistakes that a person can mend, and the message for a package that is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

# Package -> the extra of this project that installs it (pyproject.toml).
_EXTRAS = {
    **dict.fromkeys(("datasets", "tensorboard", "tokenizers", "torch", "transformers"), "train"),
    **dict.fromkeys(("matplotlib", "scipy", "seaborn", "snakemake"), "workflow"),
}


class StudyError(Exception):
    """What is wrong, where, and how to mend it, in one or two lines.

    The command line prints the message alone, without a traceback, and exits with 2.
    """


@contextmanager
def naming_missing_extra() -> Iterator[None]:
    """Say which extra to install when code in this block imports a package that is not installed.

    Raises:
        StudyError: in place of the ModuleNotFoundError of a package that an extra installs.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise StudyError(
            f"{package} is needed here but not installed; run: pip install 'sae-stability[{_EXTRAS[package]}]'"
        ) from error
