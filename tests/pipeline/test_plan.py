"""The plan's numbers can be counted by hand on a small study."""

import json
from pathlib import Path

import numpy as np

from sae_stability.pipeline.plan import format_plan, plan
from sae_stability.study.build import Study, load_study
from tests.study_config import small_config

ROOT = Path(__file__).parents[2]


def stages(config: dict) -> dict:
    return {stage.name: stage for stage in plan(Study.from_config(config)).stages}


def test_jobs_and_tokens_are_exact():
    found = stages(small_config())
    # Cohorts: base with 3 seeds and 64 latents, size-32 with 2 seeds; 4 chunks of 10 steps of 100 each. The pairs of a
    # cohort this small are one job, and so are the repeats of a shape.
    assert {name: stage.jobs for name, stage in found.items()} == {
        "tokens": 1,
        "activations": 4 + 1,
        "train": (3 + 2) * 4,
        "evaluate": 5,
        "match": 2,
        "floor": 2,
        "overlap": 2,
        "figures": 4,
        "report": 1,
        "workflow report": 2,
    }
    assert found["tokens"].tokens == found["activations"].tokens == 4500
    assert found["train"].tokens == 5 * 4000
    assert found["evaluate"].tokens == 5 * 500


def test_seeds_that_share_a_job_make_fewer_jobs_and_nothing_else():
    config = small_config()
    before = stages(config)
    config["cohort_defaults"]["seeds_per_job"] = 2
    after = stages(config)
    # Three seeds are two jobs, two seeds one, on each of 4 chunks.
    assert (after["train"].jobs, after["evaluate"].jobs) == ((2 + 1) * 4, 2 + 1)
    assert (after["train"].tokens, after["train"].written) == (before["train"].tokens, before["train"].written)
    assert {**after, "train": before["train"], "evaluate": before["evaluate"]} == before


def test_bytes_of_shards_and_saes_can_be_counted():
    found = stages(small_config())
    row = 2 * (32 * 2 + 8)  # two hookpoints, 32 float16 numbers and an index
    assert found["activations"].written == found["activations"].peak == 4500 * row
    saes = [4 * (2 * n * 32 + n + 32) for n in (64, 64, 64, 32, 32)]
    # The SAE after the last chunk; weights and two averages after each of the other three.
    assert found["train"].written == sum(sae + 3 * 3 * sae for sae in saes)


def test_shards_that_are_not_kept_need_the_disk_of_the_chunks_in_flight():
    config = small_config()
    config["passes"]["mlp"]["keep_shards"] = False
    kept, deleted = stages(small_config())["activations"], stages(config)["activations"]
    assert deleted.written == kept.written
    assert deleted.peak == kept.peak * (500 + 2 * 1000) / 4500


def test_chunks_that_nobody_trains_on_are_not_extracted():
    config = small_config()
    config["cohorts"]["base"]["tokens"] = 1800
    assert stages(config)["activations"].jobs == 2 + 1
    config["passes"]["unused"] = {"tokens": "tiny-web", "hookpoints": ["layers.9.mlp"]}
    assert stages(config)["activations"].jobs == 2 + 1


def test_hours_follow_the_stated_rates():
    config = {**small_config(), "device": "cuda"}
    # Jobs that start at once, and a disk that holds up nobody.
    quick = {"start_seconds": 1e-12, "torch_seconds": 1e-12, "disk_rate": 1e30}
    config["plan"] = quick
    before = stages(config)
    # 1,000 parameters: 2,000 operations a token.
    assert np.isclose(before["activations"].gpu_hours, 4500 * 2000 / 200e12 / 3600, rtol=1e-2)
    training = 4000 * 32 * (3 * (2 * 64 + 8 * 4) + 2 * (2 * 32 + 8 * 4))
    assert before["train"].operations == training
    config["plan"] = {**quick, "sae_tflops": 50e-9, "match_seconds": 16}
    after = stages(config)
    assert np.isclose(after["train"].gpu_hours, training / 50e3 / 3600)
    # Three assignments a pair; 3 pairs of 64 latents and one of 32.
    assert np.isclose(after["match"].cpu_hours, 16 * 3 * (3 * 64**2 + 32**2) / 8192**2 / 3600)
    assert after["activations"] == before["activations"]


