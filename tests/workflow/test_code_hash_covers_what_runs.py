"""No line that a job runs lies outside the definitions that its stage's hash covers.

A study with every stage, architecture and kind of figure is planned by Snakemake; its commands are then run one by one
under tracing.
"""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline import Pipeline, code_hash, modules
from sae_stability.pipeline.code_hash import CHECKS, definitions
from sae_stability.pipeline.definitions import Definition, reached
from sae_stability.pipeline.fingerprints import Fingerprints
from sae_stability.pipeline.fresh_tokens import token_sets
from sae_stability.pipeline.modules import PACKAGE
from sae_stability.sae import formats
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.training.limits import Control
from sae_stability.study.build import Study, complete
from sae_stability.study.schema import load_yaml
from sae_stability.verbs import VERBS
from tests.interpret.server import serving
from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow.conftest import new_project

LAYERS = ["layers.0.mlp", "layers.1.mlp", "layers.1"]
KINDS = ("detection", "fuzzing", "intruder")
OWN = {"batchtopk": {"auxk_alpha": 0.03}, "matryoshka": {"groups": 2}, "jumprelu": {"bandwidth": 0.01}}

CONTROLS = {name: name for name in get_args(Control)}


def study(url: str) -> dict:
    """Every stage, every architecture, every kind of figure, small enough for kernels that run as plain Python."""
    others = [name for name in REGISTRY if name != "topk"]
    place = {"hookpoint": LAYERS[0], "pass": "neox"}
    cohorts = {name: {"architecture": name, "pass": "mine", **OWN.get(name, {})} for name in others}
    seeds = {"init_seeds": [0, 1]}
    return {
        "study": "everything",
        "models": {"tiny": {"name": "model"}},
        "corpora": {
            "stories": {"kind": "files", "paths": ["corpus.jsonl"]},
            "code": {"kind": "docstrings", "packages": ["tqdm"], "min_characters": 50},
        },
        "tokens": {
            name: {"model": "tiny", "corpus": name, "context_length": 16, "heldout_tokens": 64, "train_tokens": 192}
            | ({"chunk_tokens": 96} if name == "stories" else {"heldout_tokens": 128})
            for name in ("stories", "code")
        },
        "passes": {
            "neox": {"tokens": "stories", "hookpoints": LAYERS, "shard_tokens": 64, "max_norm_multiple": 20},
            "docs": {"tokens": "code", "hookpoints": LAYERS[:1], "shard_tokens": 64},
            "mine": {"matrix": "rows.npy", "heldout_rows": 64, "train_rows": 192},
            "rows": {"decoder_of": {"cohort": "base", "seed": 0}, "alive": True},
            "deeper": {"decoder_of": {"cohort": "meta", "seed": 0}},
        },
        "cohort_defaults": {
            "n_latents": 16,
            "k": 4,
            "batch_size": 24,
            "normalisation": "centre-scale",
            "dead_tokens": 20,
            "warmup_steps": 2,
            "seeds_per_job": 2,
        },
        "cohorts": {
            "base": {**place, **seeds, "auxk_alpha": 0.03, "seeds_per_job": 1},
            "order": {**place, "auxk_alpha": 0.03, "init_seeds": [0], "order_seeds": [0, 1]},
            "docs": {"pass": "docs", "tensorboard": True},
            "trio": {**place, "init_seeds": [0, 1, 2]},
            "matrix": {"pass": "mine", "normalisation": "none"},
            "meta": {"pass": "rows", "n_latents": 8, "k": 2, "batch_size": 8, "epochs": 4},
            "meta-2": {"pass": "deeper", "n_latents": 4, "k": 2, "batch_size": 8, "epochs": 4},
            "elsewhere": {"saes": [f"checkpoints/{name}" for name in formats.WRITTEN]},
            **cohorts,
        },
        "sweeps": {
            "size": {"cohort": "matrix", "vary": {"n_latents": [8, 16]}},
            "k": {"cohort": "matrix", "vary": {"k": [2, 4]}},
            "tokens": {"cohort": "matrix", "vary": {"tokens": [96, 192]}},
            "layer": {"cohort": "base", "vary": {"hookpoint": LAYERS[:2]}, **seeds},
            "position": {"cohort": "base", "vary": {"hookpoint": {"MLP": LAYERS[1], "residual": LAYERS[2]}}, **seeds},
            "randomness": {"cohorts": {"init": "base", "order": "order"}},
            "controls": {"cohort": "base", "vary": {"control": {"trained": None, **CONTROLS}}, **seeds},
            "architecture": {"cohort": "matrix", "vary": {"architecture": ["topk", "relu"], "k": [2, 4]}},
        },
        "stitches": {
            "seeds": {"chain": [{"cohort": "base", "seed": 0}, {"cohort": "base", "seed": 1}], "order": "gain"},
            "kinds": {"chain": [{"cohort": "gated"}, {"cohort": "jumprelu"}], "threshold": 0.1},
        },
        "figures": {
            "draw": {
                name: {kind.draws: {"cohort": "base", "stitch": "seeds"}.get(kind.draws, name.removesuffix("-cosine"))}
                for name, kind in FIGURES.items()
            }
            | {"consensus": {"cohort": "trio"}, "meta": {"cohort": "meta"}, "meta-depth": {"cohort": "meta-2"}}
            | {"meta-2": {"figure": "meta", "cohort": "meta-2"}}
        },
        "floor": {"repeats": 1},
        "meta": {"directions": ["trio"]},
        # More than `stories` holds out, so that further text is read, and fewer than `docs` holds out.
        "firing": {"cohorts": ["base", "docs"], "tokens": 800, "contexts": {"window": 4}},
        "interpret": {
            "cohorts": ["base"],
            "latents": 6,
            "draws": 1,
            "judges": {
                "words": {"kind": "lexical"},
                "sentences": {"kind": "embedding", "model": "tiny"},
                "local": {"kind": "local", "model": "tiny", "max_tokens": 4},
                "far": {"kind": "endpoint", "url": url, "model": "m", "key_variable": None},
            },
            "explainers": ["words", "local", "far"],
            "scorers": {
                f"{judge}-{kind}": {"kind": kind, "judge": judge}
                for judge, kinds in {"words": KINDS[:2], "sentences": KINDS[::2], "local": KINDS, "far": KINDS}.items()
                for kind in kinds
            },
            "similarity": "sentences",
            "choice": "words",
        },
    }


