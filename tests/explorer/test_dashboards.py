"""Files for SAEDashboard, read by SAEDashboard's own classes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.explorer.dashboards import write_dashboards
from sae_stability.files import write_table

NAMED = {"model_id": "tiny", "layer": 3, "set_name": "res", "dataset": "docs"}


def context(latent: int, stratum: str, values: list[float], pieces: list[str]) -> dict:
    return {
        "latent": latent,
        "stratum": stratum,
        "activation": max(values),
        "pieces": pieces,
        "activations": values,
    }


CONTEXTS = [
    context(0, "top", [0.0, 5.0, 1.0], ["a", " <b>", " c"]),
    context(0, "decile-3", [2.0, 0.0, 1.5], ["x", "y", "\u202ez"]),
    context(0, "decile-3", [0.0, 3.0, 0.0], ["u", "v", "w"]),
    context(0, "random", [0.0, 0.0, 0.0], ["no", "ne", "."]),
    context(129, "top", [0.25, 0.0, 0.0], ["late", "r", ""]),
]


@pytest.fixture
def tables(tmp_path) -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.parquet" for name in ("firing", "contexts")}
    rates = np.r_[0.25, np.zeros(128), 0.01]
    write_table(files["firing"], pd.DataFrame({"latent": np.arange(130), "rate": rates}), {})
    write_table(files["contexts"], pd.DataFrame(CONTEXTS), {})
    return files


def test_saedashboard_s_own_classes_read_what_is_written(tables, tmp_path):
    dashboard = pytest.importorskip("sae_dashboard.neuronpedia.neuronpedia_dashboard", reason="no SAEDashboard here")
    assert write_dashboards(**tables, **NAMED, out=tmp_path / "out") == f"{tmp_path}/out: 130 latents in 2 files"
    written = [json.loads((tmp_path / "out" / f"batch-{n}.json").read_text()) for n in (0, 1)]
    first, second = (dashboard.NeuronpediaDashboardBatch(**batch) for batch in written)
    assert (first.model_id, first.layer, first.sae_set) == ("tiny", 3, "res")
    assert [feature.feature_index for feature in first.features + second.features] == list(range(130))
    latent = first.features[0]
    assert (latent.frac_nonzero, latent.dataset, latent.n_tokens_in_prompt) == (0.25, "docs", 3)
    assert [one.tokens for one in latent.activations] == [row["pieces"] for row in CONTEXTS[:4]]
    bins = [(one.bin_min, one.bin_max, one.bin_contains) for one in latent.activations]
    assert bins == [(-1, 5, -1), (2, 3, 0.1), (2, 3, 0.1), (0, 0, 0)]
    assert [one.qualifying_token_index for one in latent.activations[:3]] == [1, 0, 1]
    assert second.features[1].activations[0].values == [0.25, 0, 0]
    assert all(not feature.activations for feature in first.features[1:])
    # What it writes itself has every field of ours.
    assert all(first.to_dict()[key] == value for key, value in written[0].items() if key != "features")
    assert {*written[0]["features"][0]} <= {*first.to_dict()["features"][0]}


def test_tables_of_two_saes_are_refused(tables, tmp_path):
    write_table(tables["firing"], pd.DataFrame({"latent": np.arange(2), "rate": [0.1, 0.2]}), {})
    with pytest.raises(StudyError, match=r"contexts\.parquet: has contexts of more latents than .*firing\.parquet"):
        write_dashboards(**tables, **NAMED, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_another_sae_are_not_mixed_with_these(tables, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch-7.json").write_text("{}")
    with pytest.raises(StudyError, match=r"out: holds batch-7\.json, which is of another SAE"):
        write_dashboards(**tables, **NAMED, out=tmp_path / "out")


def test_a_matrix_has_no_contexts_to_hand_over(tables, tmp_path):
    write_table(tables["contexts"], pd.DataFrame(CONTEXTS).iloc[:0], {})
    with pytest.raises(StudyError, match=r"contexts\.parquet: has no contexts"):
        write_dashboards(**tables, **NAMED, out=tmp_path / "out")
