"""The jobs that make figures."""

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline import Pipeline, figures, summary
from sae_stability.study.parts import Figure
from tests.pipeline.words import flags_of
from tests.study.test_interpret import config as interpreted
from tests.study_config import small_config


def read(pipeline: Pipeline, figure: Figure) -> set[str]:
    """All files that a figure's table is made from."""
    return {file for files in figures.inputs(pipeline, figure).values() for file in files}


def table_flags(pipeline: Pipeline, figure: Figure) -> dict[str, list[str]]:
    """The flags of the job that makes a figure's table, but for the fingerprint."""
    flags = flags_of(figures.table_command(pipeline, figure))
    assert flags.pop("--config-hash") == [pipeline.fingerprints.table(figure)]
    return flags


def test_a_figure_of_a_cohort_reads_its_tables_and_joint_its_first_match(pipeline: Pipeline):
    figure = pipeline.study.figures["joint"]
    assert read(pipeline, figure) == {*pipeline.results.overlap_tables("base"), "results/matches/base/0-1.parquet"}
    assert table_flags(pipeline, figure) == {
        "--figure": ["joint"],
        "--input": ["base=results/overlap/base", "base=results/matches/base/0-1.parquet"],
    }


def test_a_figure_of_a_sweep_reads_each_cohort_under_its_label(pipeline: Pipeline):
    figure = pipeline.study.figures["size"]
    tables = [*pipeline.results.overlap_tables("size-32"), *pipeline.results.overlap_tables("base")]
    assert read(pipeline, figure) == set(tables)
    assert table_flags(pipeline, figure) == {
        "--figure": ["size"],
        "--input": ["32=results/overlap/size-32", "64=results/overlap/base"],
    }


def test_a_figure_over_layers_reads_the_quality_of_every_sae(pipeline_of):
    config = small_config()
    config["sweeps"]["layer"] = {
        "cohort": "base",
        "vary": {"hookpoint": {"layer 0": "layers.0.mlp", "layer 1": "layers.1.mlp"}},
        "init_seeds": [0, 1],
    }
    config["figures"]["draw"]["layer"] = {"sweep": "layer"}
    pipeline = pipeline_of(config)
    figure = pipeline.study.figures["layer"]
    cohorts = [pipeline.study.cohorts[cohort] for _, cohort in figure.inputs]
    quality = [pipeline.results.quality(cohort.slug, seed) for cohort in cohorts for seed in cohort.seeds]
    assert len(quality) == 3 + 2
    assert set(quality) <= read(pipeline, figure)
    assert [word.partition("=")[2] for word in table_flags(pipeline, figure)["--input"][2:]] == quality


def test_an_edit_of_a_drawing_makes_no_table_again(pipeline_of, edited: set[str]):
    def prints() -> tuple[str, str]:
        pipeline = pipeline_of()
        figure = pipeline.study.figures["joint"]
        return pipeline.fingerprints.table(figure), pipeline.fingerprints.drawing(figure)

    before = prints()
    edited.add(FIGURES["joint"].drawing)
    assert prints()[0] == before[0]
    assert prints()[1] != before[1]
    edited.add(FIGURES["joint"].table)
    assert prints()[0] != before[0]


def test_the_figure_of_controls_reads_the_scores_that_there_are_and_is_made_again_with_them(pipeline_of, edited):
    def pipeline() -> Pipeline:
        config = interpreted()
        config["cohorts"]["held"] = {"hookpoint": "layers.0.mlp", "n_latents": 64, "control": "frozen-decoder"}
        config["sweeps"]["controls"] = {"cohorts": {"trained": "base", "held decoder": "held"}}
        config["figures"]["draw"]["controls"] = {"sweep": "controls"}
        return pipeline_of(config)

    first = pipeline()
    figure = first.study.figures["controls"]
    names = ("words/detection", "far/detection", "none/intruder")
    scores = [f"{name}/base=results/scores/{name}/base/seed-{seed}.parquet" for name in names for seed in (0, 1, 2)]
    assert table_flags(first, figure)["--input"][2 + 5 :] == scores
    assert {word.partition("=")[2] for word in scores} <= read(first, figure)
    assert summary.inputs(first)[-1] == "results/figures/controls.parquet"
    assert flags_of(summary.command(first))["--controls"] == ["results/figures/controls.parquet"]
    edited.add("score")
    second = pipeline()
    assert second.fingerprints.table(figure) != first.fingerprints.table(figure)
    assert second.fingerprints.summary() != first.fingerprints.summary()


def test_a_control_is_another_sae_and_none_leaves_the_fingerprint_as_it_is(pipeline_of):
    config = small_config()
    config["cohorts"]["base"]["control"] = None
    plain = pipeline_of()
    base = plain.study.cohorts["base"]
    same = pipeline_of(config)
    assert same.fingerprints.sae(same.study.cohorts["base"], 0) == plain.fingerprints.sae(base, 0)
    assert "control" not in base.training
    config["cohorts"]["base"]["control"] = "untrained"
    other = pipeline_of(config)
    assert other.study.cohorts["base"].training == {**base.training, "control": "untrained"}
    assert other.fingerprints.sae(other.study.cohorts["base"], 0) != plain.fingerprints.sae(base, 0)
