"""Loss of a language model when an SAE's reconstructions replace the activations at its hookpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import forward, hooks
from sae_stability.activations.sinks import not_sink
from sae_stability.corpus.blocks import BlockFile
from sae_stability.errors import StudyError
from sae_stability.models.loading import head_kind, load_model
from sae_stability.models.source import ModelSource
from sae_stability.random_streams import stream
from sae_stability.sae.model import SAE

MASKED_SHARE = 0.15
_BATCH_TOKENS = 1024  # two copies of a batch's logits are held; 1,024 x 50,000 floats take 200 MB


@dataclass(frozen=True)
class SplicedModel:
    """A language model with held-out text, to be scored with an SAE spliced in.

    Attributes:
        blocks: the held-out token blocks.
        network: the model, with its language-model head.
        max_tokens: approximate number of tokens to run on.
        device: a torch device.
    """

    blocks: BlockFile
    network: torch.nn.Module
    max_tokens: int
    device: str
    _ablated: dict[tuple, dict[str, float]] = field(default_factory=dict, init=False, repr=False)
    """What zeros and the mean gave in place of activations: the same for all SAEs of a hookpoint."""

    @classmethod
    def load(cls, tokens: Path, model: ModelSource, device: str, *, max_tokens: int) -> "SplicedModel":
        """Load the model, and the blocks of `heldout.parquet` beside its `manifest.json`.

        Raises:
            StudyError: as in `load_model`.
        """
        network = load_model(model, device, lm_head=True)
        return cls(BlockFile(tokens.parent, "heldout"), network, max_tokens, device)

    def metrics(
        self,
        sae: SAE,
        hookpoint: str,
        mean: torch.Tensor,
        *,
        keep_special: bool = False,
        max_norm: float | None = None,
    ) -> dict[str, float]:
        """Cross-entropy with activations kept (clean), reconstructed (sae), zeroed and replaced by their mean; and KL.

        Activations are replaced only at the kind of tokens that the SAE was trained on: text tokens, with
        `keep_special` also special tokens, but not activations of a norm above `max_norm`. A causal model is scored on
        every text token that follows another token of its document; a masked model on a fixed 15 % of the text tokens,
        which are masked. In packed blocks attention crosses document borders, as in extraction, so a token is also
        predicted from the documents before its own.

        Args:
            sae: the SAE to splice in.
            hookpoint: where to splice it in.
            mean: (d_model,) replacement for mean ablation.
            keep_special, max_norm: settings of the extraction of the SAE's activations, as in their manifest.

        Returns:
            `ce_clean`, `ce_sae`, `ce_zero`, `ce_mean`: nats per token. `ce_recovered_zero`, `ce_recovered_mean`:
            (CE_ablated - CE_sae) / (CE_ablated - CE_clean), None if ablation does not raise the cross-entropy. `kl`:
            mean KL(clean || sae) of the predicted distributions, in nats. `ce_tokens`: number of tokens scored.

        Raises:
            StudyError: the blocks hold no token that can be scored.
        """
        place = (hookpoint, keep_special, max_norm, mean.cpu().numpy().tobytes())
        mean = mean.to(self.device)
        variants: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "sae": lambda x: sae.forward(x.float().flatten(0, 1)).unflatten(0, x.shape[:2]),
        }
        if place not in self._ablated:
            variants |= {"zero": torch.zeros_like, "mean": lambda x: mean.to(x.dtype).expand_as(x)}
        sums = dict.fromkeys(("clean", *variants, "kl"), 0.0)
        scored = 0
        with torch.inference_mode():
            for batch in _batches(self.blocks, self.network, self.max_tokens, keep_special, self.device):
                clean = batch.log_probabilities(self.network)
                sums["clean"] += batch.cross_entropy(clean)
                scored += len(clean)
                for name, function in variants.items():
                    with hooks.replace(self.network, hookpoint, batch.replacing(function, max_norm)):
                        changed = batch.log_probabilities(self.network)
                    sums[name] += batch.cross_entropy(changed)
                    if name == "sae":
                        sums["kl"] += float((clean.exp() * (clean - changed)).sum(dtype=torch.float64))
        if not scored:
            raise StudyError(f"{self.blocks.path}: no text token to predict; use longer blocks")
        sums |= self._ablated.setdefault(place, {name: sums[name] for name in ("zero", "mean") if name in sums})
        ce = {name: value / scored for name, value in sums.items()}
        result = {f"ce_{name}": ce[name] for name in ("clean", "sae", "zero", "mean")}
        for name in ("zero", "mean"):
            cost = ce[name] - ce["clean"]
            result[f"ce_recovered_{name}"] = (ce[name] - ce["sae"]) / cost if cost > 0 else None
        return result | {"kl": ce["kl"], "ce_tokens": scored}


@dataclass
class _Batch:
    """Some blocks as inputs of the model, and the positions where it is scored."""

    inputs: dict[str, torch.Tensor]
    seen: torch.Tensor  # (blocks, length) bool: tokens of the kind that the SAE was trained on
    scored: torch.Tensor  # (blocks, length) bool: positions whose predicted distribution is scored
    targets: torch.Tensor  # (scored positions,) int64

    def log_probabilities(self, network: torch.nn.Module) -> torch.Tensor:
        """Log-probabilities (scored positions, vocabulary) float32."""
        with forward.running(network, self.inputs["input_ids"]):
            return network(**self.inputs).logits[self.scored].float().log_softmax(-1)

    def cross_entropy(self, log_probabilities: torch.Tensor) -> float:
        """Cross-entropy in nats, summed over the scored positions."""
        return -float(log_probabilities.gather(1, self.targets[:, None]).sum(dtype=torch.float64))

    def replacing(self, function: Callable, max_norm: float | None) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function that applies `function` at `seen` tokens, except sinks, and keeps other activations."""

        def replaced(activations: torch.Tensor) -> torch.Tensor:
            # Some modules see the tokens of a batch one after the other, (batch x position, width).
            x = activations.reshape(*self.seen.shape, -1)
            here = self.seen if max_norm is None else self.seen & not_sink(x, max_norm)
            return torch.where(here[..., None], function(x).to(x.dtype), x).reshape(activations.shape)

        return replaced


