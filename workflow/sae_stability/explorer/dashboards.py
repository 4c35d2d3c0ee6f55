"""The verb `dashboards`: what latents fire on, in the files of SAEDashboard, from which Neuronpedia imports."""

import json
from pathlib import Path

import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import atomic, read_table
from sae_stability.ranges import Index

LATENTS = 128
"""Latents of a file, as SAEDashboard writes by default."""
_TOP, _ABSENT = -1.0, 0.0
_READ = ["latent", "stratum", "activation", "pieces", "activations"]


def write_dashboards(
    *, firing: Path, contexts: Path, model_id: str, layer: Index, set_name: str, dataset: str = "", out: Path
) -> str:
    """Write what each latent of an SAE fires on for SAEDashboard and Neuronpedia.

    Writes `batch-0.json`, `batch-1.json` ... with 128 latents each, in the form of `NeuronpediaDashboardBatch` of
    SAEDashboard 0.8.0. A latent has its rate (`frac_nonzero`) and its contexts: the strongest, some of each tenth of
    the windows by activation, and some in which it does not fire. Logits and correlations are left empty.

    Args:
        firing: table of what the SAE's latents fire on, of a study: `firing/COHORT/seed-N.parquet`.
        contexts: table of their contexts: `contexts/COHORT/seed-N.parquet`.
        model_id: the model's name at Neuronpedia, such as gpt2-small.
        layer: number of the layer that the SAE reads.
        set_name: name of the set of SAEs, such as res-jb.
        dataset: name of the text, shown beside the contexts.
        out: folder for the files; files of the same names are replaced.

    Returns:
        The line to print.

    Raises:
        StudyError: a table is missing, damaged or of another SAE, or holds no contexts.
    """
    rates, _ = read_table(firing, ["latent", "rate"])
    found, _ = read_table(contexts, _READ)
    if found.empty:
        raise StudyError(f"{contexts}: has no contexts; SAEs of a matrix have no text to show")
    if found["latent"].max() >= len(rates):
        raise StudyError(f"{contexts}: has contexts of more latents than {firing} has; give the two of one SAE")
    window = max(map(len, found["pieces"]))
    of_latent = dict(list(found.groupby("latent")))
    features = [
        {
            "feature_index": int(latent),
            "frac_nonzero": float(rate),
            "n_tokens_in_prompt": window,
            "dataset": dataset,
            "activations": _activations(of_latent.get(latent)),
        }
        for latent, rate in zip(rates["latent"], rates["rate"], strict=True)
    ]
    batches = [features[start : start + LATENTS] for start in range(0, len(features), LATENTS)]
    names = [f"batch-{number}.json" for number in range(len(batches))]
    if others := {path.name for path in out.glob("batch-*.json")} - {*names}:
        raise StudyError(f"{out}: holds {min(others)}, which is of another SAE; give a folder without such files")
    head = {"model_id": model_id, "layer": layer, "sae_set": set_name, "sae_id_suffix": None}
    for name, batch in zip(names, batches, strict=True):
        with atomic(out / name) as temporary:
            temporary.write_text(json.dumps(head | {"features": batch}))
    return f"{out}: {len(features):,} latents in {len(batches):,} files"


def _activations(contexts: pd.DataFrame | None) -> list[dict]:
    """The contexts of one latent; `bin_min` and `bin_max` are the range of activations of its tenth.

    SAEDashboard marks the strongest contexts by -1 as `bin_min` and `bin_contains`.
    """
    found = []
    for stratum, rows in [] if contexts is None else contexts.groupby("stratum", sort=False):
        low, high, share = _bin(stratum, rows["activation"])
        for row in rows.itertuples():
            values = [round(float(value), 3) for value in row.activations]
            found.append(
                {
                    "bin_min": low,
                    "bin_max": high,
                    "bin_contains": share,
                    "tokens": list(row.pieces),
                    "values": values,
                    "qualifying_token_index": max(range(len(values)), key=lambda place: abs(values[place])),
                }
            )
    return found


def _bin(stratum: str, activation: pd.Series) -> tuple[float, float, float]:
    if stratum == "top":
        return _TOP, float(activation.max()), _TOP
    if stratum == "random":
        return (_ABSENT,) * 3
    return float(activation.min()), float(activation.max()), 0.1
