"""Sink tokens: rows with a norm so large that they would dominate the variance."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import forward
from sae_stability.activations.hooks import Hooks
from sae_stability.activations.writer import NonFinite
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.packing import Blocks
from sae_stability.random_streams import stream
from sae_stability.threads import in_order

SAMPLE_ROWS = 20_000  # rows that the median norm is estimated on, about


def norm_limits(
    hooks: Hooks, tokens: Path, multiple: float, *, keep_special: bool, batch_tokens: int, count: int
) -> dict[str, float]:
    """The norm above which a row is a sink, for each hookpoint: `multiple` times the median norm.

    The median is estimated on a random sample of blocks of the token set's chunk 0, whichever chunk is extracted, so
    that all chunks and the held-out rows share one limit.

    Args:
        hooks: the hooks on the model.
        tokens: folder of the token set.
        multiple: how many median norms make the limit.
        keep_special: whether special tokens are rows.
        batch_tokens: tokens a forward pass.
        count: how many batches to compute at once.

    Raises:
        StudyError: activations that are not finite.
    """
    blocks = BlockFile(tokens, 0)
    found: dict[str, list[torch.Tensor]] = {hookpoint: [] for hookpoint in hooks.hookpoints}

    def norms(batch: forward.Batch) -> dict[str, torch.Tensor]:
        return {
            hookpoint: _finite_norms(hooks.model, hookpoint, rows, batch.token_index, blocks.context_length)
            for hookpoint, rows in forward.rows(hooks, batch).items()
        }

    batches = forward.batches(_sample(blocks, keep_special), batch_tokens)
    for some in in_order(norms, batches, count):
        for hookpoint, values in some.items():
            found[hookpoint].append(values)
    return {hookpoint: float(torch.cat(values).median()) * multiple for hookpoint, values in found.items()}


def norms(rows: torch.Tensor) -> torch.Tensor:
    """The norms of rows (..., width), in float32."""
    return rows.float().norm(dim=-1)


def not_sink(rows: torch.Tensor, limit: float) -> torch.Tensor:
    """True for each of `rows` (..., width) whose norm is at most `limit`, or NaN, which the writer refuses later."""
    return ~(norms(rows) > limit)


def _finite_norms(
    model: torch.nn.Module, hookpoint: str, rows: torch.Tensor, token_index: np.ndarray, context_length: int
) -> torch.Tensor:
    values = norms(rows).cpu()
    finite = torch.isfinite(values)
    if not finite.all():
        error = NonFinite(int(token_index[int((~finite).nonzero()[0])]), overflow=False)
        raise forward.not_finite(model, hookpoint, error, context_length)
    return values


def _sample(blocks: BlockFile, keep_special: bool) -> Iterator[tuple[int, Blocks, np.ndarray]]:
    """Yield what `BlockFile.kept` yields, but with only the rows of a random sample of blocks."""
    counts = np.concatenate([kept.sum(axis=1) for _, _, kept in blocks.kept(keep_special=keep_special)])
    order = np.random.default_rng(stream("sinks")).permutation(len(counts))
    needed = int(np.searchsorted(np.cumsum(counts[order]), SAMPLE_ROWS)) + 1
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[order[:needed]] = True
    for first, some, kept in blocks.kept(keep_special=keep_special):
        number = first - blocks.first_block
        yield first, some, kept & chosen[number : number + len(some), None]
