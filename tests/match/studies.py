"""Small studies on disk with known overlaps."""

import numpy as np
import pandas as pd

from sae_stability.files import read_table, write_table
from sae_stability.sae.formats import own

TABLES = ("pairs", "thresholds", "seeds", "latents", "intervals")


def tables(folder):
    """The overlap tables in a folder, by name."""
    return {name: read_table(folder / f"{name}.parquet")[0] for name in TABLES}


def write_sae(root, seed, encoder, decoder, alive=None):
    """An SAE folder and its evaluation table; returns both paths."""
    folder, latents = root / f"saes/base/seed-{seed}", root / f"evaluation/base/seed-{seed}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    (n, d_model) = np.shape(encoder)
    tensors = {"encoder": np.float32(encoder), "decoder": np.float32(decoder)}
    tensors |= {"encoder_bias": np.zeros(n, np.float32), "decoder_bias": np.zeros(d_model, np.float32)}
    own.save(folder, tensors, {"architecture": "topk", "n_latents": n, "d_model": d_model, "k": 1})
    alive = np.ones(n, bool) if alive is None else np.asarray(alive)
    table = {"latent": np.arange(n), "rate": np.linspace(0, 1, n), "alive": alive}
    table |= {f"init_similarity_{side}": np.full(n, 0.25) for side in ("encoder", "decoder")}
    write_table(latents, pd.DataFrame(table))
    return folder, latents


def write_planted_match(
    path, a, b, *, cosine_decoder, cosine_encoder, counterpart_decoder, counterpart_encoder, **more
):
    """A match file with these columns; the best partners are the counterparts, unless `more` has those columns."""
    n = len(cosine_decoder)
    columns = {
        "latent": np.arange(n),
        "counterpart_encoder": counterpart_encoder,
        "cosine_encoder": cosine_encoder,
        "counterpart_decoder": counterpart_decoder,
        "cosine_decoder": cosine_decoder,
        "alive": np.ones(n, bool),
        "alive_b": np.ones(n, bool),
    }
    for side in ("encoder", "decoder"):
        columns[f"best_{side}"] = columns[f"counterpart_{side}"]
        columns[f"best_{side}_cosine"] = columns[f"cosine_{side}"]
        columns[f"reverse_best_{side}"] = np.argsort(columns[f"counterpart_{side}"])
        columns[f"reverse_best_{side}_cosine"] = np.asarray(columns[f"cosine_{side}"])[columns[f"reverse_best_{side}"]]
    names = {"a": {"cohort": "base", "seed": a}, "b": {"cohort": "base", "seed": b}}
    proofs = {side: {"gap": 4e-9} for side in ("encoder", "decoder")}
    write_table(path, pd.DataFrame(columns | more), names | proofs)
    return path
