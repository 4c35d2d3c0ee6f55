"""The verb `explanation-similarity`: are the explanations of matched latents alike?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.interpret.embedding import Embedding
from sae_stability.interpret.judges import make_judge
from sae_stability.interpret.outcomes import OK
from sae_stability.interpret.tables import by_seed
from sae_stability.random_streams import stream
from sae_stability.ranges import Count

_COLUMNS = {"seed": "int64", "first_latent": "int64", "counterpart": "int64", "cosine_decoder": "float64"}
_COLUMNS |= dict.fromkeys(("similarity", "unmatched", "best"), "float64")


def compare_explanations(
    *,
    explanations: Sequence[tuple[int, Path]],
    match: Sequence[tuple[int, Path]],
    judge: dict,
    out: Path,
    config_hash: str = "",
    device: Literal["cpu", "cuda"] = "cpu",
    threads: Count = 1,
) -> None:
    """Compare the explanations of the first SAE's latents with those of their counterparts in the others.

    A row a pair of latents that both are explained: the cosine of their decoder rows, and the cosine of their
    explanations' embeddings beside two others: with the explanation of a latent that is not the counterpart, drawn at
    random, and with the most similar explanation of the other SAE.

    Args:
        explanations: SEED=FILE, table of explanations of each SAE; the lowest seed is that of the first SAE.
        match: SEED=FILE, the first SAE's match with each other one.
        judge: settings of a judge of kind embedding.
        out: table to write.
        config_hash: fingerprint of what the table is made from, recorded in it.
        device: where to compute.
        threads: processor cores to use.

    Raises:
        StudyError: a table is missing, the judge is of another kind, or its model cannot be loaded.
    """
    files = by_seed("explanations", explanations)
    first, *rest = files
    matches = by_seed("match", match, rest)
    if judge.get("kind") != "embedding":
        raise StudyError(
            f"judge: kind {judge.get('kind')!r} given; only a judge of kind 'embedding' compares sentences"
        )
    embedding = make_judge(judge, None, device, threads)
    said = {seed: _explained(path) for seed, path in files.items()}
    parts = [_pairs(said[first], said[seed], matches[seed], seed, embedding) for seed in rest]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(_COLUMNS))
    write_table(out, table.astype(_COLUMNS), {"first": first, "config_hash": config_hash})


def _explained(path: Path) -> pd.DataFrame:
    """The latents that have an explanation, by the first SAE's latent."""
    table, _ = read_table(path, ["latent", "first_latent", "explanation", "status"])
    return table[table["status"] == OK].set_index("first_latent").sort_index()


def _pairs(a: pd.DataFrame, b: pd.DataFrame, match: Path, seed: int, embedding: Embedding) -> pd.DataFrame:
    """The rows of one pair of SAEs."""
    both = a.index.intersection(b.index)
    if not len(both):
        return pd.DataFrame(columns=list(_COLUMNS))
    cosine = read_table(match, ["cosine_decoder"])[0]["cosine_decoder"].to_numpy()
    ours, theirs = embedding.embed(a["explanation"][both].tolist()), embedding.embed(b["explanation"].tolist())
    similarity = ours @ theirs.T
    rows, matched = np.arange(len(both)), b.index.get_indexer(both)
    rng = np.random.default_rng(stream("unmatched explanations", seed, len(b)))
    # A step of 1 to len(b) - 1 never ends where it began.
    unmatched = (matched + rng.integers(1, max(2, len(b)), len(both))) % len(b)
    return pd.DataFrame(
        {
            "seed": seed,
            "first_latent": both,
            "counterpart": b["latent"][both].to_numpy(),
            "cosine_decoder": cosine[both],
            "similarity": similarity[rows, matched],
            "unmatched": similarity[rows, unmatched] if len(b) > 1 else np.nan,
            "best": similarity.max(axis=1),
        }
    )
