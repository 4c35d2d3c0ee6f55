"""What runs again and what does not, shown by real Snakemake runs of a study on a 2-layer GPT-NeoX."""

import os
import re
import shutil

import pytest

from tests.workflow.conftest import Project


def test_a_second_run_does_nothing(neox: Project):
    before = neox.files("**/*")
    assert neox.snakemake().nothing
    assert neox.files("**/*") == before


def test_what_changes_no_result_does_nothing(neox: Project):
    """Touched sources and texts, a comment, what only the plan uses, and how many seeds a job trains."""
    for pattern in ("workflow/**/*.py", "workflow/**/*.smk", "corpus.jsonl"):
        for path in neox.folder.glob(pattern):
            path.touch()
    train = neox.folder / "workflow" / "sae_stability" / "sae" / "training" / "train.py"
    train.write_text(train.read_text() + "\n# A remark.\n")

    def change(study):
        study["models"]["tiny"].update(parameters=123_456)
        study["cohort_defaults"].update(seeds_per_job=2)

    neox.edit(change)
    assert neox.dry().nothing


def test_a_new_seed_trains_and_matches_itself_and_nothing_else(neox: Project):
    before = neox.files("saes/base/seed-[01]/*") | neox.files("matches/base/0-1.parquet")
    neox.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 3]))
    run = neox.snakemake("overlap_tables")
    assert run.matched == {"base/0-3", "base/1-3"}
    jobs = run.jobs
    assert jobs["train_chunk"] == 1
    assert jobs["train"] == 1
    assert run.evaluated == {"base/seed-3"}
    assert jobs["match_base"] == 1
    assert jobs["overlap"] == 1
    assert not any(name.startswith(("tokenize", "extract", "floor")) for name in jobs)
    after = neox.files("saes/base/seed-[01]/*") | neox.files("matches/base/0-1.parquet")
    assert after == before

    neox.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2, 3]))
    run = neox.dry()
    assert run.matched == {"base/0-2", "base/1-2", "base/2-3"}, "seeds come in any order"
    assert run.jobs["match_base"] == 1


def test_a_new_layer_comes_as_a_pass_and_leaves_the_old_one_alone(neox: Project):
    def add_layer(study):
        study["passes"]["second"] = {"tokens": "stories", "hookpoints": ["layers.1.mlp"], "shard_tokens": 1000}
        study["cohorts"]["deeper"] = {"hookpoint": "layers.1.mlp", "init_seeds": [0, 1]}

    neox.edit(add_layer)
    run = neox.dry()
    assert run.matched == {"deeper/0-1"}
    jobs = run.jobs
    assert {name for name in jobs if name.startswith("extract")} == {"extract_chunk_second", "extract_heldout_second"}
    assert jobs["train"] == 2
    assert run.evaluated == {"deeper/seed-0", "deeper/seed-1"}
    assert jobs["overlap"] == 1
    assert not any(name.startswith("tokenize") for name in jobs)


def test_a_change_of_style_redraws_and_counts_nothing_again(neox: Project):
    before = neox.files("figures/*.svg")
    neox.edit(lambda study: study["figures"].update(style={"font_size": 9}))
    assert set(neox.dry().jobs) == {"draw_joint", "draw_seeds", "draw_size", "report", "workflow_report"}
    neox.snakemake("figures")
    after = neox.files("figures/*.svg")
    assert all(after[name] != before[name] for name in before)


def test_an_edit_of_one_drawing_redraws_one_figure(neox: Project):
    neox.edit_code("figures/drawings/joint.py", "draw")
    assert set(neox.dry().jobs) == {"draw_joint", "report", "workflow_report"}


def test_an_edit_of_the_matching_code_does_not_retrain(neox: Project):
    neox.edit_code("match/assignment.py", "match_rows")
    run = neox.dry()
    assert run.matched == {"base/0-1", "size-32/0-1"}
    assert run.jobs["floor_48x32"] == 1
    assert run.jobs["train"] == run.jobs["train_chunk"] == 0
    assert not run.evaluated


def test_an_edit_of_the_training_code_retrains_and_extracts_nothing(neox: Project):
    neox.edit_code("sae/training/train.py", "train_block")
    run = neox.dry()
    assert run.jobs["train"] == len(run.evaluated) == 4
    assert not any(name.startswith(("tokenize", "extract")) for name in run.jobs)


def test_a_threshold_and_one_more_repeat_of_the_floor_change_tables_and_match_that_repeat_alone(neox: Project):
    neox.edit(lambda study: study.update(threshold=0.6, floor={"repeats": 3}))
    run = neox.dry("--printshellcmds")
    assert {name for name in run.jobs if name.startswith("floor")} == {"floor_32x32", "floor_48x32"}
    assert set(re.findall(r"--rep (\d)", run.output)) == {"2"}
    assert run.jobs["overlap"] == 2
    assert not run.matched
    assert run.jobs["train"] == 0


