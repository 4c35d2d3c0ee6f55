"""Tidy tables, from overlap tables small enough to count by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import published, registry, tables
from tests.figures.kinds import OTHERS, UNPUBLISHED

REPO = Path(__file__).parents[2]


def row(a, b, source, latents, n, shared, same) -> dict:
    values = {"cohort": "c", "a": a, "b": b, "source": source, "latents": latents, "n": n, "shared": shared}
    return values | {"same_counterpart": same, "joint": shared, "decoder_only": shared}


def of(figure: str, inputs) -> pd.DataFrame:
    return registry.load(figure, "table").table(inputs)


@pytest.mark.parametrize("figure", registry.FIGURES)
def test_every_table_is_written_as_parquet_and_as_csv_with_the_same_rows(figure, study, table_of, tmp_path):
    out = table_of(figure)
    table, metadata = files.read_table(out)
    assert metadata["figure"] == figure
    assert metadata["csv_sha256"] == files.sha256(out.with_suffix(".csv"))
    assert len(pd.read_csv(out.with_suffix(".csv"))) == len(table) > 0
    published = set() if figure in UNPUBLISHED - OTHERS.keys() else {"published"}
    floor = set() if figure in ("components", "interpolation", "swaps") else {"floor"}
    apart = {"tied", "interpolated", "shuffled", "baseline"}
    assert set(table["source"]) - apart == {"trained"} | floor | published
    again = tmp_path / f"{figure}.parquet"
    tables.write_table(figure=figure, input=study[figure], out=again)
    for suffix in (".parquet", ".csv"):
        assert again.with_suffix(suffix).read_bytes() == out.with_suffix(suffix).read_bytes()


def test_a_size_table_has_every_pair_of_every_cohort_in_order_of_size(make):
    small = make.pairs("small", [row(0, 1, "trained", "all", 4, 0.75, 1.0), row(0, 1, "trained", "live", 2, 0.5, 1.0)])
    large = make.pairs("large", [row(a, b, "trained", "all", 8, 0.25, 0.5) for a, b in ((0, 1), (0, 2), (1, 2))])
    table = of("size", [("8", large), ("4", small)])
    run = table[table["series"] == "this run"]
    shared = run[(run["statistic"] == "shared") & (run["latents"] == "all")]
    assert shared[["value", "x", "size", "a", "b", "n", "fraction"]].values.tolist() == [
        ["4", 4.0, 4, "0", "1", 4, 0.75],
        ["8", 8.0, 8, "0", "1", 8, 0.25],
        ["8", 8.0, 8, "0", "2", 8, 0.25],
        ["8", 8.0, 8, "1", "2", 8, 0.25],
    ]
    assert run[(run["statistic"] == "shared") & (run["latents"] == "live")]["fraction"].tolist() == [0.5]


def test_the_threshold_comes_from_the_overlap_tables(make):
    rows = [row(0, 1, "trained", "all", 4, 0.75, 1.0)]
    assert set(of("k", [("4", make.pairs("a", rows))])["threshold"]) == {0.7}
    run = of("k", [("4", make.pairs("b", rows, {"threshold": 0.6}))])
    assert set(run.loc[run["series"] == "this run", "threshold"]) == {0.6}


@pytest.mark.parametrize("value", ["small", "0", "-3", "nan", "inf", ""])
def test_a_sweep_value_that_a_logarithmic_axis_has_no_place_for_is_refused(make, value):
    folder = make.pairs("a", [row(0, 1, "trained", "all", 4, 0.75, 1.0)])
    with pytest.raises(StudyError, match=f"sweep value '{value}'.*positive number"):
        of("size", [(value, folder)])


def test_layers_are_sorted_by_their_number_not_as_text(make):
    folder = make.pairs("a", [row(0, 1, "trained", "all", 4, 0.75, 1.0)])
    hooks = ["transformer.h.10.attn.c_proj:in", "transformer.h.2.mlp", "transformer.h.0"]
    run = of("layer", [(hook, folder) for hook in hooks]).query("series == 'this run' and statistic == 'shared'")
    assert run["x"].tolist() == [0, 2, 10]
    with pytest.raises(StudyError, match="no layer number"):
        of("layer", [("embeddings", folder)])


def test_positions_keep_the_order_given(make):
    folder = make.pairs("a", [row(0, 1, "trained", "all", 4, 0.75, 1.0)])
    run = of("position", [("residual", folder), ("attention", folder)]).query("series == 'this run'")
    assert run.drop_duplicates("x")["value"].tolist() == ["residual", "attention"]


def test_a_kind_of_randomness_that_there_is_not_is_refused(make):
    folder = make.pairs("a", [row(0, 1, "trained", "all", 4, 0.75, 1.0)])
    run = of("randomness", [("order", folder), ("init", folder)]).query("series == 'this run'")
    assert run.drop_duplicates("x")["value"].tolist() == ["order", "init"]
    with pytest.raises(StudyError, match="'data': must say which seed varies; one of init, order, both"):
        of("randomness", [("init", folder), ("data", folder)])


def match_file(path: Path) -> Path:
    # Latent 0 shared; 1 same counterpart, cosines too small; 2 joint with different counterparts; 3 unmatched twice.
    table = pd.DataFrame(
        {
            "latent": [0, 1, 2, 3],
            "counterpart_encoder": [1, 0, 2, -1],
            "cosine_encoder": [0.9, 0.9, 0.8, np.nan],
            "counterpart_decoder": [1, 0, 3, -1],
            "cosine_decoder": [0.7, 0.6, 0.8, np.nan],
            "alive": [True, False, True, True],
            "alive_b": [True, False, True, True],
        }
    )
    files.write_table(path, table, {"a": {"cohort": "c", "seed": 3}, "b": {"cohort": "c", "seed": 5}})
    return path


def test_the_joint_table_marks_shared_latents_and_dead_ones(make, tmp_path):
    inputs = [("pair", match_file(tmp_path / "3-5.parquet")), ("c", make.cohort("c").overlap)]
    table = of("joint", inputs)
    latents = table[table["row"] == "latent"]
    assert latents["same_counterpart"].tolist() == [True, True, False, False]
    assert latents["shared"].tolist() == [True, False, False, False]
    assert latents["alive"].tolist() == [True, False, True, True]
    assert latents["counterpart_alive"].tolist() == [False, True, True, False]
    assert set(latents["a"]) == {"3"}
    means = table[table["row"] == "mean"].set_index("source")["cosine_decoder"]
    assert means["floor"].tolist() == pytest.approx([0.13, 0.14])
    assert means["published"] == published.JOINT["cosine_decoder"]


def test_joint_asks_for_a_match_file_and_an_overlap_folder(make):
    with pytest.raises(StudyError, match="one match file"):
        of("joint", [("c", make.cohort("c").overlap)])


def test_a_missing_column_is_named_with_its_file(make):
    folder = make.pairs("a", [{"cohort": "c", "a": 0}])
    with pytest.raises(StudyError, match=r"a/pairs\.parquet: has no column b, source"):
        of("size", [("4", folder)])


@pytest.mark.parametrize("figure", ["seeds", "sharing", "thresholds"])
def test_a_figure_of_one_cohort_refuses_two(make, figure):
    folder = make.cohort("c").overlap
    with pytest.raises(StudyError, match="draws one cohort: it needs one overlap folder as input, not 2"):
        of(figure, [("c", folder), ("d", folder)])


@pytest.mark.parametrize(
    ("figure", "where", "expected"),
    [
        ("size", {"value": "768"}, {"fraction": [0.7852, 0.9492], "statistic": ["joint", "same_counterpart"]}),
        ("k", {"value": "128"}, {"fraction": [0.2337, 0.6172], "x": [128, 128], "size": [32768, 32768]}),
        ("tokens", {"x": 80e9}, {"fraction": [0.6121, 0.8748], "value": ["8e+10", "8e+10"]}),
        ("layer", {"size": 4084, "x": 3}, {"fraction": [0.5957], "statistic": ["joint"], "value": ["3"]}),
        ("position", {"value": "GPT-2 L6 MLP"}, {"fraction": [0.7422], "statistic": ["decoder_only"]}),
        ("randomness", {"value": "init"}, {"fraction": [0.4159, 0.7929], "statistic": ["joint", "same_counterpart"]}),
        ("architecture", {"value": "gated"}, {"fraction": [0.8562], "size": [27648], "matched": [""]}),
        ("seeds", {"m": 3}, {"mean": [0.4843], "std": [0.0091], "n_seeds": [9], "threshold": [0.7]}),
        ("sharing", {"m": 9}, {"mean": [0.173], "n_seeds": [9]}),
        (
            "thresholds",
            {"threshold": 0.714},
            {"fraction": [0.3996, 0.3990, 0.4033], "statistic": ["joint", "shared", "max"]},
        ),
        ("joint", {"row": "mean"}, {"cosine_decoder": [0.6770], "cosine_encoder": [0.5941], "fraction_same": [0.7929]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_paper_stands_beside_this_run(figure, where, expected, study):
    table = of(figure, study[figure])
    rows = table[table["source"] == "published"]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert {column: rows[column].tolist() for column in expected} == expected


def test_published_values_are_fractions_and_complete():
    for series in (published.SIZE, published.K, published.TOKENS, published.THRESHOLDS):
        assert all(0 <= value <= 1 for values in series.values() for value in values)
    assert [len(values) for values in published.LAYER.values()] == [12, 12, 12]
    assert sum(published.IN_EXACTLY.values()) == pytest.approx(1, abs=0.001)
    assert published.SIZE[published.LATENTS] == published.K[32] == published.TOKENS[8e9]


def reached(figure: str, step: str, wanted: str) -> str:
    """Names of the loaded modules that contain `wanted` after a step's modules are imported in a fresh process."""
    code = (
        "import sys; from sae_stability.figures import registry, tables, drawings, summary;"
        f"registry.load({figure!r}, {step!r});"
        f"print([name for name in sys.modules if {wanted!r} in name])"
    )
    environment = {"PYTHONPATH": str(REPO / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_table_is_made_without_the_drawing_code_and_nothing_needs_torch():
    assert reached("size", "table", "drawings.") == "[]"
    assert reached("size", "table", "matplotlib") == "[]"
    assert reached("size", "drawing", "tables.size") == "[]"
    assert reached("joint", "drawing", "torch") == "[]"


def architectures(make, **cohorts: list[tuple[float, float, float]]) -> list[tuple[str, Path]]:
    """The inputs for (FVU, L0, shared fraction) of each architecture's cohorts; live latents share a tenth more."""
    inputs = []
    for architecture, points in cohorts.items():
        for index, (fvu, l0, shared) in enumerate(points):
            name = f"{architecture}-{index}"
            rows = [row(0, 1, "trained", "all", 4, shared, 1.0), row(0, 1, "trained", "live", 4, shared + 0.1, 1.0)]
            folder = make.pairs(name, [{**values, "cohort": name} for values in rows])
            inputs.append((architecture, folder))
            # Two SAEs, whose mean counts.
            inputs += [(name, make.evaluation(f"{name}-{s}", fvu=fvu + s, l0=l0 + s)) for s in (-0.01, 0.01)]
    return inputs


def matched(table: pd.DataFrame, by: str, latents: str = "all") -> dict[str, float]:
    rows = table.query("matched == @by and latents == @latents and statistic == 'shared'")
    return dict(zip(rows["value"], rows["fraction"], strict=True))


def test_architectures_are_compared_on_the_lines_between_their_cohorts(make):
    table = of(
        "architecture",
        architectures(
            make,
            topk=[(0.3, 4, 0.6), (0.1, 64, 0.2)],
            gated=[(0.1, 16, 0.4), (0.4, 1, 0.7), (0.2, 4, 0.5)],  # in no order
        ),
    )
    # Both reach FVU 0.1 to 0.3 and L0 4 to 16: the middles are 0.2 and, of a logarithm, 8.
    assert table.query("matched == 'fvu'")["fvu"].unique().tolist() == pytest.approx([0.2])
    assert table.query("matched == 'l0'")["l0"].unique().tolist() == pytest.approx([8])
    assert matched(table, "fvu") == pytest.approx({"topk": 0.4, "gated": 0.5})
    assert matched(table, "fvu", "live") == pytest.approx({"topk": 0.5, "gated": 0.6})
    assert matched(table, "l0") == pytest.approx({"topk": 0.6 - 0.4 / 4, "gated": 0.45})
    run = table.query("source == 'trained' and latents == 'all' and statistic == 'shared'")
    assert run.query("value == 'gated'")["x"].tolist() == pytest.approx([0.1, 0.2, 0.4])


def test_nothing_is_said_of_an_architecture_beyond_its_cohorts(make):
    table = of(
        "architecture",
        architectures(
            make,
            topk=[(0.3, 8, 0.6), (0.1, 64, 0.2)],
            gated=[(0.25, 8, 0.4), (0.15, 32, 0.3)],
            relu=[(0.5, 8, 0.9), (0.4, 16, 0.8)],
        ),
    )
    assert table.query("matched == 'fvu'")["fvu"].unique().tolist() == pytest.approx([0.2])
    assert matched(table, "fvu") == pytest.approx({"topk": 0.4, "gated": 0.35, "relu": np.nan}, nan_ok=True)
    assert not np.isnan(matched(table, "l0")["relu"])


def test_a_cohort_without_quality_has_no_place_among_architectures(make):
    inputs = architectures(make, topk=[(0.3, 4, 0.6)])
    with pytest.raises(StudyError, match="figure architecture, cohort topk-0: has no FVU or no L0 above 0"):
        of("architecture", inputs[:1])
    inputs[-1] = ("topk-0", make.evaluation("dead", fvu=None, l0=0.0))
    with pytest.raises(StudyError, match="cohort topk-0: has no FVU"):
        of("architecture", inputs[:1] + inputs[-1:])
