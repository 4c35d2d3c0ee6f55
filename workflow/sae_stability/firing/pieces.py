"""Tokens as pieces of text: joined, they are the text as the tokenizer decodes it."""

from collections.abc import Sequence

_INCOMPLETE = "\ufffd"


def pieces(tokenizer, tokens: Sequence[int]) -> list[str]:
    """The piece of text that each token adds to the text before it; `"".join` gives the text of all tokens.

    So a word piece carries no mark and a new word brings its space along. A character that several tokens make up
    belongs to the last of them, and the others have an empty piece. Characters that begin before the first token or
    end after the last one become U+FFFD.

    Args:
        tokenizer: a tokenizer of transformers.
        tokens: token ids.
    """
    found, text = [], ""
    for end in range(1, len(tokens) + 1):
        longer = tokenizer.decode(tokens[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if end < len(tokens) and longer.endswith(_INCOMPLETE):
            found.append("")  # the next token may complete the character
        else:
            found.append(longer[len(text) :])
            text = longer
    return found
