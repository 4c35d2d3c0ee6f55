"""Forward passes over a token set's blocks: several at once, results in order."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from sae_stability.activations.hooks import Hooks
from sae_stability.corpus.packing import Blocks

_CPU_TOKENS, _ACCELERATOR_TOKENS = 1024, 8192


@dataclass(frozen=True)
class Batch:
    """Blocks of one forward pass, cut to their longest, and which of their tokens are rows."""

    tokens: np.ndarray  # (blocks, length)
    mask: np.ndarray | None  # (blocks, length), None where nothing is padded
    kept: np.ndarray  # (blocks, length)
    token_index: np.ndarray  # (rows,)


def suitable_tokens(device: str) -> int:
    """Tokens a forward pass: on a CPU few, so that activations stay in its caches and threads finish together."""
    return _CPU_TOKENS if torch.device(device).type == "cpu" else _ACCELERATOR_TOKENS


def batches(kept_blocks: Iterable[tuple[int, Blocks, np.ndarray]], batch_tokens: int) -> Iterator[Batch]:
    """Blocks of like length together, so that little padding is computed; blocks without rows are left out.

    Args:
        kept_blocks: (number of the first block, blocks, mask of the rows), as `BlockFile.kept` yields them.
        batch_tokens: the most tokens a batch, padding included (but at least one block).
    """
    for first, some, kept in kept_blocks:
        lengths = (some.document_id >= 0).sum(axis=1)
        chosen = np.flatnonzero(kept.any(axis=1))
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        start = 0
        while start < len(chosen):
            # The longest of a run is its last; blocks are added while the padded batch stays in bounds.
            size = max(1, batch_tokens // int(lengths[chosen[start]]))
            while size > 1 and size * int(lengths[chosen[start : start + size][-1]]) > batch_tokens:
                size -= 1
            yield _batch(some, kept, lengths, chosen[start : start + size], first)
            start += size


def _batch(blocks: Blocks, kept: np.ndarray, lengths: np.ndarray, chosen: np.ndarray, first: int) -> Batch:
    length = int(lengths[chosen].max())
    kept = kept[chosen]
    mask = None if lengths[chosen].min() == length else blocks.document_id[chosen, :length] >= 0
    index = (first + chosen)[:, None] * kept.shape[1] + np.arange(kept.shape[1])
    return Batch(blocks.tokens[chosen, :length], mask, kept[:, :length], index[kept].astype(np.int64))


def rows(hooks: Hooks, batch: Batch) -> dict[str, torch.Tensor]:
    """The batch's rows at each hookpoint, (rows, width), in the order of its `token_index`."""
    device = next(hooks.model.parameters()).device
    inputs = {"input_ids": torch.from_numpy(batch.tokens).long().to(device)}
    if batch.mask is not None:
        inputs["attention_mask"] = torch.from_numpy(batch.mask).long().to(device)
    with torch.inference_mode():
        found = hooks.run(**inputs)
        kept = torch.from_numpy(batch.kept).to(device)
        return {hookpoint: activations[kept] for hookpoint, activations in found.items()}


@contextlib.contextmanager
def workers(device: str) -> Iterator[int]:
    """Yield how many batches to compute at once; within the context, torch computes each on one thread.

    As many as torch had threads: one thread a batch leaves fewer cores waiting than all threads on one batch, and a
    product gives the same bits however many there are. An accelerator takes one batch at a time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads if torch.device(device).type == "cpu" else 1
    finally:
        torch.set_num_threads(threads)