def test_a_deleted_shard_redoes_only_what_needs_it(neox: Project):
    shard = next(neox.folder.glob("results/activations/first/*/chunk-0001/shard-0000.safetensors"))
    content = shard.read_bytes()
    shard.unlink()
    assert neox.dry().nothing, "every SAE that read it is finished"

    neox.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2]))
    assert neox.dry().matched == {"base/0-2", "base/1-2"}
    run = neox.snakemake("saes")
    assert run.jobs["extract_chunk_first"] == 1, "the one chunk, not the other"
    assert run.jobs["train"] == 1, "the new seed alone"
    assert shard.read_bytes() == content


def test_a_deleted_result_is_made_again_when_something_needs_it(neox: Project):
    for file in ("saes/base/seed-0/sae.safetensors", "evaluation/base/seed-1.parquet"):
        (neox.folder / "results" / file).unlink()
    assert neox.dry().nothing, "the matches that read them are finished"
    neox.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2]))
    run = neox.dry()
    assert run.jobs["train"] == 2, "the deleted one and the new seed's"
    assert run.evaluated == {"base/seed-1", "base/seed-2"}, "the deleted one and the new seed's"
    assert not any(name.startswith(("tokenize", "extract")) for name in run.jobs)


def test_other_text_under_the_same_name_makes_everything_again(neox: Project):
    corpus = neox.folder / "corpus.jsonl"
    lines = corpus.read_text().splitlines(keepends=True)
    corpus.write_text("".join(reversed(lines)))
    jobs = neox.dry().jobs
    assert jobs["tokenize_stories"] == 1
    assert jobs["extract_chunk_first"] == 2
    assert jobs["train"] == 4, "no SAE of the old text stays beside those of the new"


def test_other_weights_under_the_same_name_make_everything_again(neox: Project):
    weights = neox.folder / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = bytes(4)
    weights.write_bytes(content)
    assert neox.dry().jobs["train"] == 4


def test_without_snakemake_s_records_the_results_say_what_is_stale(neox: Project):
    shutil.rmtree(neox.folder / ".snakemake")
    # Times say nothing either: the files are copied in any order.
    for number, path in enumerate(sorted((neox.folder / "results").rglob("*"), key=lambda path: path.name)):
        os.utime(path, (10**9 + number, 10**9 + number))
    assert neox.dry().nothing
    neox.edit(lambda study: study.update(threshold=0.6))
    jobs = neox.dry().jobs
    assert jobs["overlap"] == 2
    assert {"figure_table", "draw_joint", "draw_seeds", "draw_size", "summary", "report"} <= set(jobs)
    assert not {"train", "match_base"} & set(jobs)
    neox.edit(lambda study: study["passes"]["first"].update(shuffle_seed=7))
    run = neox.dry()
    assert run.jobs["extract_chunk_first"] == 2
    assert run.jobs["train"] == len(run.evaluated) == 4
    assert not any(name.startswith(("tokenize", "floor")) for name in run.jobs)


def test_a_result_that_does_not_say_what_it_was_made_from_is_refused(neox: Project):
    (neox.folder / "results/saes/base/seed-0/cfg.json").write_text("{}")
    run = neox.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert "error: results/saes/base/seed-0/cfg.json: is damaged" in run.output
    assert "delete it and run again" in run.output


def test_a_damaged_shard_is_named_and_not_trained_on(neox: Project):
    shard = next(neox.folder.glob("results/activations/first/*/chunk-0000/shard-0001.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    times = shard.stat()
    shard.write_bytes(content)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    neox.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2]))
    run = neox.snakemake(check=False)
    assert run.returncode != 0
    assert "shard-0001.safetensors" in run.output
    assert "Traceback" not in run.output
    assert not (neox.folder / "results" / "saes" / "base" / "seed-2").exists() or not list(
        (neox.folder / "results" / "saes" / "base" / "seed-2").glob("*.safetensors")
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda study: study["cohorts"]["base"].update(n_latent=8), ["cohorts.base.n_latent", "n_latents"]),
        (lambda study: study["passes"]["first"]["hookpoints"].append("layers.9.mlp"), ["layers.9.mlp"]),
    ],
    ids=["in the study", "in what the study names"],
)
def test_a_mistake_stops_before_the_first_job(neox: Project, change, words):
    """One from each of two checks; tests/study/ has every mistake."""
    neox.edit(change)
    run = neox.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.output
    for word in words:
        assert word in run.output
