"""Loading a model's tokenizer. Apart from `loading`, because text is tokenized without torch."""

from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource


def load_tokenizer(source: ModelSource):
    """The tokenizer of a model, as transformers loads it.

    Raises:
        StudyError: there is none.
    """
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(source.location, revision=source.revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        at = f" (revision {source.revision})" if source.revision else ""
        raise StudyError(f"tokenizer '{source.name}'{at} cannot be loaded: {reason}") from None