@dataclass
class Trace:
    """What a command did: its words, the lines that it ran, and what it looked up by computed names."""

    words: list[str]
    lines: list[tuple[str, int]]
    looked_up: list[str]
    loaded: tuple[str, ...]
    """What the pipeline's hash of the command's code says that it looks up."""

    @property
    def verb(self) -> str:
        return self.words[0]


@pytest.fixture(scope="module")
def traces(tmp_path_factory) -> list[Trace]:
    with serving() as chat:
        return traced(tmp_path_factory.mktemp("traced") / "project", chat.url)


def traced(folder: Path, url: str) -> list[Trace]:
    project = new_project(folder, study(url))
    tiny_gpt_neox(project.folder / "model")
    tiny_corpus(project.folder, documents=60)
    rng = np.random.default_rng(0)
    np.save(project.folder / "rows.npy", rng.standard_normal((256, 16), dtype=np.float32))
    for name in formats.WRITTEN:
        formats.write(project.folder / "checkpoints" / name, planted_sae(rng), name)
    output = project.dry("--printshellcmds").output
    found = re.findall(r"python -m sae_stability (.*?)\)? (?:&>|&&) ", output)
    # The checks before Snakemake's report and its record make no result that a hash stands for.
    commands = [shlex.split(words) for words in found if not words.startswith(("verify ", "record "))]
    files = [project.folder / name for name in ("commands.json", "lines.json")]
    files[0].write_text(json.dumps(commands))
    command = [sys.executable, Path(__file__).with_name("traced.py"), PACKAGE, *files]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    hashed = hashed_by_the_pipeline(project.folder)
    return [
        Trace(words, [tuple(line) for line in did["lines"]], did["looked_up"], loaded(words, hashed))
        for words, did in zip(commands, json.loads(files[1].read_text()), strict=True)
    ]


