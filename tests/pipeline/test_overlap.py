"""The jobs that count what is shared."""

from sae_stability.pipeline import Pipeline, overlap
from tests.pipeline.words import flags_of


def test_every_file_on_the_command_line_is_a_declared_input(pipeline: Pipeline):
    cohort = pipeline.study.cohorts["base"]
    files = overlap.inputs(pipeline, cohort)
    flags = flags_of(overlap.command(pipeline, cohort))
    assert (
        flags["--match"]
        == files["matches"]
        == [f"results/matches/base/{pair}.parquet" for pair in ("0-1", "0-2", "1-2")]
    )
    assert flags["--floor"] == files["floors"]
    assert len(files["floors"]) == pipeline.study.floor_repeats
    assert flags["--latents"] == [f"{seed}={file}" for seed, file in enumerate(files["latents"])]
    assert flags["--sae"] == [f"{seed}=results/saes/base/seed-{seed}" for seed in (0, 1, 2)]
    folders = [sae.partition("=")[2] for sae in flags["--sae"]]
    assert files["saes"] == [f"{folder}/{name}" for folder in folders for name in ("cfg.json", "sae.safetensors")]
    assert flags["--threshold"] == [str(pipeline.study.threshold)]


def test_every_cohort_has_its_tables(pipeline: Pipeline):
    assert len(set(overlap.outputs(pipeline))) == 2 * 5
