"""Checks tokenizers against their models. Apart from the other checks: it needs torch and transformers."""

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.parts import Model, TokenSet

_LENGTH = 64


def check_tokenizers(study: Study) -> None:
    """Every tokenizer must load, and its model must know the tokens that it makes of any text.

    A tokenizer may have added tokens that its model does not know, such as one for pictures: text need not hold them.

    Raises:
        StudyError: a model without tokenizer files, or with those of another model.
    """
    for tokens in study.tokens.values():
        _check(tokens)


def _check(tokens: TokenSet) -> None:
    from sae_stability.corpus.tokenize import token_blocks
    from sae_stability.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tokens.model)
    known = _vocabulary_size(tokens.model)
    # Documents of a letter bring every token that stands around text.
    length = min(tokens.context_length, _LENGTH)
    blocks = token_blocks(["a"] * length, tokenizer, length, tokens.packing)
    made = {token for some in blocks for token in some.tokens.ravel().tolist()}
    made |= {*tokenizer.get_vocab().values()} - {*tokenizer.get_added_vocab().values()}
    if known is not None and max(made) >= known:
        raise StudyError(
            f"models.{tokens.model.slug}: the tokenizer makes token {max(made):,}, but the model knows {known:,} "
            "tokens; put the tokenizer files that belong to the model beside its config.json"
        )


def _vocabulary_size(model: Model) -> int | None:
    """Rows of the model's table of tokens; None for a model that cannot be built without weights, or has no table."""
    from sae_stability.models.loading import model_config, skeleton
    from sae_stability.models.parts import part_of
    from sae_stability.models.vocabulary import known_tokens

    config = model_config(model)
    try:
        return known_tokens(part_of(skeleton(config), model))
    except StudyError:
        raise
    except Exception:
        return None
