"""The tokens that a latent's decoder row makes more and less likely, by the model's own unembedding."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sae_stability.explorer.contexts import LATENTS_PER_CHUNK
from sae_stability.models.source import ModelSource
from sae_stability.sae.formats import own

if TYPE_CHECKING:
    from sae_stability.models.unembedding import Unembedding

SHOWN = 10
"""Tokens of each kind that are kept of a latent."""


@functools.lru_cache(maxsize=1)  # SAEs of one model come one after the other; two large ones may not fit
def head(model: ModelSource) -> "Unembedding | None":
    """The unembedding of a model; None where it has none."""
    from sae_stability.models.unembedding import unembedding  # late: it takes transformers

    return unembedding(model)


def boosted(sae: Path, unembedding: "Unembedding") -> Iterator[dict[int, list]]:
    """For each chunk of latents, the tokens with the highest and the lowest value: decoder row times unembedding.

    Args:
        sae: folder of the SAE.
        unembedding: of its model.

    Returns:
        latent -> the highest, as [piece of text, value] from the first, and the lowest, from the last. Nothing if the
        SAE writes something of another width.

    Raises:
        StudyError: the SAE is missing or damaged.
    """
    decoder = torch.from_numpy(own.arrays(sae)["decoder"]).float()
    if decoder.shape[1] != unembedding.rows.shape[1]:
        return
    texts: dict[int, str] = {}
    for first in range(0, len(decoder), LATENTS_PER_CHUNK):
        values = decoder[first : first + LATENTS_PER_CHUNK] @ unembedding.rows.T
        ends = [_ends(values, largest) for largest in (True, False)]
        new = sorted({token for tokens, _ in ends for row in tokens for token in row} - texts.keys())
        texts |= zip(new, unembedding.pieces(new), strict=True)
        yield {
            first + row: [
                [[texts[token], float(f"{value:.4g}")] for token, value in zip(tokens[row], found[row], strict=True)]
                for tokens, found in ends
            ]
            for row in range(len(values))
        }


def _ends(values: torch.Tensor, largest: bool) -> tuple[list[list[int]], list[list[float]]]:
    """The tokens with the largest or the smallest value of each row, from the end inwards, and the values."""
    found, tokens = values.topk(min(SHOWN, values.shape[1]), largest=largest)
    return tokens.tolist(), found.tolist()
