"""SIGKILLs at random times over a study with every stage; what it makes in the end is what it makes undisturbed.

`python -m tests.hostility.killed_studies COUNT SEED` prints each kill, and what was wrong.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from pandas.testing import assert_frame_equal

from sae_stability.files import read_table
from sae_stability.sae import formats
from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow import forked
from tests.workflow.conftest import Project, new_project
from tests.workflow.test_code_hash_covers_what_runs import planted_sae, study

WHAT = ("snakemake", "job", "group")
# They say how long a job took, or are memories.
CHANGING = ("timing.json", "contents.json", "checked.json", "stale.json")
TIMED = ("matches", "floors")
WORDS = ["--cores", "2", "--configfile", "study.yaml", "--max-jobs-per-timespan", "100/1s"]


def project(folder: Path) -> Project:
    """A study with every stage and kind of figure; its judges need no endpoint."""
    everything = study("http://127.0.0.1:9")
    judges = everything["interpret"]["judges"]
    del judges["far"], judges["local"]
    everything["interpret"] |= {
        "explainers": ["words"],
        "scorers": {
            name: scorer for name, scorer in everything["interpret"]["scorers"].items() if scorer["judge"] in judges
        },
    }
    made = new_project(folder, everything)
    tiny_gpt_neox(folder / "model")
    tiny_corpus(folder, documents=60)
    rng = np.random.default_rng(0)
    np.save(folder / "rows.npy", rng.standard_normal((256, 16), dtype=np.float32))
    for name in formats.WRITTEN:
        formats.write(folder / "checkpoints" / name, planted_sae(rng), name)
    return made


class Call:
    """A call of Snakemake that goes on, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output.txt"
        self.output.write_text("")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        self.process = forked.CONTEXT.Process(target=call, args=(folder, environment, str(self.output)))
        self.process.start()

    @property
    def done(self) -> int:
        """How many jobs have ended."""
        return len(re.findall(r"^Finished job", self.output.read_text(errors="replace"), re.MULTILINE))

    @property
    def goes_on(self) -> bool:
        return self.process.is_alive()

    def jobs(self) -> list[int]:
        """The processes of its jobs: children of the server that it has forked."""
        parents = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        me = self.process.pid
        children = [pid for pid, parent in parents.items() if parent == me]
        servers = [pid for pid in children if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return [pid for pid, parent in parents.items() if parent in servers]

    def kill(self, what: str) -> None:
        """Kill Snakemake alone, one of its jobs, or all of its session. After a job's end Snakemake ends by itself."""
        with contextlib.suppress(ProcessLookupError):
            if what == "group":
                os.killpg(self.process.pid, signal.SIGKILL)
            elif what == "snakemake":
                os.kill(self.process.pid, signal.SIGKILL)
            elif jobs := self.jobs():
                os.kill(random.choice(jobs), signal.SIGKILL)
        self.process.join()


def call(folder: Path, environment: dict[str, str], output: str) -> None:
    os.setsid()
    forked._call(WORDS, folder, environment, output)


def tables(results: Path) -> dict[str, bytes]:
    """Every result that is the same whenever it is made, by its path."""
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.name not in CHANGING
        and not path.name.startswith(".")
        and path.relative_to(results).parts[0] not in ("logs", "tensorboard")
        and not path.name.startswith(("report.", "workflow-report."))
    }


def differences(found: Path, expected: Path) -> list[str]:
    """The results that are missing, too many, or not the same."""
    here, there = tables(found), tables(expected)
    wrong = [f"{name}: only in one" for name in here.keys() ^ there.keys()]
    for name in here.keys() & there.keys():
        if here[name] == there[name]:
            continue
        if name.partition("/")[0] in TIMED:
            with contextlib.suppress(AssertionError):
                assert_frame_equal(read_table(found / name)[0], read_table(expected / name)[0], check_exact=True)
                continue
        wrong.append(f"{name}: other bytes")
    return sorted(wrong)


def main(count: int, seed: int) -> int:
    """Kill that many times; how often something was wrong."""
    chance = random.Random(seed)
    random.seed(seed)
    kills, wrong, studies = Counter(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        made = project(Path(folder, "project"))
        begin = time.perf_counter()
        made.snakemake()
        results, expected = made.folder / "results", Path(folder, "expected")
        results.rename(expected)
        shutil.rmtree(made.folder / ".snakemake")
        jobs = len(tables(expected))
        print(f"undisturbed: {jobs} files in {time.perf_counter() - begin:.0f} s", flush=True)
        sessions = []
        while True:
            this = Call(made.folder)
            sessions.append(this.process.pid)
            what, steps = chance.choice(WHAT), chance.randrange(25)
            while this.goes_on and (sum(kills.values()) == count or this.done < steps):
                time.sleep(0.05)
            time.sleep(chance.random() * 0.5)
            if this.goes_on:
                done = this.done
                this.kill(what)
                kills[what] += 1
                print(f"kill {sum(kills.values())}: {what} after {done} jobs", flush=True)
                continue
            this.process.join()
            text = this.output.read_text(errors="replace")
            if this.process.exitcode:
                wrong += 1
                print(f"ended with {this.process.exitcode}: {text[-3000:]}", flush=True)
            for session in sessions:
                # Jobs whose Snakemake was killed; a session that has ended is no longer there.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(session, signal.SIGKILL)
            sessions.clear()
            faults = differences(results, expected)
            studies += 1
            wrong += bool(faults)
            print(f"study {studies}: {len(faults)} differences {faults[:5]}", flush=True)
            if sum(kills.values()) == count or this.process.exitcode:
                break
            shutil.rmtree(results)
            shutil.rmtree(made.folder / ".snakemake")
    print(f"{sum(kills.values())} kills ({dict(kills)}) over {studies} studies, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
