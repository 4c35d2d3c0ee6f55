"""The meta-latents that make up the latents of an SAE."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sae_stability.errors import StudyError
from sae_stability.explorer.chunks import columns
from sae_stability.meta.decoder_rows import unit_rows
from sae_stability.sae.formats import own
from sae_stability.sae.model import load_own

_BLOCK = 2048  # rows that are encoded at once


def parts(sae: Path, meta: Path) -> dict:
    """How a meta-SAE takes the decoder rows of an SAE apart.

    Args:
        sae: folder of the SAE.
        meta: folder of the meta-SAE, COHORT/seed-N.

    Returns:
        `cohort` and `seed` of the meta-SAE; columns `latent`, `meta_latent`, `activation` (the length of its part of
        the row, which has length 1) and `cosine` (of the two decoder rows), by latent, the strongest first.

    Raises:
        StudyError: an SAE is missing or damaged, or they differ in width.
    """
    rows, loaded = unit_rows(own.arrays(sae)["decoder"]), load_own(meta)
    if rows.shape[1] != loaded.d_model:
        raise StudyError(f"{meta}: is {loaded.d_model:,} wide, but {sae} is {rows.shape[1]:,} wide; give its meta-SAE")
    found = []
    for first in range(0, len(rows), _BLOCK):
        activations = loaded.encode(torch.from_numpy(rows[first : first + _BLOCK])).numpy()
        latent, meta_latent = np.nonzero(activations)
        found.append((latent + first, meta_latent, activations[latent, meta_latent]))
    latent, meta_latent, activation = map(np.concatenate, zip(*found, strict=True))
    directions = unit_rows(loaded.decoder.numpy())
    table = pd.DataFrame({"latent": latent, "meta_latent": meta_latent, "activation": activation})
    table["cosine"] = np.einsum("ij,ij->i", rows[latent], directions[meta_latent])
    order = np.lexsort((-activation, latent))
    seed = int(meta.name.removeprefix("seed-"))
    return {"cohort": meta.parent.name, "seed": seed, "columns": columns(table.iloc[order])}
