"""Real Snakemake runs of small studies on models made on the spot, each in a copy of the project."""

import ast
import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.workflow import forked

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "workflow", "profiles", "envs", "config.yaml")


@dataclass
class Job:
    """A job of a dry run with `--printshellcmds`: what its rule declares, and its command after the verb's program."""

    inputs: list[str]
    outputs: list[str]
    command: str

    @property
    def verb(self) -> str:
        return self.command.partition(" ")[0]


@dataclass
class Run:
    """What one call of Snakemake did."""

    returncode: int
    output: str

    @property
    def jobs(self) -> Counter:
        """Rule names of the jobs that ran or, in a dry run, would run. Those of training are given without seeds."""
        names = re.findall(r"^(?:local)?rule (\w+?)(?:_seeds_[\d_]+)?:", self.output, re.MULTILINE)
        return Counter(name for name in names if name != "all")

    @property
    def commands(self) -> list[Job]:
        """The jobs that run a verb of the library; for a dry run with `--printshellcmds`."""
        found = []
        for block in re.split(r"^(?:local)?rule ", self.output, flags=re.MULTILINE)[1:]:
            files = [re.search(rf"^    {kind}: (.*)$", block, re.MULTILINE) for kind in ("input", "output")]
            command = re.search(r"python -m sae_stability (.*) &> ", block)
            if command:
                found.append(Job(*(line[1].split(", ") if line else [] for line in files), command[1]))
        return found

    @property
    def matched(self) -> set[str]:
        """The pairs that its jobs matched, as COHORT/A-B."""
        outputs = " ".join(re.findall(r"^    output: (.*)$", self.output, re.MULTILINE))
        return set(re.findall(r"results/matches/(\S+)\.parquet", outputs))

    @property
    def evaluated(self) -> set[str]:
        """The SAEs that its jobs evaluated, as COHORT/seed-A."""
        outputs = " ".join(re.findall(r"^    output: (.*)$", self.output, re.MULTILINE))
        return set(re.findall(r"results/evaluation/(\S+)\.json", outputs))

    @property
    def nothing(self) -> bool:
        return "Nothing to be done" in self.output and not self.jobs