def hashed_by_the_pipeline(folder: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """What the pipeline of the study in `folder` gives to `code_hash`.

    Returns:
        (verb, fingerprint of a result) -> the modules and entries that the hash of the verb's code names.
    """
    calls: dict[str, tuple[str, ...]] = {}
    found: dict[tuple[str, str], tuple[str, ...]] = {}

    def record(make: Callable, *arguments) -> None:
        calls.clear()
        made = make(*arguments)
        found.update({(verb, made): given for verb, given in calls.items()})

    def hashed(verb: str, given: tuple[str, ...]) -> str:
        calls[verb] = given
        return known(verb, given)

    known = code_hash._hash
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(code_hash, "_hash", hashed)
        patch.setattr(Fingerprints, "_once", lambda self, name, make: make())
        pipeline = Pipeline(Study.from_config(complete(load_yaml(Path("study.yaml")), Path("config.yaml"))))
        of = pipeline.fingerprints
        for tokens in pipeline.study.tokens.values():
            record(of.tokens, tokens)
        for pass_ in pipeline.study.passes.values():
            record(of.activations, pass_)
        for cohort, seed in pipeline.saes:
            record(of.sae, cohort, seed)
            record(of.evaluation, cohort, seed)
        for cohort in pipeline.study.cohorts.values():
            for a, b in cohort.pairs:
                record(of.match, cohort, a, b)
            record(of.overlap, cohort)
        for cohort in map(pipeline.study.cohorts.get, pipeline.study.firing.cohorts):
            record(of.firing, cohort, cohort.seeds[0])
        for stitch in pipeline.study.stitches.values():
            record(of.stitch, stitch, 1)
        for tokens in token_sets(pipeline.study):
            record(of.fresh_tokens, tokens)
        record(of.meta, pipeline.study.cohorts["meta"])
        record(of.meta, pipeline.study.cohorts["meta-2"])
        record(of.choice, pipeline.study.cohorts["meta"])
        record(of.floor)
        for figure in pipeline.study.figures.values():
            record(of.table, figure)
            record(of.drawing, figure)
        record(of.summary)
        record(of.explorer)
        record(of.report)
        for cohort in map(pipeline.study.cohorts.get, pipeline.study.interpret.cohorts):
            for explainer in pipeline.study.interpret.explainers:
                record(of.explanations, explainer, cohort, cohort.seeds[0])
                record(of.similarity, explainer, cohort.slug)
            for names in pipeline.study.interpret.scores:
                record(of.scores, *names, cohort.slug, cohort.seeds[0])
                record(of.score_summary, *names, cohort.slug)
    return found


def loaded(words: list[str], hashed: dict[tuple[str, str], tuple[str, ...]]) -> tuple[str, ...]:
    """What the pipeline says that a command looks up. The command names its fingerprint."""
    of_verb = {key: given for (verb, key), given in hashed.items() if verb == words[0]}
    named = {word.rpartition("=")[2] for word in words}  # also NUMBER=FINGERPRINT
    (found,) = {given for key, given in of_verb.items() if key in named} or set(of_verb.values())
    return found


def planted_sae(rng: np.random.Generator):
    from sae_stability.sae.weights import Weights

    encoder, decoder = rng.standard_normal((2, 16, 8)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    zeros = np.zeros(16, np.float32)
    return Weights(encoder, decoder, zeros, np.zeros(8, np.float32), activation="topk", k=4)


def flags(words: list[str]) -> dict[str, str]:
    """The flags of a command and their values; the last one where a flag is repeated."""
    return dict(zip(words[1::2], words[2::2], strict=True))


def lines_of(found: list[Definition]) -> set[tuple[str, int]]:
    return {
        (str(modules.files()[definition.module].relative_to(PACKAGE)), line)
        for definition in found
        for line in definition.lines
    }


def outside(trace: Trace, covered: list[Definition]) -> list[str]:
    # The command line reads the arguments and hands them over. Checks refuse a command or do nothing.
    apart = [f"{PACKAGE.name}.cli.main", *CHECKS]
    allowed = lines_of(covered) | lines_of(reached(apart))
    return [f"{trace.verb}: {file}, line {line}" for file, line in trace.lines if (file, line) not in allowed]


def test_every_stage_ran(traces):
    stages = {
        "tokenize",
        "extract",
        "import-matrix",
        "decoder-rows",
        "train",
        "evaluate",
        "convert",
        "match",
        "floor",
        "overlap",
    }
    stages |= {
        "fresh-tokens",
        "firing",
        "substitution",
        "meta-baselines",
        "choice",
        "stitch",
        "consensus",
        "explain",
        "score",
        "score-summary",
        "explanation-similarity",
    }
    assert stages | {"figure-table", "figure", "summary", "explorer"} <= {trace.verb for trace in traces}
    given = [(trace.verb, flags(trace.words)) for trace in traces]
    assert {words["--architecture"] for verb, words in given if verb == "train"} == set(REGISTRY)
    assert {words["--figure"] for verb, words in given if verb == "figure"} == set(FIGURES)
    assert all(len(trace.lines) > 10 for trace in traces)


def test_meta_saes_of_meta_saes_are_trained_measured_and_drawn(traces):
    written = {trace.verb: " ".join(trace.words) for trace in traces if "/meta-2" in " ".join(trace.words)}
    assert {"train", "evaluate", "match", "overlap", "meta-baselines", "figure"} <= written.keys()
    (table,) = (trace.words for trace in traces if trace.verb == "figure-table" and "meta-depth" in trace.words)
    steps = [value for flag, value in itertools.pairwise(table) if flag == "--input"]
    expected = {"2": "meta-2", "1": "meta", "0": "base", "flat 1": "trio"}
    assert steps == [f"{label}=results/overlap/{cohort}" for label, cohort in expected.items()]


def test_no_line_that_ran_lies_outside_what_is_hashed(traces):
    found = [line for trace in traces for line in outside(trace, definitions(trace.verb, *trace.loaded))]
    assert not found, "\n".join(sorted(set(found)))


def test_nothing_is_looked_up_that_the_hash_does_not_name(traces):
    verbs = {verb.module for verb in VERBS.values()}
    found = {f"{trace.verb}: {name}" for trace in traces for name in {*trace.looked_up} - {*trace.loaded} - verbs}
    assert not found, "\n".join(sorted(found))
    assert any("TRAINED[gated]" in name for trace in traces for name in trace.looked_up)


def test_a_definition_that_is_left_out_is_noticed(traces):
    """The check itself: without the solver's definitions the same lines of a match do not pass."""
    trace = next(trace for trace in traces if trace.verb == "match")
    covered = [found for found in definitions("match", *trace.loaded) if not found.module.endswith(".solver")]
    assert any("solver.py" in line for line in outside(trace, covered))
