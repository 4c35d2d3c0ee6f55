"""A Slurm cluster on this machine, and copies of the project whose jobs it runs."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "workflow", "profiles", "envs", "config.yaml")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
# Nothing here should take longer, in seconds; a run that hangs must end.
LIMIT = 600
# The node has 2 cores. The profile's patience is for large clusters: here, look every second.
HERE = ["--max-threads=2", "--latency-wait=20", "--max-status-checks-per-second=1", "--max-jobs-per-timespan=100/1s"]


@dataclass
class Cluster:
    """The cluster in a folder; `call` runs one of Slurm's programs."""

    folder: Path

    def script(self, action: str) -> None:
        subprocess.run([ROOT / "tests/slurm/cluster.sh", action, self.folder], check=True, timeout=60)

    def call(self, *words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def stop_controller(self) -> None:
        os.kill(int((self.folder / "slurmctld.pid").read_text()), 15)

    def memory(self, job: str) -> int:
        """What a job asks for, in MB."""
        return int(re.search(r"MinMemoryNode=(\d+)M", self.call("scontrol", "show", "job", job))[1])

    @property
    def node(self) -> str:
        return self.call("sinfo", "--noheader", "--format=%n")

    def running(self, rule: str, run: subprocess.Popen) -> str:
        """Wait until a job of the rule runs; its number."""
        for _ in range(2 * LIMIT):
            assert run.poll() is None, f"the run ended before a job of {rule} ran"
            for line in self.call("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines():
                number, comment = line.split(" ", 1)
                if comment.startswith(f"rule_{rule}"):
                    return number
            time.sleep(0.5)
        raise TimeoutError(f"no job of {rule} ran in {LIMIT} seconds")


@dataclass
class Project:
    """A copy of the project with the reduced study."""

    folder: Path
    runs: list[subprocess.Popen]

    def start(self, *words: str) -> subprocess.Popen:
        """Start Snakemake; all that it prints goes to `log`."""
        command = [sys.executable, "-m", "snakemake", *words, "--configfile", "study.yaml"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONPATH", None)
        with open(self.log, "w") as log:
            run = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self.runs.append(run)
        return run

    def slurm(self, *words: str) -> subprocess.Popen:
        """Start Snakemake with the profile for Slurm."""
        profile = ["--workflow-profile=profiles/slurm", "--slurm-init-seconds-before-status-checks=3"]
        return self.start(*profile, *HERE, *words)

    def finish(self, run: subprocess.Popen) -> str:
        """Wait for a run that should succeed; what it printed."""
        try:
            run.wait(LIMIT)
        except subprocess.TimeoutExpired:
            run.kill()
            pytest.fail(f"the run did not end in {LIMIT} seconds:\n{self.log.read_text()[-6000:]}")
        assert run.returncode == 0, self.log.read_text()[-6000:]
        return self.log.read_text()

    def says(self, text: str, run: subprocess.Popen) -> None:
        """Wait until a run prints the text."""
        for _ in range(LIMIT):
            if text in self.log.read_text():
                return
            assert run.poll() is None, f"the run ended without a word of {text!r}"
            time.sleep(1)
        raise TimeoutError(f"{text!r} was not said in {LIMIT} seconds")

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def tables(self) -> dict[str, bytes]:
        """The files whose bytes the study decides: all but logs, times, and what remembers the machine's files."""
        results = self.folder / "results"
        files = (path for name in MADE for path in sorted((results / name).rglob("*")) if path.is_file())
        return {str(path.relative_to(results)): path.read_bytes() for path in files if path.name[-11:] != "timing.json"}


MADE = ("tokens", "activations", "saes", "evaluation", "matches", "floors", "overlap")


@pytest.fixture(scope="session")
def cluster():
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.skip(f"needs root and Debian's slurm-wlm and munge; missing here: {', '.join(missing) or 'root'}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    found = Cluster(folder)
    try:
        found.script("start")
        yield found
    finally:
        found.script("stop")


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Make a copy of the project with the embedded study, reduced to one cohort of two small SAEs."""
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    tokens, pass_ = study["tokens"]["minilm-docstrings"], study["passes"]["minilm"]
    tokens.update(heldout_tokens=4_000, train_tokens=20_000, chunk_tokens=20_000)
    pass_.update(hookpoints=["encoder.layer.0.output.dense"], shard_tokens=10_000)
    base = study["cohorts"]["base"]
    base.update(hookpoint="encoder.layer.0.output.dense", n_latents=96, init_seeds=[0, 1])
    study["cohort_defaults"].update(tokens=40_000, epochs=2)
    study["corpora"]["docstrings"]["packages"] = ["huggingface_hub"]
    study.update(
        models={"minilm": study["models"]["minilm"]},
        tokens={"minilm-docstrings": tokens},
        passes={"minilm": pass_},
        cohorts={"base": base},
        figures={"draw": {"sharing": {"cohort": "base"}}},
        floor={"repeats": 1},
    )
    for name in ("sweeps", "stitches", "firing", "interpret", "meta", "explorer", "dashboards"):
        study.pop(name, None)

    runs: list[subprocess.Popen] = []

    def make(name: str) -> Project:
        folder = tmp_path_factory.mktemp(name)
        for source in COPIED:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, folder / source)
        (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        return Project(folder, runs)

    yield make
    for run in runs:
        run.kill()
