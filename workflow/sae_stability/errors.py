"""The exception for mistakes that a person can mend, and how exceptions of other libraries become one."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# Package -> the extra of this project that installs it (pyproject.toml).
_EXTRAS = {
    **dict.fromkeys(("datasets", "tensorboard", "tokenizers", "torch", "transformers"), "train"),
    **dict.fromkeys(("matplotlib", "rocrate", "scipy", "seaborn", "snakemake", "typst"), "workflow"),
    **dict.fromkeys(("accelerate", "gguf"), "language-model"),
}


_LONGEST_CAUSE = 300
# Errors whose kind tells a person nothing.
_PLAIN = (OSError, ValueError, RuntimeError, Exception)


class StudyError(Exception):
    """What is wrong, where, and how to mend it, in one or two lines.

    The command line prints the message alone, without a traceback, and exits with 2.
    """


@contextmanager
def one_line(what: str, mend: str = "") -> Iterator[None]:
    """Turn any exception of another library in the block into a `StudyError` of one line.

    Libraries raise exceptions of many kinds on inputs that they were not made for, and those written in Rust raise one
    that is no `Exception`. A `StudyError` passes as it is. The original stays attached as the cause.

    Args:
        what: what failed, with the name of the model, data set or file: "model 'x' cannot be loaded".
        mend: what to do about it.

    Raises:
        StudyError: in place of the exception.
    """
    try:
        yield
    except (StudyError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise StudyError("; ".join(filter(None, [f"{what}: {cause(error)}", mend]))) from error


def cause(error: BaseException) -> str:
    """The first line of an error's message, with the error's kind unless that says nothing more."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].rstrip(".") if lines else ""
    text = text if len(text) <= _LONGEST_CAUSE else f"{text[: _LONGEST_CAUSE - 3]}..."
    return text if text and type(error) in _PLAIN else ": ".join(filter(None, [type(error).__name__, text]))


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


@contextmanager
def naming_failed_import() -> Iterator[None]:
    """Name the package of others that fails while it is imported in this block.

    Some read environment variables at that time, and stop at a value that they do not take.

    Raises:
        StudyError: in place of the package's exception.
    """
    try:
        yield
    except (StudyError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        modules = [frame.f_globals["__name__"] for frame in frames if frame.f_code.co_name == "<module>"]
        package = modules[-1].partition(".")[0] if modules else __package__
        if package in (__package__, "__main__"):
            raise
        suspects = [name for name, value in os.environ.items() if value and repr(value) in str(error)]
        mend = f"correct the environment variable {' or '.join(suspects)}" if suspects else "install it again"
        raise StudyError(f"{package} cannot be imported: {cause(error)}; {mend}") from error
