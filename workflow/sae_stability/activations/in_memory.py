"""Activations of a few texts in memory, for a Python session."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import forward
from sae_stability.activations.extraction import check_fit
from sae_stability.activations.hooks import Hooks
from sae_stability.corpus.packing import Blocks
from sae_stability.corpus.tokenize import token_blocks
from sae_stability.devices import check_device
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from sae_stability.models.unloaded import missing_weights
from sae_stability.ranges import checked_count


def extract(
    model,
    texts: Sequence[str],
    hookpoints: Sequence[str],
    *,
    context_length: int = 128,
    packing: bool = False,
    keep_special: bool = False,
    tokenizer=None,
    device: str = "cpu",
    batch_tokens: int | None = None,
) -> dict[str, np.ndarray]:
    """Activations of texts at several hookpoints, read in one forward pass.

    The rows are those that the extraction of a study writes: one a token, without special tokens and padding.

    Args:
        model: a hub name, folder or `package:NAME/FOLDER`; a `ModelSource`, which also states revision, checksum and
            precision; or a loaded transformers model, which is used as it is.
        texts: the texts.
        hookpoints: `PATH` (a module's output) or `PATH:in` (its input); `hooks.list_hookpoints` lists them.
        context_length: tokens a block, special ones included.
        packing: join the texts and cut them into full blocks; an incomplete last block is dropped. By default each text
            is a block of its own, cut at `context_length`.
        keep_special: keep special tokens; padding is never kept.
        tokenizer: the tokenizer of a loaded model; any other model has its own.
        device: a torch device; a loaded model stays where it is.
        batch_tokens: tokens a forward pass; None for what suits the device.

    Returns:
        For each hookpoint an array (rows, d_model) float32, rows in the order of the texts and of their tokens.

    Raises:
        StudyError: no such model, hookpoint or device; texts that are no list of text, too few or of no tokens; a
            context length that the model has no positions for; `batch_tokens` below 1.

    Example:
        >>> import tempfile
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast
        >>> from sae_stability.activations import extract
        >>> words = Tokenizer(models.WordLevel({"?": 0, "the": 1, "cat": 2, "sat": 3}, unk_token="?"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
        >>> model = GPT2Model(GPT2Config(vocab_size=4, n_embd=8, n_layer=1, n_head=2, n_positions=16))
        >>> found = extract(model, ["the cat sat", "the cat"], ["h.0.mlp"], context_length=16, tokenizer=tokenizer)
        >>> found["h.0.mlp"].shape
        (5, 8)
    """
    if isinstance(texts, str) or isinstance(hookpoints, str):
        raise StudyError("extract: texts and hookpoints must be lists; put a single one in brackets")
    texts, hookpoints = _words(texts, "texts"), _words(hookpoints, "hookpoints")
    context_length = checked_count("context_length", context_length)
    batch_tokens = None if batch_tokens is None else checked_count("batch_tokens", batch_tokens)
    check_device(device)
    loaded = not isinstance(model, str | Path | ModelSource)
    if loaded and not isinstance(model, torch.nn.Module):
        raise StudyError(f"extract: model is {type(model).__name__}; give a name, a folder, a ModelSource or a model")
    if loaded and tokenizer is None:
        raise StudyError("extract: a loaded model needs its tokenizer; give tokenizer=")
    source = model if isinstance(model, ModelSource) else ModelSource(str(model))
    tokenizer = tokenizer or load_tokenizer(source)
    network = model if loaded else load_model(source, device)
    device = str(next(network.parameters()).device)
    blocks = list(token_blocks(texts, tokenizer, context_length, packing))
    if not blocks:
        raise StudyError("extract: the texts make no block; give more text, a shorter context_length, or packing=False")
    check_fit(network, context_length, max(int(some.tokens.max()) for some in blocks))
    found: dict[str, list[torch.Tensor]] = {hookpoint: [] for hookpoint in hookpoints}
    index = []
    with _evaluating(network), Hooks(network, hookpoints) as hooks:
        for batch in forward.batches(_kept(blocks, keep_special), batch_tokens or forward.suitable_tokens(device)):
            index.append(batch.token_index)
            for hookpoint, rows in forward.rows(hooks, batch).items():
                _check_weights(network, hookpoint, rows)
                found[hookpoint].append(rows.float().cpu())
    # Batches hold blocks of similar length, not neighbouring ones.
    order = torch.from_numpy(np.argsort(np.concatenate(index)))
    return {hookpoint: torch.cat(rows)[order].numpy() for hookpoint, rows in found.items()}


def _check_weights(model: torch.nn.Module, hookpoint: str, rows: torch.Tensor) -> None:
    """Refuse activations that rest on weights which the model's files do not have."""
    if missing_weights(model) and not torch.isfinite(rows).all():
        raise StudyError(f"hookpoint '{hookpoint}' needs weights that are not there: {missing_weights(model)}")


def _words(values: Sequence[str], name: str) -> list[str]:
    found = list(values)
    wrong = [value for value in found if not isinstance(value, str)]
    if wrong or not found:
        what = f"holds {type(wrong[0]).__name__}" if wrong else "is empty"
        raise StudyError(f"extract: {name} {what}; give a list of strings")
    return found


@contextlib.contextmanager
def _evaluating(network: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode; afterwards every module is in its own mode again."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _kept(blocks: list[Blocks], keep_special: bool):
    """Yield (number of the first block, blocks, mask of the rows), as `forward.batches` takes them."""
    first = 0
    for some in blocks:
        yield first, some, (some.document_id >= 0) if keep_special else some.trainable
        first += len(some)