def test_a_job_costs_its_start_and_a_slow_disk_costs_more_than_computing():
    config = {**small_config(), "device": "cuda", "plan": {"start_seconds": 10, "torch_seconds": 26}}
    # One hundredth of an hour a job.
    assert np.isclose(stages(config)["train"].gpu_hours, (3 + 2) * 4 * 0.01, rtol=1e-3)
    config["plan"] |= {"start_seconds": 1e-12, "torch_seconds": 1e-12, "disk_rate": 100}
    found = stages(config)["activations"]
    assert np.isclose(found.gpu_hours, found.written / 100 / 3600)


def test_bytes_read_in_training_follow_the_jobs_that_share_a_row():
    config = small_config()
    row, states = 2 * 32 + 8, 3 * 3 * sum(4 * (2 * n * 32 + n + 32) for n in (64, 64, 64, 32, 32))
    assert stages(config)["train"].read == 5 * 4000 * row + states
    config["cohort_defaults"]["seeds_per_job"] = 2
    assert stages(config)["train"].read == 3 * 4000 * row + states


def test_what_comes_from_the_hub_is_counted_once_a_model_and_a_token_set():
    found = stages(small_config())
    assert found["activations"].downloaded == 4 * 1000
    assert found["tokens"].downloaded == 2 * 4500
    config = small_config()
    config["corpora"]["web"] = {"kind": "docstrings", "packages": ["numpy"]}
    assert stages(config)["tokens"].downloaded == 0


def test_calls_of_an_endpoint_and_their_price_are_counted():
    config = small_config()
    judge = {"kind": "endpoint", "url": "http://localhost/v1", "model": "m", "batch": 5, "max_tokens": 100}
    config["firing"] = {"cohorts": ["base"], "contexts": {"window": 10}}
    config["interpret"] = {
        "cohorts": ["base"],
        "latents": 7,
        "shown_windows": 20,
        "scored_windows": 10,
        "draws": 3,
        "judges": {"far": {**judge, "prompt_price": 2, "completion_price": 8}},
        "explainers": ["far"],
        "scorers": {"detection": {"kind": "detection", "judge": "far"}},
        "similarity": None,
    }
    found = stages(config)
    # 7 latents of 3 SAEs, each explained once from 20 windows of 10 tokens and 400 tokens of instructions.
    assert found["explain"].calls == 7 * 3
    assert np.isclose(found["explain"].money, 21 * (600 * 2 + 100 * 8) / 1e6)
    # Windows that fire, random and near ones, 10 each, 5 to a call; three draws, and one by another explanation.
    assert found["score"].calls == 7 * 3 * 4 * 6
    text = format_plan(plan(Study.from_config(config)))
    assert "calls" in text
    assert "money" in text


def test_wall_time_is_shared_by_workers_up_to_the_longest_chain_of_jobs():
    made = plan(Study.from_config({**small_config(), "plan": {"sae_tflops": 1e-9}}))
    train = next(stage for stage in made.stages if stage.name == "train")
    assert np.isclose(made.wall_hours(train, 1), train.cpu_hours)
    # An SAE of `base` is trained chunk after chunk, whatever the number of workers.
    alone = plan(
        Study.from_config({**small_config(), "plan": {"sae_tflops": 1e-9}, "sweeps": {}, "figures": {"draw": {}}})
    )
    base = next(stage for stage in alone.stages if stage.name == "train")
    assert np.isclose(made.wall_hours(train, 100), base.cpu_hours / 3)


def test_the_default_rates_are_those_of_the_studys_device():
    config = small_config()
    texts = {device: format_plan(plan(Study.from_config({**config, "device": device}))) for device in ("cpu", "cuda")}
    assert "Assumed: a worker is a CPU core; model 0.08 x 10^12 operations/s; SAEs 0.015 x" in texts["cpu"]
    assert "Assumed: a worker is one H100-class GPU; model 200 x 10^12 operations/s; SAEs 100 x" in texts["cuda"]
    config["plan"] = {"sae_tflops": 7}
    text = format_plan(plan(Study.from_config(config)))
    assert "Stated in the study (`plan`): SAEs 7 x 10^12 operations/s" in text
    assert "Assumed: a worker is a CPU core; model 0.08 x 10^12 operations/s; tokenising" in text


