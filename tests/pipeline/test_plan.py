"""The plan's numbers can be counted by hand on a small study."""

import dataclasses
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
    assert after["train"] == dataclasses.replace(before["train"], jobs=(2 + 1) * 4)
    assert after["evaluate"] == dataclasses.replace(before["evaluate"], jobs=2 + 1)
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
    before = stages(config)
    # 1,000 parameters: 2,000 operations a token.
    assert np.isclose(before["activations"].device_hours, 4500 * 2000 / 200e12 / 3600)
    training = 4000 * 32 * (3 * (2 * 64 + 8 * 4) + 2 * (2 * 32 + 8 * 4))
    assert np.isclose(before["train"].device_hours, training / 100e12 / 3600)
    config["plan"] = {"sae_tflops": 50, "match_seconds": 16}
    after = stages(config)
    assert np.isclose(after["train"].device_hours, 2 * before["train"].device_hours)
    assert np.isclose(after["match"].cpu_hours, 2 * before["match"].cpu_hours)
    assert after["activations"] == before["activations"]


def test_the_default_rates_are_those_of_the_studys_device():
    config = small_config()
    texts = {device: format_plan(plan(Study.from_config({**config, "device": device}))) for device in ("cpu", "cuda")}
    assert "device = 2 CPU cores; model 0.4 and SAE training 0.02 x" in texts["cpu"]
    assert "device = one H100-class GPU; model 200 and SAE training 100 x" in texts["cuda"]
    config["plan"] = {"sae_tflops": 7}
    assert "model 0.4 and SAE training 7 x" in format_plan(plan(Study.from_config(config)))


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
    assert (found["tokens"].jobs, found["activations"].jobs, found["activations"].device_hours) == (0, 1 + 1, 0)
    assert found["activations"].written == 600 * (7 * 4 + 8)
    config["passes"]["own"]["chunk_rows"] = 100
    assert stages(config)["activations"].jobs == 5 + 1


def test_a_model_without_a_language_model_head_is_evaluated_without_the_model(tmp_path):
    config = {**small_config(), "device": "cuda"}
    config["models"]["tiny"]["name"] = str(tmp_path)
    hours = {}
    for architecture in ("XLMRobertaForMaskedLM", "XLMRobertaModel"):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
        hours[architecture] = stages(config)["evaluate"].device_hours
    # Four passes of 2,000 operations a token, over the 500 held-out tokens of five SAEs.
    passes = 4 * 2000 * 500 * 5 / 200e12 / 3600
    assert np.isclose(hours["XLMRobertaForMaskedLM"] - hours["XLMRobertaModel"], passes)


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
    # 9 x 40 for the base; two seeds each of 46 cohorts of 40 chunks, of the short run (4), of the long one and Llama.
    assert f"{9 * 40 + 2 * (46 * 40 + 4 + 200 + 100):,}" in text
    assert max(map(len, text.split("\n")[:12])) < 120
