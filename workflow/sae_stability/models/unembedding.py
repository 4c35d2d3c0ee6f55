"""What a language model makes of a direction of its residual stream: the rows that turn it into logits."""

from dataclasses import dataclass

import torch

from sae_stability.models.loading import head_kind, load_without_layers, model_config
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer

_PROBES = 8  # tokens that find the final norm: the row of a padding token may be 0
_LARGE = 1000.0  # length of the probes of the norm, beside which its epsilon is nothing


@dataclass(frozen=True)
class Unembedding:
    """The unembedding of a causal language model, with its final norm folded in.

    Attributes:
        rows: (n_tokens, d_model) float32: a direction times a row is what it adds to the token's logit, where the norm
            divides by 1.
        tokenizer: the model's tokenizer, which knows every row's token.
    """

    rows: torch.Tensor
    tokenizer: object

    def pieces(self, tokens: list[int]) -> list[str]:
        """The text of each token where it follows another; the name in the vocabulary of a part of a character."""
        return [self._piece(token) for token in tokens]

    def _piece(self, token: int) -> str:
        # Many tokenizers leave out the space before a first token.
        once, twice = (
            self.tokenizer.decode([token] * n, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            for n in (1, 2)
        )
        piece = twice[len(once) :]
        return piece if piece and "\ufffd" not in piece else str(self.tokenizer.convert_ids_to_tokens(token))


def unembedding(source: ModelSource) -> Unembedding | None:
    """The unembedding of a model; None without a head that is one matrix, as for a masked language model.

    Folded in are the weight of the final norm and, where it is a LayerNorm, the mean that it takes away. Its bias and
    that of the head are left out: they do not depend on the direction. So are scales and caps that follow the head.

    Raises:
        StudyError: the model cannot be loaded.
    """
    if source.part or head_kind(model_config(source)) != "causal":
        return None
    network = load_without_layers(source).float()
    head = network.get_output_embeddings()
    if head is None or not isinstance(getattr(head, "weight", None), torch.Tensor):
        return None
    tokenizer = load_tokenizer(source)
    with torch.inference_mode():
        norm = _final_norm(network, head)
        # Some models have more rows than tokens, so that sizes are round.
        rows = head.weight[: len(tokenizer)]
        rows = rows.clone() if norm is None else _folded(rows, norm)
    return Unembedding(rows, tokenizer)


def _final_norm(network: torch.nn.Module, head: torch.nn.Module) -> torch.nn.Module | None:
    """The module without matrices that makes what the head reads; None where none does."""
    made, read = [], []

    def note(module, inputs, output):
        if inputs and isinstance(inputs[0], torch.Tensor) and isinstance(output, torch.Tensor):
            made.append((module, inputs[0], output))

    small = [
        module
        for module in network.modules()
        if not list(module.children()) and all(weight.ndim <= 1 for weight in module.parameters())
    ]
    hooks = [module.register_forward_hook(note) for module in small]
    hooks.append(head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])))
    tokens = torch.arange(min(_PROBES, network.get_input_embeddings().weight.shape[0]))
    network(input_ids=tokens[None])
    for hook in hooks:
        hook.remove()
    found = [module for module, x, y in made if torch.equal(y, read[0]) and not torch.equal(x, y)]
    return found[-1] if found else None


def _folded(rows: torch.Tensor, norm: torch.nn.Module) -> torch.Tensor:
    """Rows times the norm's weight, as the norm itself applies it; without their mean if the norm takes it away.

    Some models store the weight less 1, so the norm is asked, and not its parameters.
    """
    d = rows.shape[1]
    x = torch.ones(d)
    x[1::2] = -1
    x = (x - x.mean()) / x.std(correction=0)
    up, down, moved = (norm(probe[None, None])[0, 0] for probe in (_LARGE * x, -_LARGE * x, _LARGE * (x + 0.5)))
    folded = rows * ((up - down) / (2 * x))
    takes_mean = torch.allclose(moved, up, rtol=1e-3, atol=1e-3 * float(up.abs().max()))
    return folded - folded.mean(1, keepdim=True) if takes_mean else folded