def test_a_model_of_unknown_size_is_named_in_the_plan():
    config = small_config()
    del config["models"]["tiny"]["parameters"]
    text = format_plan(plan(Study.from_config(config)))
    assert "models.tiny.parameters is not given" in text


def test_a_matrix_needs_no_model(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros((600, 7), np.float32))
    config = {
        "study": "own",
        "passes": {"own": {"matrix": str(tmp_path / "own.npy"), "heldout_rows": 100, "train_rows": 500}},
        "cohorts": {"base": {"n_latents": 8, "k": 2, "batch_size": 10, "warmup_steps": 0}},
    }
    found = stages(config)
    # One chunk and the held-out rows.
    assert (found["tokens"].jobs, found["activations"].jobs, found["activations"].operations) == (0, 1 + 1, 0)
    assert found["activations"].written == 600 * (7 * 4 + 8)
    config["passes"]["own"]["chunk_rows"] = 100
    assert stages(config)["activations"].jobs == 5 + 1


def test_a_model_without_a_language_model_head_is_evaluated_without_the_model(tmp_path):
    config = {**small_config(), "device": "cuda"}
    config["models"]["tiny"]["name"] = str(tmp_path)
    operations = {}
    for architecture in ("XLMRobertaForMaskedLM", "XLMRobertaModel"):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
        operations[architecture] = stages(config)["evaluate"].operations
    # Four passes of 2,000 operations a token, over the 500 held-out tokens of five SAEs.
    passes = 4 * 2000 * 500 * 5
    assert operations["XLMRobertaForMaskedLM"] - operations["XLMRobertaModel"] == passes


def test_the_embedded_model_tells_its_size():
    assert not plan(load_study(ROOT / "config.yaml")).notes


def test_the_papers_runs_are_all_there():
    study = load_study(ROOT / "studies" / "seed-overlap.yaml")
    runs = {
        (c.pass_.model.slug, c.hookpoint, c.n_latents, c.k, c.tokens // 10**8): len(c.seeds)
        for c in study.cohorts.values()
    }
    mlps = {("pythia", f"layers.{i}.mlp", n, 32, 80): 2 for i in range(12) for n in (768, 4084, 32768)}
    others = [(32, 32, 80), (27648, 32, 80), (131072, 32, 80), *((32768, k, 80) for k in (64, 128, 256))]
    others += [(32768, 32, 8), (32768, 32, 800)]
    expected = {
        **mlps,
        ("pythia", "layers.6.mlp", 32768, 32, 80): 9,
        **{("pythia", "layers.6.mlp", *run): 2 for run in others},
        ("pythia", "layers.6", 27648, 32, 80): 2,
        ("gpt2", "h.6", 27648, 32, 80): 2,
        ("gpt2", "h.6.mlp", 27648, 32, 80): 2,
        ("smollm", "layers.15", 20736, 32, 80): 2,
        ("smollm", "layers.15.mlp", 20736, 32, 80): 2,
        ("llama", "layers.16.mlp", 147456, 32, 80): 2,
    }
    assert runs == expected


def test_the_text_holds_every_stage_and_every_assumption():
    result = plan(load_study(ROOT / "studies" / "seed-overlap.yaml"))
    text = format_plan(result)
    assert all(f"\n{stage.name} " in text for stage in result.stages)
    assert "H100" in text
    # Three jobs of three seeds for the base; the pairs of 46 cohorts and of Llama, each of 80 chunks, of the short run
    # (8) and of the long one (200).
    assert f"{3 * 80 + 47 * 80 + 8 + 200:,}" in text
    shards = 2 * (100e6 * (15 * 2 * 768 + 15 * 8 + 2 * (2 * 576 + 8)) + 100e6 * (2 * 4096 + 8) + 400e6 * (2 * 768 + 8))
    heldout = next(stage for stage in result.stages if stage.name == "activations").peak - shards
    assert shards < 8e12
    assert 0 < heldout < 0.05 * shards
    assert max(map(len, text.split("\n")[:12])) < 130
