"""A small study with every stage, killed at random times and run again until it is whole.

Three kinds of kills: of Snakemake alone (its jobs then go on beside the next run), of one job, and of all processes.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow import forked
from tests.workflow.conftest import Project, new_project, tiny_study

KINDS = ("Snakemake alone", "one job", "all processes")
# Where tables, pictures and SAEs lie; elsewhere are times, logs and memories.
COMPARED = ("*.parquet", "*.csv", "*.safetensors", "*.svg", "cfg.json", "summary.rst")
MOST_RUNS = 12  # of one study until it is whole, after its last kill
MOST_SECONDS = 900  # of one run


def study() -> dict:
    """The tiny study, with a meta-SAE, groups over three seeds, contexts, explanations, scores and stitched SAEs."""
    study = tiny_study("model", "layers.{}.mlp")
    study["models"]["tiny"]["name"] = "model"
    study["tokens"]["stories"].update(heldout_tokens=300, train_tokens=1000, chunk_tokens=500)
    study["passes"]["rows"] = {"decoder_of": {"cohort": "base", "seed": 0}}
    study["cohort_defaults"] |= {"n_latents": 24, "tokens": 1000, "epochs": 1, "batch_size": 50, "warmup_steps": 2}
    study["cohorts"]["base"] |= {"init_seeds": [0, 1, 2]}
    study["cohorts"]["meta"] = {"pass": "rows", "n_latents": 8, "k": 2, "batch_size": 8, "epochs": 4}
    study["cohorts"]["meta"] |= {"init_seeds": [0, 1], "tokens": 96}
    study["sweeps"]["size"]["vary"] = {"n_latents": [16, 24]}
    study["stitches"] = {"seeds": {"chain": [{"cohort": "base", "seed": 0}, {"cohort": "base", "seed": 1}]}}
    study["figures"]["draw"] |= {"consensus": {"cohort": "base"}, "meta": {"cohort": "meta"}}
    study["floor"] = {"repeats": 1}
    study["firing"] = {"cohorts": ["base"], "contexts": {"window": 4}}
    study["interpret"] = {
        "cohorts": ["base"],
        "latents": 4,
        "draws": 1,
        "judges": {"words": {"kind": "lexical"}},
        "explainers": ["words"],
        "scorers": {"words-detection": {"kind": "detection", "judge": "words"}},
        "choice": "words",
    }
    return study


def make(folder: Path) -> Project:
    """The study with its model and text, not yet run."""
    project = new_project(folder, study())
    tiny_gpt_neox(folder / "model", head=False)
    tiny_corpus(folder, documents=120)
    return project


def tables(project: Project) -> dict[str, bytes]:
    """What must not depend on kills: all tables, pictures and SAEs, by their paths."""
    return {name: content for pattern in COMPARED for name, content in project.files(f"**/{pattern}").items()}


@dataclass
class Killing:
    """What came of killing a study."""

    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    whole: int = 0
    faults: list[str] = field(default_factory=list)


class Running:
    """A call of Snakemake in processes of a group of their own."""

    def __init__(self, project: Project, log: Path) -> None:
        words = ["--cores", "2", "--configfile", "study.yaml", "--max-jobs-per-timespan", "100/1s"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        self.log = log
        log.write_text("")
        self.process = forked.CONTEXT.Process(target=_leading, args=(words, project.folder, environment, str(log)))
        self.process.start()

    def wait(self, seconds: float) -> bool:
        """Whether the call ends by itself within so many seconds."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def jobs(self) -> list[psutil.Process]:
        """The jobs that run: the children of the process that starts them."""
        children = psutil.Process(self.process.pid).children()
        servers = [child for child in children if "forkserver" in " ".join(child.cmdline())]
        return [job for server in servers for job in server.children()]

    def kill(self, kind: str, chance: random.Random) -> bool:
        """Kill what `kind` says; whether there was something to kill."""
        try:
            if kind == "one job":
                jobs = self.jobs()
                if not jobs:
                    return False
                chance.choice(jobs).kill()
                return True
            os.kill(self.process.pid, signal.SIGKILL)
            if kind == "all processes":
                self.end()
        except (psutil.Error, ProcessLookupError):
            return False
        return True

    def end(self) -> None:
        """End all processes of the group that are left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _leading(words: list[str], folder: Path, environment: dict[str, str], output: str) -> None:
    os.setsid()
    forked._call(words, folder, environment, output)


def killed(folder: Path, kills: int, seed: int, progress=print) -> Killing:
    """Kill the study so many times, and after each kill run it again; compare whatever becomes whole.

    Args:
        folder: empty folder for the study and its logs.
        kills: number of kills, of the three kinds in turn.
        seed: seed of their times.
        progress: is told of every kill and every whole study.
    """
    project, found, chance = make(folder / "project"), Killing(), random.Random(seed)
    began = time.time()
    expected = _undisturbed(project, folder)
    longest = time.time() - began
    progress(f"undisturbed: {longest:.0f} s, {len(expected)} files")
    shutil.rmtree(project.folder / "results")
    running = None
    try:
        while found.kills.total() < kills:
            running = Running(project, folder / f"run-{found.runs}.log")
            found.runs += 1
            _kill(running, found, kills, chance, longest, progress)
            _look(running, found)
            if running.process.exitcode == 0:
                _compare(project, expected, found, progress)
        _finish(project, folder, expected, found, progress)
    except KeyboardInterrupt:  # what there is so far is worth telling
        progress("stopped")
        if running:
            running.end()
    return found


def _kill(running: Running, found: Killing, kills: int, chance: random.Random, longest: float, progress) -> None:
    """Kill a run at random times until it ends. Without one of its jobs it goes on, and is killed again."""
    # Kills come often: a study is then killed several times before it is whole.
    while found.kills.total() < kills and not running.wait(chance.uniform(0.02, 0.4) * longest):
        kind = KINDS[found.kills.total() % len(KINDS)]
        if running.kill(kind, chance):
            found.kills[kind] += 1
            progress(f"kill {found.kills.total()}: {kind}")
            if kind != "one job":
                break
    if not running.wait(MOST_SECONDS):
        found.faults.append(f"{running.log}: does not end")
        running.end()


def _undisturbed(project: Project, folder: Path) -> dict[str, bytes]:
    running = Running(project, folder / "undisturbed.log")
    if not running.wait(MOST_SECONDS) or running.process.exitcode:
        raise SystemExit(f"the undisturbed run fails:\n{running.log.read_text()[-4000:]}")
    return tables(project)


def _finish(project: Project, folder: Path, expected: dict[str, bytes], found: Killing, progress) -> None:
    """Run the study until it is whole once more."""
    for number in range(MOST_RUNS):
        running = Running(project, folder / f"last-{number}.log")
        found.runs += 1
        if not running.wait(MOST_SECONDS):
            running.end()
        _look(running, found)
        if running.process.exitcode == 0:
            _compare(project, expected, found, progress)
            return
    found.faults.append(f"{running.log}: the study does not become whole")


def _look(running: Running, found: Killing) -> None:
    """Note what a person should never see in the log of a run."""
    text = running.log.read_text(errors="replace")
    for sign in ("Traceback (most recent call last)", "LockException", "--unlock"):
        if sign in text:
            found.faults.append(f"{running.log}: {sign}")


def _compare(project: Project, expected: dict[str, bytes], found: Killing, progress) -> None:
    """Compare a whole study with the undisturbed one, and delete it."""
    now = tables(project)
    wrong = sorted(name for name in now.keys() | expected.keys() if now.get(name) != expected.get(name))
    found.whole += not wrong
    found.faults += [f"{name}: not as in the undisturbed run" for name in wrong[:5]]
    left = [str(path) for path in (project.folder / "results").rglob("*.tmp")]
    progress(f"whole: {len(now)} files, {len(wrong)} of them other ones, {len(left)} left over")
    shutil.rmtree(project.folder / "results")
