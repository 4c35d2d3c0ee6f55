"""Where transformers may fail on a model's files: every failure is one line, and code in the files is never run."""

import contextlib
from collections.abc import Iterator

from sae_stability.errors import StudyError, one_line
from sae_stability.models.source import ModelSource

# What transformers says, and asks for, where a model's files bring Python code.
_OWN_CODE = "trust_remote_code"


@contextlib.contextmanager
def loading(what: str, source: ModelSource) -> Iterator[None]:
    """Turn any exception in the block into one line that names the model.

    Args:
        what: "model" or "tokenizer".
        source: which model.

    Raises:
        StudyError: in place of the exception.
    """
    named = f"{what} '{source.name}'" + (f" (revision {source.revision})" if source.revision else "")
    try:
        with one_line(f"{named} cannot be loaded", "" if source.folder else "check the name, or the network"):
            yield
    except StudyError as error:
        if _OWN_CODE not in str(error.__cause__):
            raise
        raise StudyError(
            f"{named} brings Python code of its own, which is never run; "
            "choose a model that transformers knows by itself"
        ) from error
