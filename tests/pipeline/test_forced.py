from pathlib import Path

from sae_stability.files import write_json
from sae_stability.pipeline.forced import not_forced


def finish(pipeline, seed: int) -> str:
    """Pretend that an SAE of `base` is trained; returns the file that says so."""
    settings, *others = pipeline.results.settings("base", seed), pipeline.results.weights("base", seed)
    others += [pipeline.results.metrics("base", seed), pipeline.results.history("base", seed)]
    for file in others:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    write_json(settings, {"config_hash": pipeline.fingerprints.sae(pipeline.study.cohorts["base"], seed)})
    return settings


def test_nothing_is_said_where_nothing_is_finished(pipeline):
    assert not_forced(pipeline, True, []) is None
    assert not_forced(pipeline, False, ["train_seeds_0"]) is None


def test_finished_results_are_counted_by_stage_and_one_is_named(pipeline):
    first = finish(pipeline, 0)
    finish(pipeline, 2)
    note = not_forced(pipeline, True, [])
    assert note.startswith("note: --forceall makes no finished result again (2 of train)")
    assert note.endswith(f"such as {first}")


def test_forcerun_goes_by_rule_or_by_file(pipeline):
    first = finish(pipeline, 0)
    assert "--forcerun makes no finished result again (1 of train)" in not_forced(pipeline, False, ["train_seeds_0"])
    assert "(1 of train)" in not_forced(pipeline, False, [f"./{first}"])
    assert not_forced(pipeline, False, ["evaluate_seeds_0", "summary"]) is None


def test_any_file_of_a_result_may_be_named_and_force_is_told_too(pipeline):
    finish(pipeline, 0)
    weights = pipeline.results.weights("base", 0)
    assert "--forcerun makes no finished result again (1 of train)" in not_forced(pipeline, False, [weights])
    assert "--force makes no finished result again (1 of train)" in not_forced(pipeline, False, [], [weights])
    assert not_forced(pipeline, False, [], ["all"]) is None