def _batches(
    blocks: BlockFile, network: torch.nn.Module, max_tokens: int, keep_special: bool, device: str
) -> Iterator[_Batch]:
    masked = head_kind(network.config) == "masked"
    mask_token = _mask_token(blocks) if masked else None
    size = max(1, _BATCH_TOKENS // blocks.context_length)
    left = -(-max_tokens // blocks.context_length)
    for first, some, kept in blocks.kept(keep_special=keep_special):
        for start in range(0, min(len(some), left), size):
            part = slice(start, min(start + size, left))
            tokens = torch.from_numpy(some.tokens[part].astype(np.int64))
            document = torch.from_numpy(some.document_id[part].astype(np.int64))
            seen = torch.from_numpy(kept[part])
            text = seen & torch.from_numpy(some.trainable[part])
            if masked:
                random = np.random.default_rng(stream("mask", first + start))
                scored = text & torch.from_numpy(random.random(text.shape) < MASKED_SHARE)
                targets, tokens = tokens[scored], tokens.masked_fill(scored, mask_token)
            else:
                scored = torch.zeros_like(text)
                scored[:, :-1] = text[:, 1:] & (document[:, 1:] == document[:, :-1])
                targets = tokens.roll(-1, 1)[scored]
            inputs = {"input_ids": tokens.to(device), "attention_mask": (document >= 0).long().to(device)}
            yield _Batch(inputs, seen.to(device), scored.to(device), targets.to(device))
        left -= len(some)
        if left <= 0:
            return


def _mask_token(blocks: BlockFile) -> int:
    from sae_stability.models.tokenizer import load_tokenizer

    name = blocks.manifest["tokenizer"]
    token = load_tokenizer(ModelSource(name, blocks.manifest["revision"])).mask_token_id
    if token is None:
        raise StudyError(f"tokenizer '{name}' has no mask token, so a masked language model cannot be scored")
    return token
