"""A model in one word of a command line, where a job reads several models."""

import json

from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource

_ALLOWED = "name, revision, sha256, dtype, part, random_seed"


def written(source: ModelSource) -> str:
    """The model as JSON: its `name`, and what else is stated of it."""
    stated = {"name": source.name, "revision": source.revision, "sha256": source.sha256, "dtype": source.dtype}
    stated |= {"part": source.part, "random_seed": source.random_seed}
    return json.dumps({name: value for name, value in stated.items() if value is not None})


def read(text: str) -> ModelSource:
    """The model that `written` wrote.

    Raises:
        StudyError: no JSON of that kind.
    """
    try:
        return ModelSource(**json.loads(text))
    except (ValueError, TypeError):
        raise StudyError(f'model {text}: must be JSON such as {{"name": "gpt2"}}, with some of {_ALLOWED}') from None
