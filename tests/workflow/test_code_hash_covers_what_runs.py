"""No line that a job runs lies outside the definitions that its stage's hash covers.

A study with every stage, architecture and kind of figure is planned by Snakemake; its commands are then run one by one
under tracing.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline.code_hash import definitions
from sae_stability.pipeline.definitions import PACKAGE, Definition, reached
from sae_stability.sae import formats
from sae_stability.sae.architectures import REGISTRY
from tests.interpret.server import serving
from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow.conftest import new_project

LAYERS = ["layers.0.mlp", "layers.1.mlp", "layers.1"]
KINDS = ("detection", "fuzzing", "intruder")
OWN = {"batchtopk": {"auxk_alpha": 0.03}, "matryoshka": {"groups": 2}, "jumprelu": {"bandwidth": 0.01}}


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
            "matrix": {"pass": "mine", "normalisation": "none"},
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
            "architecture": {"cohort": "matrix", "vary": {"architecture": ["topk", "relu"], "k": [2, 4]}},
        },
        "figures": {
            "draw": {name: {"cohort": "base"} for name in ("joint", "seeds", "sharing", "thresholds")}
            | {name: {"sweep": name} for name in FIGURES if name not in ("joint", "seeds", "sharing", "thresholds")}
        },
        "floor": {"repeats": 1},
        # More than `stories` holds out, so that further text is read, and fewer than `docs` holds out.
        "firing": {"cohorts": ["base", "docs"], "tokens": 800, "contexts": {"window": 4}},
        "interpret": {
            "cohorts": ["base"],
            "latents": 4,
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
        },
    }


@pytest.fixture(scope="module")
def traces(tmp_path_factory) -> list[tuple[list[str], list[tuple[str, int]]]]:
    """The words of each command, and the lines that it ran."""
    with serving() as chat:
        return traced(tmp_path_factory.mktemp("traced") / "project", chat.url)


def traced(folder: Path, url: str) -> list[tuple[list[str], list[tuple[str, int]]]]:
    project = new_project(folder, study(url))
    tiny_gpt_neox(project.folder / "model")
    tiny_corpus(project.folder, documents=60)
    rng = np.random.default_rng(0)
    np.save(project.folder / "rows.npy", rng.standard_normal((256, 16), dtype=np.float32))
    for name in formats.WRITTEN:
        formats.write(project.folder / "checkpoints" / name, planted_sae(rng), name)
    output = project.dry("--printshellcmds").output
    found = re.findall(r"python -m sae_stability (.*) &> ", output)
    commands = [shlex.split(words) for words in found]
    files = [project.folder / name for name in ("commands.json", "lines.json")]
    files[0].write_text(json.dumps(commands))
    command = [sys.executable, Path(__file__).with_name("traced.py"), PACKAGE, *files]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    lines = json.loads(files[1].read_text())
    return [(words, [tuple(line) for line in ran]) for words, ran in zip(commands, lines, strict=True)]


def planted_sae(rng: np.random.Generator):
    from sae_stability.sae.weights import Weights

    encoder, decoder = rng.standard_normal((2, 16, 8)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    zeros = np.zeros(16, np.float32)
    return Weights(encoder, decoder, zeros, np.zeros(8, np.float32), activation="topk", k=4)


def flags(words: list[str]) -> dict[str, str]:
    """The flags of a command and their values; the last one where a flag is repeated."""
    return dict(zip(words[1::2], words[2::2], strict=True))


def loaded(words: list[str]) -> tuple[str, ...]:
    """What the pipeline says that a command loads by name."""
    given, package = flags(words), PACKAGE.name
    if words[0] == "train":
        return (f"{package}.sae.training.steps.{given['--architecture']}",)
    if words[0] == "figure-table":
        return (FIGURES[given["--figure"]].table,)
    if words[0] == "figure":
        return (FIGURES[given["--figure"]].drawing,)
    if words[0] == "convert":
        return (f"{package}.sae.formats.{given['--format']}",)
    return (f"{package}.sae.formats.own",) if words[0] in ("evaluate", "match", "firing", "overlap", "score") else ()


def lines_of(found: list[Definition]) -> set[tuple[str, int]]:
    lines = set()
    for definition in found:
        path = PACKAGE.parent.joinpath(*definition.module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines |= {(str(file.relative_to(PACKAGE)), line) for line in definition.lines}
    return lines


def outside(words: list[str], ran: list[tuple[str, int]], covered: list[Definition]) -> list[str]:
    # The command line reads the arguments and hands them over.
    allowed = lines_of(covered) | lines_of(reached([f"{PACKAGE.name}.cli.main"]))
    return [f"{words[0]}: {file}, line {line}" for file, line in ran if (file, line) not in allowed]


def test_every_stage_ran(traces):
    verbs = {words[0] for words, _ in traces}
    stages = {"tokenize", "extract", "import-matrix", "train", "evaluate", "convert", "match", "floor", "overlap"}
    stages |= {"fresh-tokens", "firing", "explain", "score", "score-summary", "explanation-similarity"}
    assert stages | {"figure-table", "figure", "summary"} <= verbs
    assert {flags(words)["--architecture"] for words, _ in traces if words[0] == "train"} == set(REGISTRY)
    assert {flags(words)["--figure"] for words, _ in traces if words[0] == "figure"} == set(FIGURES)
    assert all(len(ran) > 10 for _, ran in traces)


def test_no_line_that_ran_lies_outside_what_is_hashed(traces):
    found = [line for words, ran in traces for line in outside(words, ran, definitions(words[0], *loaded(words)))]
    assert not found, "\n".join(sorted(set(found)))


def test_a_definition_that_is_left_out_is_noticed(traces):
    """The check itself: without the solver's definitions the same lines of a match do not pass."""
    words, ran = next((words, ran) for words, ran in traces if words[0] == "match")
    covered = [found for found in definitions("match", *loaded(words)) if not found.module.endswith(".solver")]
    assert any("solver.py" in line for line in outside(words, ran, covered))
