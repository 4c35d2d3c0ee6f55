"""What jobs ask for."""

import dataclasses

from sae_stability.pipeline import Pipeline, activations, corpus, external, match, train
from sae_stability.pipeline.rates import rates_of
from sae_stability.pipeline.resources import gpus, megabytes, sae_memory, sae_threads, shard_bytes


def test_memory_counts_bytes_on_top_of_what_python_takes():
    assert megabytes() == 2000
    assert megabytes(3 * 10**6, 4 * 10**6) == 2007


def test_a_gpu_is_asked_for_only_where_the_study_computes_on_one(pipeline: Pipeline):
    study = pipeline.study
    pass_ = study.passes["mlp"]
    on_gpu = dataclasses.replace(study, device="cuda")
    assert (gpus(study), gpus(on_gpu)) == (0, 1)
    assert activations.job_gpus(on_gpu, pass_) == 1
    assert activations.job_gpus(on_gpu, dataclasses.replace(pass_, tokens=None, matrix="rows.npy")) == 0


def test_shards_of_float32_are_twice_as_large(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    assert shard_bytes(pass_) == 300 * 32 * 2
    assert shard_bytes(dataclasses.replace(pass_, dtype="float32")) == 300 * 32 * 4


def test_more_saes_take_more_memory_and_threads(pipeline: Pipeline):
    large = dataclasses.replace(pipeline.study.cohorts["base"], n_latents=125_000)
    assert sae_memory(large, 2) - sae_memory(large) == 12 * 4 * 125_000 * 32 // 10**6
    small = pipeline.study.cohorts["base"]
    assert [sae_threads(small, saes) for saes in (1, 2, 5, 100)] == [1, 1, 2, 16]
    assert sae_threads(dataclasses.replace(small, n_latents=200_000)) == 16


def test_dense_architectures_train_in_more_memory_than_topk(pipeline: Pipeline):
    topk = dataclasses.replace(pipeline.study.cohorts["base"], n_latents=100_000)
    relu = dataclasses.replace(topk, architecture="relu")
    assert train.memory(relu, 2) - train.memory(topk, 2) == 4 * 100_000 * (2 * 100 + 20 * 32) // 10**6


def test_extraction_has_room_for_the_model(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    model = dataclasses.replace(pass_.tokens.model, parameters=10**9)
    larger = dataclasses.replace(pass_, tokens=dataclasses.replace(pass_.tokens, model=model))
    assert activations.memory(larger) - activations.memory(pass_) == 4000


def test_long_text_has_more_time(pipeline: Pipeline):
    tokens = pipeline.study.tokens["tiny-web"]
    assert corpus.minutes(tokens) == 60
    assert corpus.minutes(dataclasses.replace(tokens, train_tokens=120_000_000)) == 70


def test_large_dictionaries_are_matched_with_more_threads_and_memory():
    assert [match.threads(n) for n in (8192, 8193)] == [1, 16]
    assert match.memory(16_384, 64) > match.memory(8192, 64)


def test_reading_an_sae_has_room_for_it(external_pipeline: Pipeline):
    assert external.memory(external_pipeline.study.cohorts["hub"]) == 2000 + 40 * 16 * 8 // 10**6


def test_a_job_may_take_six_times_what_the_plan_gives_it_and_an_hour(pipeline: Pipeline):
    study, cohort = pipeline.study, pipeline.study.cohorts["base"]
    slow = dataclasses.replace(study, plan={**study.plan, "sae_tflops": 1e-9, "model_tflops": 1e-9})
    jobs = len(cohort.blocks) * cohort.chunks
    for stage, count, least in (
        (train, jobs, train.minutes(slow, cohort, 1)),
        (activations, cohort.chunks + 1, activations.minutes(slow, cohort.pass_, 0)),
    ):
        one = dataclasses.replace(slow, cohorts={"base": cohort}, passes={"mlp": cohort.pass_})
        spent = stage.cost(one, rates_of(one)).cpu_hours * 60 / count
        assert 60 + 0.5 * 6 * spent < least < 60 + 2 * 6 * spent + 1, stage.__name__
    assert train.minutes(study, cohort, 1) == activations.minutes(study, cohort.pass_, "heldout") == 61
    assert train.minutes(slow, cohort, 2) > 1.9 * train.minutes(slow, cohort, 1) - 60


def test_a_model_of_unknown_size_has_hours(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    model = dataclasses.replace(pass_.model, name="far/away", parameters=None)
    unknown = dataclasses.replace(pass_, tokens=dataclasses.replace(pass_.tokens, model=model))
    assert activations.minutes(pipeline.study, unknown, 0) == 60 + 6 * 120
