"""What a study's config becomes, and what every mistake in one says."""

import copy
import json
import math
import re
import struct
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import yaml
from hypothesis import given, settings

from sae_stability.errors import StudyError
from sae_stability.models.headers import has_lm_head
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.study.build import Study, complete, load_study, merge
from sae_stability.study.schema import check, load_yaml, schema
from tests.study_config import small_config

ROOT = Path(__file__).parents[1]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]


def changed(path: str, value: object) -> dict:
    """The small study with the entry at a dotted path set (or, for `...`, removed)."""
    config = small_config()
    *parents, last = path.split(".")
    here = config
    for name in parents:
        here = here.setdefault(name, {})
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return config


def message(config: dict) -> str:
    with pytest.raises(StudyError) as error:
        Study.from_config(config)
    return str(error.value)


# What a study becomes


def test_defaults_come_from_the_schema_then_cohort_defaults_then_the_cohort():
    config = small_config()
    config["cohort_defaults"]["k"] = 8
    config["cohorts"]["base"]["epochs"] = 2
    cohort = Study.from_config(config).cohorts["base"]
    assert (cohort.learning_rate, cohort.k, cohort.epochs) == (2e-4, 8, 2)
    assert cohort.tokens == 4000 * 2


def test_pairs_and_chunks_can_be_counted():
    cohort = Study.from_config(changed("cohorts.base.tokens", 2500)).cohorts["base"]
    assert cohort.pairs == [(0, 1), (0, 2), (1, 2)]
    assert cohort.chunks == 3
    assert [cohort.budget.rows_of(c) for c in range(3)] == [1000, 1000, 500]
    assert [cohort.budget.steps_of(c) for c in range(3)] == [10, 10, 5]
    assert cohort.steps == 25
    assert cohort.pass_.shard_names("0001") == [f"shard-000{i}.safetensors" for i in range(4)]
    assert cohort.pass_.shard_names("heldout") == [f"shard-000{i}.safetensors" for i in range(2)]


def test_a_last_chunk_too_small_for_one_step_is_left_out():
    cohort = Study.from_config(changed("cohorts.base.tokens", 2050)).cohorts["base"]
    assert (cohort.chunks, cohort.steps) == (2, 20)


