"""A latent taken apart: the meta-latents that make up its decoder row, and the latents that share them."""

from pathlib import Path

import numpy as np
import torch

from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.meta.decoder_rows import MODEL, unit_rows
from sae_stability.ranges import Count, Index
from sae_stability.sae.model import SAE, load


def decompose(sae: Path, *, latent: Index, meta: Path | None = None, count: Count = 5) -> str:
    """Show which meta-latents make up a latent's decoder row, strongest first, and which latents they also make up.

    Both SAEs may have decoder rows of any length: the latent's row is scaled to length 1, and of a meta-latent the
    length of what it adds to that row is shown. The share explained is 1 minus the squared length of what is left, so a
    row that the meta-SAE does not know may have less than 0.

    Args:
        sae: folder of an SAE, of any format that is read.
        latent: number of the latent.
        meta: folder of a meta-SAE; by default the first one beside the SAE that was trained on its decoder rows.
        count: at most so many other latents of each meta-latent, those in which it is strongest.

    Returns:
        The text to print.

    Raises:
        StudyError: no such SAE or latent, no meta-SAE, or one of another width.
    """
    meta = _beside(sae) if meta is None else meta
    whole, parts = load(sae), load(meta)
    if whole.d_model != parts.d_model:
        raise StudyError(f"{meta}: is {parts.d_model:,} wide, but {sae} is {whole.d_model:,} wide; give its meta-SAE")
    if latent >= whole.n_latents:
        raise StudyError(f"--latent: {latent} given, but {sae} has latents 0 to {whole.n_latents - 1}")
    rows = torch.from_numpy(unit_rows(whole.decoder.numpy()))
    activations = parts.encode(rows).numpy()
    row = rows[latent : latent + 1]
    left = row - parts.reconstruct(activations[latent : latent + 1], row)
    cosines = unit_rows(parts.decoder.numpy()) @ row[0].numpy()
    lengths = _lengths(parts, row, activations[latent])
    found = np.flatnonzero(activations[latent])
    found = found[np.argsort(-lengths[found], kind="stable")]
    said = [
        f"latent {latent} of {sae}",
        f"{len(found)} meta-latents of {meta} explain {1 - float(left.square().sum()):.1%} of its decoder row",
    ]
    if len(found):
        said += ["", "meta-latent      length  cosine  other latents with it, strongest first"]
    for number in found:
        others = np.flatnonzero(activations[:, number])
        others = others[others != latent]
        strongest = others[np.argsort(-activations[others, number], kind="stable")][:count]
        names = ", ".join(map(str, strongest)) + (f" ({len(others):,} in all)" if len(others) > count else "")
        said.append(f"{number:11d}  {lengths[number]:10.3f}  {cosines[number]:6.2f}  {names or 'none'}")
    return "\n".join(said)


def _lengths(parts: SAE, row: torch.Tensor, activations: np.ndarray) -> np.ndarray:
    """(n_latents,) the length of what each latent of `parts`, with these activations, adds to the row (1, d_model)."""
    found = np.flatnonzero(activations)
    alone = torch.zeros(len(found), parts.n_latents)
    alone[torch.arange(len(found)), torch.from_numpy(found)] = torch.from_numpy(activations[found])
    rows = row.expand(len(found), -1)
    added = parts.reconstruct(alone, rows) - parts.reconstruct(torch.zeros_like(alone), rows)
    lengths = np.zeros(parts.n_latents)
    lengths[found] = added.norm(dim=1).numpy()
    return lengths


def _beside(sae: Path) -> Path:
    """The first meta-SAE in the same folder of cohorts that was trained on the decoder rows of this SAE.

    Raises:
        StudyError: there is none.
    """
    file = sae / "cfg.json"
    own = read_json(file).get("config_hash") if file.is_file() else None
    for other in sorted(sae.resolve().parent.parent.glob("*/seed-*/cfg.json")) if own else []:
        cfg = read_json(other)
        if cfg.get("model") == MODEL and own in (cfg.get("revision") or "").split(","):
            return other.parent
    raise StudyError(
        f"{sae}: no meta-SAE of it lies beside it; name one with --meta, or declare a pass with decoder_of and a "
        "cohort on it in the study"
    )
