"""Explaining and scoring by an endpoint, killed at random moments and resumed: the same tables, nothing asked twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interpret import server, verbs
from tests.interpret.server import KEY, Chat

KILLS = 20
CONCURRENCY = 4  # in the program too
PROGRAM = """
import sys
from pathlib import Path
from tests.interpret import synthetic, verbs

_, cohort, out, url = sys.argv
planted = synthetic.Cohort(Path(cohort), (0, 1, 2), {}, [])
judge = {"kind": "endpoint", "url": url, "model": "m", "key_variable": "TESTED_KEY", "concurrency": 4, "wait": 0.01}
answers = Path(out) / "answers"
verbs.explain(planted, Path(out), judge, answers=answers)
verbs.score(planted, Path(out), "detection", judge, answers=answers, draws=2)
"""


@pytest.fixture
def chat():
    with server.serving() as chat:
        yield chat


def started(planted, out: Path, chat: Chat) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "TESTED_KEY": KEY, "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, planted.folder, out, chat.url],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tables(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("seed-*.parquet"))}


def test_a_run_killed_twenty_times_loses_nothing_and_buys_nothing_twice(planted, tmp_path: Path, chat: Chat):
    """Now and then a call fails for a while, or for good, by its prompt, so that both runs see the same failures."""

    def behave(body: dict, before: int) -> str:
        time.sleep(0.01)
        kind = sum(map(ord, server.prompt_of(body))) % 40
        if kind == 0:
            return "overloaded" if before == 0 else "ok"
        return {1: "unparsed", 2: "refused", 3: "null"}.get(kind, "ok")

    chat.behave = behave
    whole = started(planted, tmp_path / "whole", chat)
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    wanted, asked = tables(tmp_path / "whole"), dict(chat.asked)
    assert len(wanted) == 6

    chat.asked.clear()
    chat.done.clear()
    rng, out, kills = random.Random(0), tmp_path / "killed", 0
    total = len(asked)
    while kills < KILLS:
        # Killed after so many more calls: early and late, in explaining and in scoring.
        target = chat.asked.total() + rng.randint(1, max(2, 2 * total // KILLS))
        process = started(planted, out, chat)
        while chat.asked.total() < target and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        time.sleep(0.05)  # the server ends what it was doing
    last = started(planted, out, chat)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert kills >= KILLS * 3 // 4
    assert tables(out) == wanted
    assert set(chat.asked) == set(asked)
    # What was under way when the process died may be asked again, and nothing else.
    extra = sum(count - asked[prompt] for prompt, count in chat.asked.items())
    assert 0 <= extra <= kills * CONCURRENCY
    ledger = [line.split('"')[1] for line in (out / "answers" / "spent.jsonl").read_text().splitlines()]
    kept = {path.stem for path in (out / "answers").rglob("*.json")}
    assert kept <= set(ledger)
    assert len(ledger) - len(kept) <= kills * CONCURRENCY
    everything = "".join(path.read_text() for path in (out / "answers").rglob("*") if path.is_file())
    assert KEY not in everything + output


def test_a_finished_run_asks_nothing(planted, tmp_path: Path, chat: Chat, monkeypatch):
    monkeypatch.setenv("TESTED_KEY", KEY)
    judge, answers = server.judge(chat), tmp_path / "answers"
    for _ in range(2):
        verbs.explain(planted, tmp_path, judge, answers=answers, latents=3)
    assert chat.asked.total() == len(chat.asked) == 9
    # More latents buy those that are new.
    verbs.explain(planted, tmp_path, judge, answers=answers, latents=5)
    assert chat.asked.total() == len(chat.asked) <= 15