@given(
    chunks=st.integers(1, 5),
    chunk=st.integers(50, 400),
    epochs=st.integers(1, 4),
    batch=st.integers(2, 50),
    share=st.floats(0.2, 1),
)
@settings(max_examples=200, deadline=None)
def test_chunks_agree_with_going_through_the_rows_one_by_one(chunks, chunk, epochs, batch, share):
    config = small_config()
    config["tokens"]["tiny-web"].update(train_tokens=chunks * chunk, chunk_tokens=chunk)
    tokens = max(math.ceil(share * chunks * chunk * epochs), batch * epochs)
    config["cohorts"]["base"].update(tokens=tokens, epochs=epochs, batch_size=batch, warmup_steps=0)
    del config["sweeps"], config["figures"]
    cohort = Study.from_config(config).cohorts["base"]
    rows = [0] * chunks
    for row in range(tokens // epochs):
        rows[row // chunk] += 1
    steps = [n * epochs // batch for n in rows]
    used = sum(n > 0 for n in steps)
    # The trainer counts for itself: what Snakemake plans and what it does must be the same.
    trainer = TrainSettings(**cohort.training)
    assert cohort.chunks == trainer.n_chunks == used
    assert [cohort.budget.rows_of(c) for c in range(used)] == rows[:used]
    assert [trainer.chunk_rows(c) for c in range(used)] == rows[:used]
    assert [cohort.budget.steps_of(c) for c in range(chunks)] == steps
    assert [trainer.chunk_steps(c) for c in range(chunks)] == steps
    assert [trainer.steps_before(c) for c in range(chunks + 1)] == [sum(steps[:c]) for c in range(chunks + 1)]
    assert cohort.steps == trainer.total_steps == sum(steps)


def test_trainer_and_study_leave_out_the_same_last_piece():
    config = changed("tokens.tiny-web", {**small_config()["tokens"]["tiny-web"], "train_tokens": 300_000})
    config["tokens"]["tiny-web"]["chunk_tokens"] = 100_000
    config["cohorts"]["base"].update(tokens=200_100, epochs=1, batch_size=256)
    cohort = Study.from_config(config).cohorts["base"]
    assert cohort.chunks == TrainSettings(**cohort.training).n_chunks == 2


def test_training_settings_are_those_that_the_trainer_takes():
    for cohort in load_study(ROOT / "config.yaml").cohorts.values():
        trainer = TrainSettings(**cohort.training, init_seed=0)
        assert trainer.total_steps == cohort.steps
        chunks = range(cohort.chunks)
        assert [trainer.chunk_steps(c) for c in chunks] == [cohort.budget.steps_of(c) for c in chunks]


def test_how_many_seeds_share_a_job_is_no_setting_of_the_training():
    cohorts = [Study.from_config(changed("cohorts.base.seeds_per_job", size)).cohorts["base"] for size in (1, 2)]
    assert cohorts[0].training == cohorts[1].training
    assert [cohort.blocks for cohort in cohorts] == [[(0,), (1,), (2,)], [(0, 1), (2,)]]


def test_a_sweep_adds_cohorts_that_differ_in_one_setting_and_reuses_its_base():
    study = Study.from_config(small_config())
    assert [(m.label, m.cohort) for m in study.sweeps["size"].members] == [("32", "size-32"), ("64", "base")]
    base, small = study.cohorts["base"].training, study.cohorts["size-32"].training
    assert {key for key in base if base[key] != small[key]} == {"n_latents"}
    assert study.cohorts["size-32"].seeds == (0, 1)
    assert study.cohorts["base"].seeds == (0, 1, 2)


def test_crossed_sweeps_name_each_combination_and_share_what_another_sweep_has():
    config = changed(
        "sweeps.layer",
        {
            "cohort": "base",
            "vary": {"n_latents": [32, 64], "hookpoint": {"layer 0": "layers.0.mlp", "layer 1": "layers.1.mlp"}},
            "init_seeds": [1, 5],
        },
    )
    study = Study.from_config(config)
    assert [m.cohort for m in study.sweeps["layer"].members] == [
        "size-32",
        "layer-32-layer-1",
        "base",
        "layer-64-layer-1",
    ]
    # What is reused has its own seeds and those that the second sweep asks for.
    assert study.cohorts["size-32"].seeds == (0, 1, 5)
    assert study.cohorts["base"].seeds == (0, 1, 2, 5)


def test_token_sweeps_have_short_names_and_figures_get_numbers():
    config = changed("sweeps.tokens", {"cohort": "base", "vary": {"tokens": [1500, 2000, 4000]}})
    config["figures"]["draw"]["tokens"] = {"sweep": "tokens"}
    study = Study.from_config(config)
    assert [m.cohort for m in study.sweeps["tokens"].members] == ["tokens-1-5k", "tokens-2k", "base"]
    assert study.figures["tokens"].inputs == (("1500", "tokens-1-5k"), ("2000", "tokens-2k"), ("4000", "base"))


def test_a_hookpoint_is_found_in_the_pass_that_the_sweep_already_reads():
    config = changed("passes.again", {"tokens": "tiny-web", "hookpoints": ["layers.0.mlp", "layers.1.mlp"]})
    config["cohorts"]["base"]["pass"] = "again"
    config["sweeps"]["layer"] = {"cohort": "base", "vary": {"hookpoint": ["layers.0.mlp", "layers.1.mlp"]}}
    study = Study.from_config(config)
    assert {study.cohorts[m.cohort].pass_.slug for m in study.sweeps["layer"].members} == {"again"}


def test_adding_a_pass_or_a_sweep_changes_no_cohort_that_exists():
    before = Study.from_config(small_config())
    config = changed("passes.more", {"tokens": "tiny-web", "hookpoints": ["layers.2.mlp"]})
    config["sweeps"]["layer"] = {"cohort": "base", "vary": {"hookpoint": ["layers.0.mlp", "layers.2.mlp"]}}
    after = Study.from_config(config)
    assert all(after.cohorts[name] == cohort for name, cohort in before.cohorts.items())
    assert after.passes["mlp"] == before.passes["mlp"]


def test_a_matrix_stands_in_for_model_and_text(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros((600, 7), np.float32))
    config = {
        "study": "own",
        "passes": {"own": {"matrix": str(tmp_path / "own.npy"), "heldout_rows": 100, "train_rows": 500}},
        "cohort_defaults": {"k": 2, "batch_size": 10, "warmup_steps": 0},
        "cohorts": {"base": {"n_latents": 8}},
    }
    cohort = Study.from_config(config).cohorts["base"]
    assert (cohort.hookpoint, cohort.d_model, cohort.pass_.model, cohort.tokens) == ("matrix", 7, None, 500)
    config["passes"]["own"]["train_rows"] = 501
    assert "has 600 rows" in message(config)
    config["passes"]["own"] |= {"train_rows": 500, "d_model": 8}
    assert "has 7 columns" in message(config)


def test_widths_of_safetensors_matrices_come_from_their_header(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [600, 3], "data_offsets": [0, 7200]}}).encode()
    path = tmp_path / "own.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(7200))
    own = {"matrix": str(path), "heldout_rows": 10, "train_rows": 500}
    config = {"study": "own", "passes": {"own": own}, "cohorts": {"base": {"n_latents": 8, "k": 1, "warmup_steps": 0}}}
    config["cohorts"]["base"]["batch_size"] = 10
    assert Study.from_config(config).cohorts["base"].d_model == 3
    own["tensor"] = "y"
    assert "holds x" in message(config)
    path.write_bytes(b"\xff" * 16)
    assert "damaged header" in message(config)


def test_local_models_tell_their_width(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"n_embd": 48, "n_positions": 32}))
    config = changed("models.tiny", {"name": str(tmp_path)})
    assert Study.from_config(config).cohorts["base"].d_model == 48
    config["tokens"]["tiny-web"]["context_length"] = 33
    assert "32 positions" in message(config)


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        (["GPTNeoXForCausalLM"], True),
        (["GPT2LMHeadModel"], True),
        (["BertForMaskedLM"], True),
        (["BertModel"], False),
        (["XLMRobertaModel"], False),
        (["XLMRobertaForSequenceClassification"], False),
        (None, False),
    ],
)
def test_local_models_tell_whether_they_have_a_language_model_head(tmp_path, architectures, expected):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": architectures}))
    assert has_lm_head(str(tmp_path)) is expected
    assert has_lm_head("nobody/tiny") is None


