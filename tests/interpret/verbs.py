"""Calls of the verbs on a synthetic cohort."""

from pathlib import Path

import pandas as pd

from sae_stability.files import read_table
from sae_stability.interpret.explain import explain_latents
from sae_stability.interpret.score import score_latents
from tests.interpret.synthetic import Cohort

LEXICAL = {"kind": "lexical"}


def outputs(planted: Cohort, folder: Path) -> list[tuple[int, Path]]:
    return [(seed, folder / f"seed-{seed}.parquet") for seed in planted.seeds]


def explain(planted: Cohort, folder: Path, judge: dict = LEXICAL, **settings) -> dict[int, pd.DataFrame]:
    """Explain all SAEs; the tables by seed."""
    out = outputs(planted, folder / "explanations")
    files = {"contexts": planted.files("contexts"), "match": planted.files("match"), "out": out}
    explain_latents(**files, explainer="tested", judge=judge, **settings)
    return {seed: read_table(path)[0] for seed, path in out}


def score(
    planted: Cohort, folder: Path, kind: str = "detection", judge: dict = LEXICAL, **settings
) -> dict[int, pd.DataFrame]:
    """Score all SAEs by the explanations in the folder; the tables by seed."""
    out = outputs(planted, folder / kind)
    files = {name: planted.files(name) for name in ("contexts", "pool", "sae", "match")}
    if kind != "intruder":
        files["explanations"] = outputs(planted, folder / "explanations")
    score_latents(**files, out=out, kind=kind, judge=judge, **settings)
    return {seed: read_table(path)[0] for seed, path in out}
