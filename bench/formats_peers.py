"""Latents and outputs that a format's own library computes from checkpoints; runs in the library's environment.

    python bench/formats_peers.py FORMAT X.npy OUT.npz FOLDER...

`OUT.npz` gets the latents and the output of each folder's SAE, `latents-0`, `output-0` and so on, for the rows in X.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch


def sparsify(folder: Path, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from sparsify import SparseCoder

    coder = SparseCoder.load_from_disk(folder).float()
    found = coder(x)
    latents = torch.zeros(len(x), coder.num_latents).scatter_(1, found.latent_indices, found.latent_acts)
    return latents, found.sae_out


def saelens(folder: Path, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from sae_lens import SAE

    sae = SAE.load_from_disk(folder)
    return sae.encode(x), sae(x)


def dictionary_learning(folder: Path, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from formats import dictionary_classes

    name = json.loads((folder / "config.json").read_text())["trainer"]["dict_class"]
    load = dictionary_classes()[name].from_pretrained
    # By default this moves the decoder's norms into the encoder, which changes the latents but not the output.
    options = {"normalize_decoder": False} if "normalize_decoder" in inspect.signature(load).parameters else {}
    coder = load(folder / "ae.pt", **options)
    return coder.encode(x), coder(x)


def main(format: str, rows: str, out: str, *folders: str) -> None:
    x, found = torch.from_numpy(np.load(rows)), {}
    with torch.no_grad():
        for number, folder in enumerate(folders):
            values = globals()[format](Path(folder), x)
            found |= {f"{name}-{number}": v.numpy() for name, v in zip(("latents", "output"), values, strict=True)}
    np.savez(out, **found)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(*sys.argv[1:])
