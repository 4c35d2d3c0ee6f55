"""Forward passes over a token set's blocks, several at once, with results in order."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sae_stability.activations.writer import NonFinite
from sae_stability.corpus.packing import Blocks
from sae_stability.errors import StudyError, one_line
from sae_stability.models.unloaded import missing_weights

if TYPE_CHECKING:
    from sae_stability.activations.hooks import Hooks

_CPU_TOKENS, _ACCELERATOR_TOKENS = 1024, 8192


@dataclass(frozen=True)
class Batch:
    """The blocks of one forward pass, cut to the longest of them, and which of their tokens are rows."""

    tokens: np.ndarray  # (blocks, length)
    mask: np.ndarray | None  # (blocks, length), None where nothing is padded
    kept: np.ndarray  # (blocks, length)
    token_index: np.ndarray  # (rows,)


def suitable_tokens(device: str) -> int:
    """Tokens a forward pass. Few on a CPU, so that activations stay in its caches and threads finish together."""
    return _CPU_TOKENS if torch.device(device).type == "cpu" else _ACCELERATOR_TOKENS


def batches(kept_blocks: Iterable[tuple[int, Blocks, np.ndarray]], batch_tokens: int) -> Iterator[Batch]:
    """Yield batches of blocks of similar length, so that little padding is computed; blocks without rows are left out.

    Args:
        kept_blocks: (number of the first block, blocks, mask of the rows), as `BlockFile.kept` yields them.
        batch_tokens: most tokens in a batch, padding included; a batch has at least one block.
    """
    for first, some, kept in kept_blocks:
        lengths = (some.document_id >= 0).sum(axis=1)
        chosen = np.flatnonzero(kept.any(axis=1))
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        start = 0
        while start < len(chosen):
            # Blocks are sorted by length, so the last one of a batch decides how far the others are padded.
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


def rows(hooks: "Hooks", batch: Batch) -> dict[str, torch.Tensor]:
    """The batch's rows at each hookpoint, (rows, width), in the order of its `token_index`.

    Raises:
        StudyError: the model cannot run on the batch, or a hookpoint has no (batch, position, width).
    """
    device = next(hooks.model.parameters()).device
    with torch.inference_mode(), running(hooks.model, batch.tokens):
        given = inputs(batch, device)
        blocks, length = batch.tokens.shape
        if blocks == length > 1:
            # One block alone shows a module that gives (position, batch, width), which has the same shape here.
            hooks.run(**{name: value[:1] for name, value in given.items()})
        found = hooks.run(**given)
        kept = torch.from_numpy(batch.kept).to(device)
        return {hookpoint: activations[kept] for hookpoint, activations in found.items()}


def inputs(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """What a model takes for a batch: the tokens, (blocks, length), and their mask where some are padding."""
    given = {"input_ids": torch.from_numpy(batch.tokens).long().to(device)}
    if batch.mask is not None:
        given["attention_mask"] = torch.from_numpy(batch.mask).long().to(device)
    return given


def running(model: torch.nn.Module, tokens: np.ndarray | torch.Tensor) -> contextlib.AbstractContextManager[None]:
    """Turn any exception of a forward pass of tokens, (blocks, length), into one line that names the model and them."""
    blocks, length = tokens.shape
    name = getattr(model, "name_or_path", "") or type(model).__name__
    return one_line(
        f"model '{name}' cannot run on {blocks} x {length:,} tokens",
        "try a shorter context_length, fewer batch_tokens, or another dtype",
    )


@contextlib.contextmanager
def workers(device: str) -> Iterator[int]:
    """Yield how many batches to compute at once; within the context, torch computes each on one thread.

    On a CPU there are as many batches as torch had threads. That leaves fewer cores waiting than all threads on one
    batch, and a product then has the same bits with any number of threads. An accelerator takes one batch at a time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads if torch.device(device).type == "cpu" else 1
    finally:
        torch.set_num_threads(threads)


def not_finite(model: torch.nn.Module, hookpoint: str, error: NonFinite, context_length: int) -> StudyError:
    """What to say of a number that is not finite: weights that the model's files lack, or else where it is."""
    if lacking := missing_weights(model):
        return StudyError(f"hookpoint '{hookpoint}' needs weights that are not there: {lacking}; fetch the model again")
    return StudyError(error.at(hookpoint, context_length))