def grouped(*, hookpoints: tuple[str, str], latents: tuple[int, int], figure: str) -> dict:
    """Two declared cohorts, and a figure of both."""
    config = small_config()
    config["passes"]["mlp"]["hookpoints"] = list(dict.fromkeys(hookpoints))
    config["cohorts"] = {
        name: {"hookpoint": hookpoint, "n_latents": n, "init_seeds": [0, 1]}
        for name, hookpoint, n in zip(("one", "two"), hookpoints, latents, strict=True)
    }
    config["sweeps"] = {"both": {"cohorts": {"first": "one", "second": "two"}}}
    config["figures"] = {"draw": {"drawn": {"figure": figure, "sweep": "both"}}}
    return config


def test_a_group_is_drawn_where_its_cohorts_differ_in_what_the_figure_goes_by():
    mlps = ("layers.0.mlp", "layers.1.mlp")
    by_layer = Study.from_config(grouped(hookpoints=mlps, latents=(64, 64), figure="layer"))
    assert by_layer.figures["drawn"].inputs == (("layers.0.mlp", "one"), ("layers.1.mlp", "two"))
    by_size = Study.from_config(grouped(hookpoints=mlps, latents=(32, 64), figure="size"))
    assert by_size.figures["drawn"].inputs == (("32", "one"), ("64", "two"))
    # Positions go by name, and the names of a group are its author's.
    by_name = Study.from_config(grouped(hookpoints=mlps[:1] * 2, latents=(32, 64), figure="position"))
    assert by_name.figures["drawn"].inputs == (("first", "one"), ("second", "two"))
    text = message(grouped(hookpoints=mlps, latents=(64, 64), figure="size"))
    assert "figures.draw.drawn: figure size goes by n_latents, but sweep both has n_latents 64 in all" in text
    text = message(grouped(hookpoints=("layers.0.mlp", "layers.0.attention"), latents=(64, 64), figure="layer"))
    assert "figure layer needs one cohort a place, but sweep both has one and two at layer 0 with 64 latents" in text
    text = message(grouped(hookpoints=("layers.0.mlp", "embeddings"), latents=(64, 64), figure="layer"))
    assert "figure layer goes by hookpoint, but sweep both has embeddings, with no layer number" in text


