"""Tables of the figures that read what latents fire on: planted relations come out."""

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import registry
from sae_stability.figures.tables.predictors import coefficients


def of(figure: str, inputs) -> pd.DataFrame:
    return registry.load(figure, "table").table(inputs)


def test_the_regression_finds_planted_coefficients():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((40_000, 3))
    x[:, 1] += 0.5 * x[:, 0]  # correlated, so that fits of one predictor alone would err
    scaled = (x - x.mean(0)) / x.std(0)
    outcome = generator.random(len(x)) < 1 / (1 + np.exp(-(scaled @ [1.0, -0.5, 0.0] - 0.3)))
    assert coefficients(x * [1, 10, 100], outcome) == pytest.approx([1.0, -0.5, 0.0], abs=0.05)


def test_what_separates_perfectly_has_a_finite_coefficient():
    x = np.linspace(-1, 1, 100)[:, None]
    assert 1 < coefficients(x, x[:, 0] > 0)[0] < 20


def test_the_planted_predictor_stands_out_and_the_shuffled_one_does_not(study):
    table = of("predictors", study["predictors"])
    mean = table[table["statistic"] == "coefficient"].groupby(["source", "predictor"])["mean"].first()
    assert mean["trained"].abs().idxmax() == "token_entropy"
    assert mean["trained", "token_entropy"] < -2
    assert mean["shuffled"].abs().max() < 0.3
    curve = table.query("statistic == 'shared' and predictor == 'token_entropy'").groupby("quantile")["mean"].first()
    assert curve[1] > 0.9
    assert curve[10] < 0.05
    assert table.query("statistic == 'shared' and a == '0' and b == '1'").groupby("predictor")["n"].sum().eq(768).all()


def test_a_latent_without_known_initial_weights_is_regressed_on_the_rest(study, tmp_path):
    (label, folder), *rest = study["predictors"]
    for name in ("pairs", "latents"):
        table, metadata = files.read_table(folder / f"{name}.parquet")
        if name == "latents":
            table["init_similarity_decoder"] = np.nan
        files.write_table(tmp_path / f"{name}.parquet", table, metadata)
    found = of("predictors", [(label, tmp_path), *rest])
    assert "initial_distance" not in set(found["predictor"])
    assert "token_entropy" in set(found["predictor"])


def test_correlation_is_counted_by_cosine_and_dead_latents_among_all_only(tmp_path):
    cosine = [0.95, 0.92, 0.65, 0.31, 0.2]
    match = {"latent": range(5), "counterpart_decoder": range(5), "counterpart_encoder": [0, 1, 2, 3, 4]}
    match |= {"cosine_decoder": cosine, "cosine_encoder": [0.9, 0.5, 0.9, 0.9, 0.9]}
    correlation = [0.9, 0.7, 0.5, 0.1, np.nan]
    parts = [
        pd.DataFrame({"pairing": name, "latent": range(5), "correlation": values, "jaccard": np.nan_to_num(values)})
        for name, values in (("decoder", correlation), ("shuffled", [0.0, 0.1, 0.0, 0.1, np.nan]))
    ]
    paths = [tmp_path / stage / "c" / "0-1.parquet" for stage in ("matches", "cofiring")]
    files.write_table(paths[0], pd.DataFrame(match))
    files.write_table(paths[1], pd.concat(parts))
    files.write_table(tmp_path / "overlap" / "pairs.parquet", pd.DataFrame({"cohort": ["c"]}), {"threshold": 0.7})
    inputs = [("c", tmp_path / "overlap"), *(("c", path) for path in paths)]
    table = of("functional", inputs)
    values = table.query("statistic == 'correlation'").set_index(["source", "latents", "x"])["value"]
    assert values["trained", "live"].dropna().loc[[0.95, 0.65, 0.35]].tolist() == pytest.approx([0.8, 0.5, 0.1])
    over_all = table[table["x"].isna() & (table["statistic"] == "correlation")].set_index(["source", "latents"])[
        "value"
    ]
    assert over_all["trained"].to_dict() == pytest.approx(
        {"all": 0.44, "live": 0.55, "shared": 0.9, "unshared": 1.3 / 3}
    )
    assert over_all["floor"].to_dict() == pytest.approx({"all": 0.04, "live": 0.05})
    with pytest.raises(StudyError, match="needs the tables of a cohort in cofiring/COHORT/"):
        of("functional", inputs[:2])


def test_subspaces_stand_beside_random_ones_of_the_same_number(study):
    table = of("subspace", study["subspace"])
    assert set(table["source"]) == {"trained", "floor"}
    assert table.groupby("source")["value"].mean().to_dict() == pytest.approx({"trained": 0.4, "floor": 0.3})
    pairs = pd.read_parquet(study["subspace"][0][1] / "pairs.parquet").query("source == 'trained' and latents == 'all'")
    every = table.query("source == 'trained' and latents == 'all'")
    assert every["n"].tolist() == (384 * (1 - pairs["shared"])).round().astype(int).tolist()
