"""What a mistake in a study says: which key, what was given, what is allowed."""

import pytest

from tests.study_config import changed, message

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
    "threshold above 1": ("threshold", 1.5, "threshold: 1.5 given; it must be above 0 and at most 1"),
    "no latents": ("cohorts.base.n_latents", 0, "cohorts.base.n_latents: 0 given; it must be at least 1"),
    "learning rate of 0": ("cohorts.base.learning_rate", 0, "cohorts.base.learning_rate: 0 given; it must be above 0"),
    "not a number": ("cohorts.base.learning_rate", float("nan"), "nan given; it must be finite"),
    "architecture": ("cohorts.base.architecture", "topkk", "did you mean topk?"),
    "AuxK for Gated": (
        "cohorts.base",
        {"hookpoint": "layers.0.mlp", "n_latents": 8, "k": 2, "architecture": "gated", "auxk_alpha": 0.1},
        "auxk_alpha: 0.1 given, but gated does not use it",
    ),
    "bandwidth for TopK": (
        "cohorts.base.bandwidth",
        0.1,
        "cohorts.base.bandwidth: 0.1 given, but topk does not use it",
    ),
    "one group": ("cohorts.base.groups", 1, "cohorts.base.groups: 1 given; it must be from 2 to 16"),
    "dtype": ("passes.mlp.dtype", "fp16", "Allowed: float32, float16, bfloat16"),
    "sha256": ("models.tiny.sha256", "53aa", "64 hexadecimal digits"),
    "seed of trained weights": (
        "models.tiny.seed",
        1,
        "models.tiny.seed: trained weights have none; leave it out, or write `weights: random` beside it",
    ),
    "checksum of random weights": (
        "models.tiny",
        {"name": "nobody/tiny", "d_model": 32, "weights": "random", "sha256": "0" * 64},
        "models.tiny.sha256: random weights come from no file; leave it out",
    ),
    "weights": ("models.tiny.weights", "randon", "did you mean random?"),
    "name with a capital": ("cohorts.Base", {"n_latents": 8}, "cohorts.Base: a name here must be lower-case"),
    "study without cohorts": ("cohorts", ..., "cohorts: missing"),
    "no cohorts": ("cohorts", {}, "cohorts: is empty"),
    "no size": ("cohorts.base.n_latents", ..., "cohorts.base.n_latents: missing"),
    "no k": ("cohort_defaults.k", ..., "cohorts.base.k: missing"),
    "no train_tokens": ("tokens.tiny-web.train_tokens", ..., "tokens.tiny-web.train_tokens: missing (Distinct tokens"),
    "no width": ("models.tiny.d_model", ..., "models.tiny.d_model: missing"),
    "package that is not installed": ("models.tiny.name", "package:no_such/model", "no_such"),
    "k above latents": ("cohorts.base.k", 65, "cohorts.base.k: 65 given, above n_latents = 64; lower k"),
    "k above a sweep's latents": ("cohorts.base.k", 40, "cohorts.size-32.k: 40 given, above n_latents = 32; lower k"),
    "too many tokens": ("cohorts.base.tokens", 4001, "4,000 tokens x 1 epochs = 4,000"),
    "batch above chunk": ("cohorts.base.batch_size", 1001, "a chunk gives only 1,000 different activations"),
    "batch above chunk read twice": (
        "cohort_defaults",
        {"k": 4, "batch_size": 1001, "epochs": 2, "warmup_steps": 0},
        "a chunk gives only 1,000 different activations",
    ),
    "warm-up above training": (
        "cohorts.base.warmup_steps",
        40,
        "warmup_steps: 40 given, but training has 40 steps (4,000 tokens in",
    ),
    "batches of one": (
        "cohorts.base.batch_size",
        1,
        "batch_size: 1 given; one activation has no variance",
    ),
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
    "pass of nothing": ("passes.mlp.tokens", ..., "passes.mlp: needs either tokens, matrix or decoder_of; none is"),
    "pass of two things": (
        "passes.mlp.matrix",
        "x.npy",
        "passes.mlp: needs either tokens, matrix or decoder_of; several are given",
    ),
    "misspelt in a pass": ("passes.mlp", {"token": "x"}, "passes.mlp.token: unknown key; did you mean tokens?"),
    "hookpoint twice": ("passes.mlp.hookpoints", ["a", "a"], "passes.mlp.hookpoints: a is there twice"),
    "hookpoints of one folder": ("passes.mlp.hookpoints", ["a:in", "a-in"], "another need the same folder"),
    "seed twice": ("cohorts.base.init_seeds", [0, 1, 0], "cohorts.base.init_seeds: 0 is there twice"),
    "one seed": ("cohorts.base.init_seeds", [0], "needs at least 2, has 1"),
    "negative seed": ("cohorts.base.init_seeds", [0, -1], "cohorts.base.init_seeds[1]: -1 given; it must be from 0 to"),
    "the same cohort twice": (
        "cohorts.other",
        {"hookpoint": "layers.0.mlp", "n_latents": 64, "init_seeds": [3, 4]},
        "cohorts.other: trains the same as cohorts.base",
    ),
    "sweep from nowhere": ("sweeps.size.cohort", "bse", "sweeps.size.cohort: bse: no such entry; did you mean base?"),
    "sweep of nothing": ("sweeps.size.vary", {}, "sweeps.size.vary: is empty"),
    "sweep of no setting": ("sweeps.size.vary", {"latents": [1]}, "cannot be varied; did you mean n_latents?"),
    "no seed a job": ("cohorts.base.seeds_per_job", 0, "cohorts.base.seeds_per_job: 0 given; it must be from 1 to 16"),
    "sweep of the job's size": ("sweeps.size.vary", {"seeds_per_job": [1, 2]}, "cannot be varied"),
    "sweep of the seeds": ("sweeps.size.vary", {"init_seeds": [[1]]}, "cannot be varied"),
    "sweep to an impossible value": (
        "sweeps.size.vary",
        {"n_latents": [32, -1]},
        "n_latents[1]: -1 given; it must be",
    ),
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