def architectures(vary: dict, **base) -> dict:
    """A sweep of the base cohort, and a figure over architectures of it."""
    config = changed("sweeps.kinds", {"cohort": "base", "vary": vary})
    config["cohorts"]["base"] |= base
    config["figures"]["draw"]["architecture"] = {"sweep": "kinds"}
    return config


def test_architectures_are_drawn_at_every_k():
    study = Study.from_config(architectures({"architecture": ["topk", "gated"], "k": [2, 4]}))
    assert [label for label, _ in study.figures["architecture"].inputs] == ["topk", "topk", "gated", "gated"]


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ({"k": [2, 4]}, "has architecture topk in all of its cohorts"),
        ({"architecture": ["topk", "gated"], "n_latents": [32, 64]}, "has cohorts that differ in n_latents"),
        ({"architecture": ["topk", "gated"], "learning_rate": [1e-3, 2e-3]}, "with architecture topk and k "),
        ({"architecture": ["topk", "gated"]}, "has fewer than two architectures with several k each"),
    ],
    ids=["one architecture", "sizes too", "two at one place", "one k"],
)
def test_architectures_that_could_not_be_compared_are_refused(vary, expected):
    text = message(architectures(vary))
    assert "figures.draw.architecture: figure architecture compares cohorts of several architectures" in text
    assert expected in text
    assert len(text) < 330


def test_a_sweep_that_names_a_cohort_twice_is_refused():
    config = changed("sweeps.kinds", {"cohorts": {"one": "base", "other": "base"}})
    assert "sweeps.kinds.cohorts.one: base is there twice" in message(config)


# Files


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_studies_in_the_repository_are_valid(path):
    study = load_study(path)
    assert max(len(cohort.seeds) for cohort in study.cohorts.values()) >= 3


def test_a_study_file_replaces_the_default_and_other_files_change_it(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("threshold: 0.5\n")
    assert load_study(overlay, default=ROOT / "config.yaml").name == "embedded"
    assert load_study(overlay, default=ROOT / "config.yaml").threshold == 0.5
    whole = load_study(ROOT / "studies" / "seed-overlap.yaml", overlay, default=ROOT / "config.yaml")
    assert (whole.name, whole.threshold) == ("seed-overlap", 0.5)
    assert "minilm" not in whole.models
    assert complete({}, ROOT / "config.yaml") == load_yaml(ROOT / "config.yaml")


def test_merging_goes_key_by_key_and_leaves_its_arguments_alone():
    under, over = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "e": 2}
    kept = copy.deepcopy((under, over))
    assert merge(under, over) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}
    assert (under, over) == kept


def test_snakemake_reads_the_same_study():
    from snakemake.common.configfile import load_configfile

    for path in STUDIES:
        assert Study.from_config(load_configfile(path)) == load_study(path)


