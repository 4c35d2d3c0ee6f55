"""Tables of stitched pairs, from numbers that a reader can count."""

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.figures import published
from sae_stability.figures.selection import rows_where
from sae_stability.figures.tables import components, nearest, swaps


@pytest.fixture
def pair(tmp_path) -> list:
    """One pair: of four latents of the large SAE, three fire; the fourth is a copy of a small one."""
    tables = {
        "insertions": {
            "max_cosine": [0.6, 0.8, 0.7, 1.0],
            "fired": [5, 5, 5, 0],
            "activation_cosine": [0.5, 0.9, 0.7, np.nan],
        },
        "swaps": {"n_small": [1, 2], "n_large": [1, 3], "delta_mse": [0.2, -0.4], "delta_l0": [1.0, -2.0]},
        "path": {"phase": ["start", "novel", "novel", "swap"], "mse": [4.0, 3.0, 5.0, 2.0], "l0": [10, 11, 12, 9]},
        "reconstruction": {"mse": [6.0]},
    }
    for name, table in tables.items():
        files.write_table(tmp_path / f"{name}.parquet", pd.DataFrame(table))
    facts = {
        "small": "saes/a/seed-0",
        "large": "saes/b/seed-1",
        "threshold": 0.7,
        "n_small": 2,
        "n_large": 4,
        "d_model": 3,
    }
    facts |= {"census": [[0, 1, 1], [1, 1, 3]], "largest_component_share": 0.3}
    facts["live"] = {"census": [[0, 1, 1], [1, 0, 1]], "largest_component_share": 0.5}
    facts["mse_by_bias"] = {"small": {"own": 4.0, "other": 5.0}, "large": {"own": 2.0, "other": 2.2}}
    files.write_json(tmp_path / "stitch.json", facts)
    return [("1", path) for path in tmp_path.iterdir()]


def test_nearest_latents(pair: list):
    table = nearest.table(pair)
    run = rows_where(table, source="trained")
    bins = rows_where(run, panel="cosines")
    assert dict(zip(bins["x"], bins["value"], strict=True)) == pytest.approx({0.6: 1 / 3, 0.7: 1 / 3, 0.8: 1 / 3})
    summary = rows_where(run, panel="summary").set_index("detail")["value"].to_dict()
    assert summary == pytest.approx({"mean": 0.7, "median": 0.7, "deviation": np.sqrt(0.02 / 3)})
    assert rows_where(run, panel="fit")[["value", "n"]].values.tolist() == [[pytest.approx(1), 3]]
    found = rows_where(run, panel="found").set_index("detail")
    assert found["value"].to_dict() == {"all": 0.75, "live": pytest.approx(2 / 3)}
    assert set(found["x"]) == {2.0}
    assert rows_where(run, panel="bias").set_index("detail")["value"].to_dict() == pytest.approx(
        {"small": 0.25, "large": 0.1}
    )
    seeds = table[(table["source"] == "published") & (table["panel"] == "found") & (table["x"] == 1)]
    assert len(seeds) == 10


@pytest.mark.parametrize("cosine", [-0.4, 0.0, 0.5])
def test_chance_is_that_of_random_directions(cosine: float):
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((20_000, 3, 5))
    cosines = directions[:, :, 0] / np.linalg.norm(directions, axis=2)
    assert nearest.chance(cosine, 3, 5) == pytest.approx((cosines.max(axis=1) >= cosine).mean(), abs=0.01)
    assert (nearest.chance(1.01, 3, 5), nearest.chance(-1.01, 3, 5)) == (0, 1)


def test_swaps_and_latents_of_one_kind(pair: list):
    run = rows_where(swaps.table(pair), source="trained")
    swapped = rows_where(run, panel="swap")
    assert rows_where(swapped, detail="error")["value"].tolist() == pytest.approx([0.05, -0.1])
    assert rows_where(swapped, detail="l0")[["value", "n"]].values.tolist() == [[0.1, 2], [-0.2, 5]]
    novel = rows_where(run, panel="added", detail="novel")
    assert novel[["x", "value"]].values.tolist() == [[0, 0], [0.5, -0.25], [1, 0.25]]
    assert rows_where(run, panel="added", detail="reconstruction")["value"].tolist() == [0, 0.5]


def test_live_components_stand_beside_all(pair: list):
    run = rows_where(components.table(pair), source="trained")
    counts = run.set_index(["latents", "kind"])["components"].to_dict()
    assert counts == {("all", "novel"): 1, ("all", "one to one"): 3, ("live", "novel"): 1, ("live", "small only"): 1}


def test_the_published_census_adds_up():
    assert sum(small * count for small, _, count in published.CENSUS) == 768
    assert sum(large * count for _, large, count in published.CENSUS) == 1536
