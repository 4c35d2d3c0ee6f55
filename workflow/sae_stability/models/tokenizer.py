"""Loading a model's tokenizer. Apart from `loading`, because text is tokenized without torch."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.models.boundary import loading
from sae_stability.models.source import ModelSource

_VOCABULARY = ("tokenizer*.json", "tekken*.json", "vocab*", "*.model", "*.tiktoken", "*.bpe", "*.vocab", "*.spm")


def load_tokenizer(source: ModelSource):
    """The tokenizer of a model, as transformers loads it.

    Raises:
        StudyError: there is none, or one without a vocabulary, which transformers makes up where files are missing.
    """
    import transformers

    with loading("tokenizer", source):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source.location, revision=source.revision, trust_remote_code=False
        )
        empty = not set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    # A class without names of files, as one for bytes, has its vocabulary in its code.
    if empty or (tokenizer.vocab_files_names and source.folder and not _has_vocabulary(source.folder)):
        wanted = sorted({*tokenizer.vocab_files_names.values(), "tokenizer.json"})
        raise StudyError(
            f"tokenizer '{source.name}': there is no file with its vocabulary ({' or '.join(wanted)}); "
            "put those of the model beside its config.json"
        )
    return tokenizer


def _has_vocabulary(folder: Path) -> bool:
    """Whether a folder has any file that may hold a tokenizer's vocabulary."""
    files = {file.name for pattern in _VOCABULARY for file in folder.glob(pattern)}
    return bool(files - {"tokenizer_config.json"})
