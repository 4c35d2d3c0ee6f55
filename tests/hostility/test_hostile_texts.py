"""Texts that no author wrote: each reaches the blocks as it is."""

import json
from pathlib import Path

from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.tokenize import tokenize
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from tests.tiny import sentences, tiny_gpt_neox

TEXTS = {
    "control characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f\u2028\u2029\ufeff",
    "markup": "</script><script>alert(1)</script><!-- {{ x }} %s \\begin{x} &amp; ]]> <|endoftext",
    "right to left": "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u2066x\u2069",
    "beyond the plane": "\U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301\u0301\u0301 \U0010ffff \ufffe",
}
LONG = {"one long word": "x" * 200_000, "a line of 10 MB": "the river holds a stone " * 420_000}


def blocks_of(folder: Path, texts: list[str], train_tokens: int) -> list[str]:
    """The documents that come to stand in blocks, read back from their tokens."""
    model = tiny_gpt_neox(folder / "model", head=False)
    # JSON without escapes, but for what JSON does not allow bare.
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    tokenize(
        corpus={"kind": "files", "paths": [str(folder / "texts.jsonl")]},
        tokenizer=str(model),
        context_length=64,
        heldout_tokens=100,
        train_tokens=train_tokens,
        chunk_tokens=train_tokens,
        out=folder / "tokens",
    )
    found: dict[int, list[int]] = {}
    for chunk in ("heldout", 0):
        for _, blocks, kept in BlockFile(folder / "tokens", chunk).kept():
            for document, token in zip(blocks.document_id[kept].tolist(), blocks.tokens[kept].tolist(), strict=True):
                found.setdefault(document, []).append(token)
    tokenizer = load_tokenizer(ModelSource(str(model)))
    return [tokenizer.decode(tokens) for tokens in found.values()]


def test_any_text_reaches_the_blocks_as_it_is(tmp_path: Path):
    found = blocks_of(tmp_path, [*TEXTS.values(), *sentences(20), *sentences(20, seed=1)], 1500)
    for name, text in TEXTS.items():
        # The last document of a file may be cut.
        assert any(read in (text, text[: len(read)]) and len(read) > 20 for read in found), name


def test_lines_of_megabytes_are_read(tmp_path: Path):
    found = blocks_of(tmp_path, [*LONG.values(), *sentences(40)], 20_000)
    for name, text in LONG.items():
        assert any(text.startswith(read) and len(read) > 10_000 for read in found), name