@dataclass
class Project:
    """A copy of the project with a study of its own."""

    folder: Path
    configfile: str | None = "study.yaml"

    def snakemake(self, *args: str, check: bool = True) -> Run:
        # Targets first: --configfile would take them for files.
        command = [*args, "--cores", "2"]
        command += ["--configfile", self.configfile] if self.configfile else []
        # The profile's longer timespan would keep each run waiting at its end.
        command += ["--max-jobs-per-timespan", "100/1s"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        returncode, output = forked.snakemake(command, self.folder, environment)
        if check and returncode:
            pytest.fail(f"snakemake {' '.join(command)} gave {returncode}:\n{output[-6000:]}")
        return Run(returncode, output)

    def dry(self, *args: str) -> Run:
        return self.snakemake("--dry-run", *args)

    @property
    def study(self) -> dict:
        return yaml.safe_load((self.folder / "study.yaml").read_text())

    def edit(self, change) -> None:
        """Apply `change` to the study, as a person would by editing its file."""
        study = self.study
        change(study)
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    def edit_code(self, module: str, function: str) -> None:
        """Add a statement without effect to a function of the library: `match/pairs.py`, `match_pairs`."""
        path = self.folder / "workflow" / "sae_stability" / module
        source = path.read_text()
        (found,) = (
            node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == function
        )
        # After the docstring, before the last statement, whatever comes between.
        last = found.body[-1]
        lines = source.splitlines(keepends=True)
        lines.insert(last.lineno - 1, f"{' ' * last.col_offset}added = 1\n")
        path.write_text("".join(lines))

    def files(self, pattern: str) -> dict[str, bytes]:
        """Content of every result that matches, by its path."""
        results = self.folder / "results"
        return {
            str(path.relative_to(results)): path.read_bytes()
            for path in sorted(results.glob(pattern))
            if path.is_file()
        }


def new_project(folder: Path, study: dict) -> Project:
    """Copy the project into `folder`, with links to the code, and give it `study`.

    Kernels that a job compiles are then kept beside the code itself, for every other project. Tests that change code
    take `neox`, which holds copies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if name == "workflow":
            (folder / name).mkdir()
            for part in source.iterdir():
                (folder / name / part.name).symlink_to(part)
        elif source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return Project(folder)


def tiny_study(model: str, layer: str) -> dict:
    """A study of seconds: one model, two seeds, one sweep. `layer` names the hookpoint with {} for the number."""
    return {
        "study": "tiny",
        "models": {"tiny": {"name": model}},
        "corpora": {"stories": {"kind": "files", "paths": ["corpus.jsonl"]}},
        "tokens": {
            "stories": {
                "model": "tiny",
                "corpus": "stories",
                "context_length": 32,
                "heldout_tokens": 500,
                "train_tokens": 4000,
                "chunk_tokens": 2000,
            }
        },
        "passes": {"first": {"tokens": "stories", "hookpoints": [layer.format(0)], "shard_tokens": 1000}},
        "cohort_defaults": {
            "n_latents": 48,
            "k": 4,
            "tokens": 8000,
            "epochs": 2,
            "batch_size": 100,
            "learning_rate": 2e-4,
            "warmup_steps": 10,
            "normalisation": "centre-scale",
        },
        "cohorts": {"base": {"hookpoint": layer.format(0), "init_seeds": [0, 1]}},
        "sweeps": {"size": {"cohort": "base", "vary": {"n_latents": [32, 48]}, "init_seeds": [0, 1]}},
        "figures": {"draw": {"joint": {"cohort": "base"}, "seeds": {"cohort": "base"}, "size": {"sweep": "size"}}},
        "floor": {"repeats": 2},
    }


def once(tmp_path_factory, name: str, make) -> Project:
    """The project that `make` makes in the folder it is given: one for all of pytest's workers."""
    workers = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp().parent if workers else tmp_path_factory.getbasetemp()
    folder, made = folder / f"finished-{name}", folder / f"finished-{name}.made"
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return Project(folder)


@pytest.fixture(scope="session")
def finished_neox(tmp_path_factory) -> Project:
    """A finished study on a 2-layer GPT-NeoX. Tests that change it work on a copy: see `neox`."""
    from tests.tiny import tiny_corpus, tiny_gpt_neox

    def make(folder: Path) -> None:
        project = new_project(folder, tiny_study("model", "layers.{}.mlp"))
        # Without a language-model head, evaluation need not load the model: seconds a job.
        tiny_gpt_neox(folder / "model", head=False)
        tiny_corpus(folder, documents=300)
        project.snakemake()

    return once(tmp_path_factory, "neox", make)


@pytest.fixture(scope="session")
def finished_matrix(tmp_path_factory) -> Project:
    """A finished study on a given matrix, with a cohort of each kind of seed; copy it before changing it."""
    import numpy as np

    study = tiny_study("unused", "{}")
    for key in ("models", "corpora", "tokens"):
        del study[key]
    study["passes"] = {"mine": {"matrix": "rows.npy", "heldout_rows": 300, "train_rows": 3000, "shard_rows": 1000}}
    study["cohort_defaults"].update(tokens=6000)
    study["cohorts"] = {
        "base": {"pass": "mine", "init_seeds": [0, 1]},
        "order": {"pass": "mine", "init_seeds": [0], "order_seeds": [0, 1]},
        "both": {"pass": "mine", "init_seeds": [0, 1], "order_seeds": [0, 1]},
    }
    study["sweeps"] = {"kinds": {"cohorts": {"init": "base", "order": "order", "both": "both"}}}
    study["figures"] = {"draw": {"seeds": {"cohort": "base"}, "randomness": {"sweep": "kinds"}}}
    rng = np.random.default_rng(0)
    codes = rng.random((3300, 40)) * (rng.random((3300, 40)) < 0.1)

    def make(folder: Path) -> None:
        project = new_project(folder, study)
        np.save(folder / "rows.npy", (codes @ rng.standard_normal((40, 16))).astype("float32"))
        project.snakemake()

    return once(tmp_path_factory, "matrix", make)


@pytest.fixture
def neox(finished_neox: Project, tmp_path: Path) -> Project:
    """A copy of the finished study and of the code: times are kept, so that Snakemake finds all as it was."""
    ignored = shutil.ignore_patterns("*.tmp.*", "*.pyc.*")
    return Project(shutil.copytree(finished_neox.folder, tmp_path / "project", ignore=ignored))