def test_reading_a_study_imports_nothing_heavy():
    code = (
        "import sys; from sae_stability.study.build import load_study; load_study('config.yaml');"
        "print(*{'torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'snakemake'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": "workflow"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"study.yaml, line 5: c is given twice \(first in line 3\)"),
        ("a: [1\n", r"study.yaml, line \d: not valid YAML"),
        ("just words\n", "at the top level"),
        ("[1, 2]: 3\n", "line 1: a key must be"),
        ("a: !!python/object:os.system x\n", "line 1: not valid YAML"),
        ("a: é\nb: \0x\n", "study.yaml, line 2: not valid YAML"),
        ("a: 1\nb: &b [*b]\n", "study.yaml, line 2: not valid YAML"),
        ("a: 1\nb: &b {c: *b}\n", "study.yaml, line 2: not valid YAML"),
    ],
    ids=[
        "key twice",
        "unclosed",
        "no mapping",
        "list as key",
        "python object",
        "NUL",
        "list in itself",
        "map in itself",
    ],
)
def test_bad_yaml_names_file_and_line(tmp_path, text, expected):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=expected):
        load_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match="nowhere"):
        load_yaml(tmp_path / "nowhere.yaml")


# Mistakes

MISTAKES = {
    "misspelt key": (
        "cohorts.base.n_latent",
        64,
        "cohorts.base.n_latent: unknown key; did you mean n_latents?",
    ),
    "misspelt default": ("cohort_defaults.epoch", 2, "cohort_defaults.epoch: unknown key; did you mean epochs?"),
    "misspelt section": ("cohort", {}, "cohort: unknown key; did you mean cohorts?"),
    "misspelt key of a figure": ("figures.draw.joint.cohorts", "base", "figures.draw.joint.cohorts: unknown key"),
    "text for a number": (
        "cohorts.base.n_latents",
        "many",
        'cohorts.base.n_latents: must be a whole number, not "many"',
    ),
    "fraction for a count": ("cohorts.base.n_latents", 64.5, "must be a whole number, not 64.5"),
    "true for a number": ("threshold", True, "threshold: must be a number, not true"),
    "number for a switch": ("passes.mlp.keep_shards", 1, "must be true or false, not 1"),
    "list for a mapping": ("models", [], "models: must be a mapping"),
    "mapping for a list": ("passes.mlp.hookpoints", {}, "passes.mlp.hookpoints: must be a list"),
    "threshold above 1": ("threshold", 1.5, "threshold: 1.5 is out of range; must be at most 1"),
    "no latents": ("cohorts.base.n_latents", 0, "must be at least 1"),
    "learning rate of 0": ("cohorts.base.learning_rate", 0, "must be above 0"),
    "not a number": ("cohorts.base.learning_rate", float("nan"), "out of range"),
    "architecture": ("cohorts.base.architecture", "topkk", "did you mean topk?"),
    "AuxK for Gated": (
        "cohorts.base",
        {"hookpoint": "layers.0.mlp", "n_latents": 8, "k": 2, "architecture": "gated", "auxk_alpha": 0.1},
        "auxk_alpha: 0.1 given, but gated has no use for it",
    ),
    "bandwidth for TopK": (
        "cohorts.base.bandwidth",
        0.1,
        "cohorts.base.bandwidth: 0.1 given, but topk has no use for it",
    ),
    "one group": ("cohorts.base.groups", 1, "must be at least 2"),
    "dtype": ("passes.mlp.dtype", "fp16", "Allowed: float32, float16, bfloat16"),
    "sha256": ("models.tiny.sha256", "53aa", "64 hexadecimal digits"),
    "name with a capital": ("cohorts.Base", {"n_latents": 8}, "cohorts.Base: a name here must be lower-case"),
    "study without cohorts": ("cohorts", ..., "cohorts: missing"),
    "no cohorts": ("cohorts", {}, "cohorts: is empty"),
    "no size": ("cohorts.base.n_latents", ..., "cohorts.base.n_latents: missing"),
    "no k": ("cohort_defaults.k", ..., "cohorts.base.k: missing"),
    "no train_tokens": ("tokens.tiny-web.train_tokens", ..., "tokens.tiny-web.train_tokens: missing (Distinct tokens"),
    "no width": ("models.tiny.d_model", ..., "models.tiny.d_model: missing"),
    "package that is not installed": ("models.tiny.name", "package:no_such/model", "no_such"),
    "k above latents": ("cohorts.base.k", 65, "cohorts.base.k: 65 is more than n_latents (64)"),
    "k above a sweep's latents": ("cohorts.base.k", 40, "cohorts.size-32.k: 40 is more than n_latents (32)"),
    "too many tokens": ("cohorts.base.tokens", 4001, "4,000 tokens x 1 epochs = 4,000"),
    "batch above chunk": ("cohorts.base.batch_size", 1001, "a chunk gives only 1,000 different activations"),
    "batch above chunk read twice": (
        "cohort_defaults",
        {"k": 4, "batch_size": 1001, "epochs": 2, "warmup_steps": 0},
        "a chunk gives only 1,000 different activations",
    ),
    "warm-up above training": ("cohorts.base.warmup_steps", 40, "are only 40 steps"),
    "batches of one": ("cohorts.base.batch_size", 1, "batch_size: 1 is out of range; must be at least 2"),
    "uneven chunks": ("tokens.tiny-web.chunk_tokens", 1500, "3,000 tokens would make 2 whole chunks"),
    "chunk above half": ("tokens.tiny-web.chunk_tokens", 3000, "3,000 tokens would make 1 whole chunk"),
    "chunk above budget": ("tokens.tiny-web.chunk_tokens", 5000, "5,000 is more than train_tokens"),
    "context above positions": ("tokens.tiny-web.context_length", 65, "model tiny has 64 positions"),
    "hookpoint in no pass": (
        "cohorts.base.hookpoint",
        "layers.0.mpl",
        "cohorts.base.hookpoint: layers.0.mpl: in no pass; did you mean layers.0.mlp?",
    ),
    "hookpoint of another pass": (
        "cohorts.base",
        {"pass": "mlp", "hookpoint": "h.9", "n_latents": 8},
        "not in pass mlp",
    ),
    "no hookpoint": ("cohorts.base.hookpoint", ..., "pass mlp has several (layers.0.mlp, layers.1.mlp); name one"),
    "unknown pass": ("cohorts.base.pass", "mpl", "cohorts.base.pass: mpl: no such entry; did you mean mlp?"),
    "unknown model": (
        "tokens.tiny-web.model",
        "tinny",
        "tokens.tiny-web.model: tinny: no such entry; did you mean tiny?",
    ),
    "unknown corpus": ("tokens.tiny-web.corpus", "wed", "did you mean web?"),
    "unknown token set": ("passes.mlp.tokens", "x", "passes.mlp.tokens: x: no such entry; Allowed: tiny-web"),
    "corpus of no kind": ("corpora.web", {"name": "x"}, "corpora.web.kind: missing; one of docstrings, hub, files"),
    "corpus of unknown kind": ("corpora.web.kind", "hug", "did you mean hub?"),
    "key of another kind": ("corpora.web.paths", ["x"], "corpora.web.paths: unknown key"),
    "pass of nothing": ("passes.mlp.tokens", ..., "passes.mlp: needs either tokens or matrix; neither is"),
    "pass of two things": ("passes.mlp.matrix", "x.npy", "passes.mlp: needs either tokens or matrix; both are given"),
    "misspelt in a pass": ("passes.mlp", {"token": "x"}, "passes.mlp.token: unknown key; did you mean tokens?"),
    "hookpoint twice": ("passes.mlp.hookpoints", ["a", "a"], "passes.mlp.hookpoints: a is there twice"),
    "hookpoints of one folder": ("passes.mlp.hookpoints", ["a:in", "a-in"], "needs the folder of another"),
    "seed twice": ("cohorts.base.init_seeds", [0, 1, 0], "cohorts.base.init_seeds: 0 is there twice"),
    "one seed": ("cohorts.base.init_seeds", [0], "needs at least 2, has 1"),
    "negative seed": ("cohorts.base.init_seeds", [0, -1], "cohorts.base.init_seeds[1]: -1 is out of range"),
    "the same cohort twice": (
        "cohorts.other",
        {"hookpoint": "layers.0.mlp", "n_latents": 64, "init_seeds": [3, 4]},
        "cohorts.other: trains the same as cohorts.base",
    ),
    "sweep from nowhere": ("sweeps.size.cohort", "bse", "sweeps.size.cohort: bse: no such entry; did you mean base?"),
    "sweep of nothing": ("sweeps.size.vary", {}, "sweeps.size.vary: is empty"),
    "sweep of no setting": ("sweeps.size.vary", {"latents": [1]}, "cannot be varied; did you mean n_latents?"),
    "no seed a job": ("cohorts.base.seeds_per_job", 0, "cohorts.base.seeds_per_job: 0 is out of range"),
    "sweep of the job's size": ("sweeps.size.vary", {"seeds_per_job": [1, 2]}, "cannot be varied"),
    "sweep of the seeds": ("sweeps.size.vary", {"init_seeds": [[1]]}, "cannot be varied"),
    "sweep to an impossible value": ("sweeps.size.vary", {"n_latents": [32, -1]}, "n_latents[1]: -1 is out of range"),
    "sweep to an unknown hookpoint": ("sweeps.size.vary", {"hookpoint": ["layers.7.mlp"]}, "layers.7.mlp: in no pass"),
    "sweep that takes a name": (
        "cohorts.size-32",
        {"hookpoint": "layers.1.mlp", "n_latents": 16},
        "sweeps.size: makes a cohort called size-32",
    ),
    "group of an unknown cohort": ("sweeps.size", {"cohorts": {"a": "bas"}}, "did you mean base?"),
    "unknown figure": ("figures.draw.joind", {"cohort": "base"}, "did you mean joint?"),
    "sweep's figure of a cohort": ("figures.draw.size", {"cohort": "base"}, "no figure of a cohort by that name"),
    "figure of an unknown cohort": ("figures.draw.joint", {"cohort": "size-23"}, "did you mean size-32?"),
    "figure of an unknown sweep": ("figures.draw.size", {"sweep": "sise"}, "did you mean size?"),
    **{
        f"figure {kind} of a sweep of another setting": (
            f"figures.draw.{kind}",
            {"sweep": "size"},
            f"figures.draw.{kind}: figure {kind} goes by {field}, but sweep size varies n_latents",
        )
        for kind, field in (("k", "k"), ("tokens", "tokens"), ("layer", "hookpoint"), ("position", "hookpoint"))
    },
    "figure size of a sweep of size and k": (
        "sweeps.size.vary",
        {"n_latents": [32, 64], "k": [2, 4]},
        "figure size needs one cohort a place, but sweep size has size-32-2 and size-32-4 at n_latents 32; vary",
    ),
    "figure size of a sweep of k": (
        "sweeps.size.vary",
        {"k": [2, 4]},
        "figures.draw.size: figure size goes by n_latents, but sweep size varies k",
    ),
    "colour by a name": (
        "figures.style.palette",
        ["#0072B2", "#D55E00", "bleu"],
        'figures.style.palette[2]: "bleu"; must be a colour such as "#0072B2"',
    ),
    "short colour": ("figures.style.palette", ["#000", "#111", "#222"], "must be a colour such as"),
    "two colours": ("figures.style.palette", ["#0072B2", "#D55E00"], "figures.style.palette: needs at least 3, has 2"),
    "matrix that is not there": ("passes.own", {"matrix": "gone.npy", "train_rows": 5}, "gone.npy: no such file"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_refused_in_one_or_two_lines(name):
    path, value, expected = MISTAKES[name]
    text = message(changed(path, value))
    assert expected in text
    assert len(text) < 330  # two lines of 165


def test_ambiguous_passes_are_listed():
    config = changed("passes.again", {"tokens": "tiny-web", "hookpoints": ["layers.0.mlp"]})
    assert "several passes would do (mlp, again)" in message(config)


@pytest.mark.parametrize(("text", "value"), [("8e3", 8000), ("4.0e+3", 4000)])
def test_numbers_that_yaml_takes_for_text_are_numbers(text, value):
    config = changed("tokens.tiny-web.train_tokens", text)
    assert Study.from_config(config).tokens["tiny-web"].train_tokens == value
    assert Study.from_config(changed("cohorts.base.learning_rate", "1e-3")).cohorts["base"].learning_rate == 1e-3


# Schema, comments and code in step


def entries(node: yaml.Node, path: tuple[str, ...] = ()):
    """(path, line from 0) of every key of a YAML document that begins its line."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if key.start_mark.column == 2 * len(path):
            yield (*path, key.value), key.start_mark.line
            yield from entries(value, (*path, key.value))


# Below these, keys are names that the study's author chose.
NAMED = {("models",), ("corpora",), ("tokens",), ("passes",), ("cohorts",), ("sweeps",), ("figures", "draw")}


def bare_keys(text: str) -> list[str]:
    """Keys without a comment above them where they first occur; names that the author chose need none."""
    lines = text.split("\n")
    first: dict[tuple[str, ...], int] = {}
    for path, line in entries(yaml.compose(text)):
        depth = next((len(section) for section in NAMED if path[: len(section)] == section), len(path))
        general = (*path[:depth], *("*" for _ in path[depth : depth + 1]), *path[depth + 1 :])
        if general[-1] != "*" and "vary" not in general[:-1]:
            first.setdefault(general, line)
    return [".".join(path) for path, line in first.items() if not lines[line - 1].lstrip().startswith("#")]


def test_every_key_of_the_default_study_carries_a_comment():
    text = (ROOT / "config.yaml").read_text()
    assert bare_keys(text) == []
    assert bare_keys(re.sub(r"\n *# Activations a step.", "", text)) == ["cohort_defaults.batch_size"]
    assert bare_keys(re.sub(r"\n *# A name from `models`.*", "", text)) == ["tokens.*.model"]


def test_every_key_of_the_schema_is_in_the_default_study():
    text = (ROOT / "config.yaml").read_text()
    rules = [schema(), *schema()["$defs"].values(), *schema()["properties"].values()]
    rules += [schema()["properties"]["figures"]["properties"]["style"]]
    missing = {key for rule in rules for key in rule.get("properties", {}) if not re.search(rf"\b{key}\b", text)}
    assert missing == set()


def test_every_setting_in_the_schema_says_what_it_is():
    silent = [
        f"{name}.{key}"
        for name, rule in schema()["$defs"].items()
        for key, inner in rule.get("properties", {}).items()
        if key != "kind" and len(inner.get("description", "")) < 8
    ]
    assert silent == []


def test_the_styles_defaults_are_the_drawings_own():
    from sae_stability.figures.drawings.style import DEFAULT

    assert Study.from_config(small_config()).style == DEFAULT


def test_the_figures_are_those_that_exist():
    from sae_stability.figures.registry import FIGURES

    kinds = [schema()["$defs"][f"{what}_figure"]["properties"]["figure"]["enum"] for what in ("cohort", "sweep")]
    assert {name for names in kinds for name in names if name} == set(FIGURES)


def places(value: object, path: tuple = ()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield from places(item, (*path, key))


ODD = st.sampled_from(
    [None, True, 0, -1, 1, 2.0, 0.5, 10**9, "", "x", "topk", "float16", [], ["a"], [1, 1], {}, {"k": 3}]
)
KEYS = st.sampled_from(["k", "kind", "sweep", "cohorts", "vary", "matrix", "tokens", "name", "style", "x"])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_the_schema_is_read_as_the_standard_says(data):
    """Our reader of the schema and jsonschema's accept the same studies, whatever is done to one."""
    from jsonschema import Draft202012Validator

    config = small_config()
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from([path for path in places(config) if path]))
        here = config
        for name in parents:
            here = here[name]
        action = data.draw(st.sampled_from(["set", "remove", "add"]))
        if action == "add" and isinstance(here, dict):
            here[data.draw(KEYS)] = copy.deepcopy(data.draw(ODD))
        elif action == "remove":
            del here[last]
        else:
            here[last] = copy.deepcopy(data.draw(ODD))
    try:
        check(config, schema())
        accepted = True
    except StudyError:
        accepted = False
    assert accepted == Draft202012Validator(schema()).is_valid(config)
