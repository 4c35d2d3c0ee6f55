"""Studies with random mistakes in them: each is refused in a line, or it is a study.

`python -m tests.hostility.mutated_configs COUNT SEED` prints what went wrong, and the worst time and memory. It runs in
a process of its own, so that its memory is that of reading studies.
"""

import copy
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import yaml

from sae_stability.errors import StudyError
from sae_stability.pipeline import Pipeline
from sae_stability.pipeline.plan import describe
from sae_stability.pipeline.runs import check_folder
from sae_stability.study.build import load_study
from sae_stability.study.sources import check_corpora

ROOT = Path(__file__).parents[2]
SECONDS, GIB, LINES, LETTERS = 10, 1, 2, 2000  # the most that reading a study, and its error, may take
LONG = "long " * 20_000
ODD = [None, True, -1, 0, 1, 3, 10**30, -(10**30), 0.5, 1e308, float("nan"), float("inf"), "", " ", "-", "0", LONG]
ODD += ["..", "../../etc/passwd", "/dev/zero", "/dev/full", "a/b", "a\x00b", "\ud800", "é漢\u202e", "{x}", "*", "$HOME"]
ODD += ["layers.0:in", "base", [], {}, [None], [[]], {"": None}, {1: 2}, [1, 1], ["base"] * 50, {"kind": "files"}]
KEYS = ["", 7, None, "\ud800", LONG, "cohorts"]
# What YAML reads in its own way.
SIGNS = [b"\t", b"[" * 5000, b"{a: " * 5000, b"!!python/name:os.system ", b"&a [*a]", b"*b", b"<<: 3\n", b"\xff\xfe"]
SIGNS += [b"---\n", b"? ", b"\r", b"\x85"]


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def at(value, path: tuple):
    for key in path:
        value = value[key]
    return value


def mutated(config: dict, chance: random.Random) -> dict:
    """A copy of a study with one to three mistakes."""
    config = copy.deepcopy(config)
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice(list(places(config)))
        parent, key = at(config, path[:-1]), path[-1]
        match chance.randrange(7):
            case 0:
                del parent[key]
            case 1 | 2:
                parent[key] = chance.choice(ODD)
            case 3:
                parent[key] = copy.deepcopy(at(config, chance.choice(list(places(config)))))
            case 4 if isinstance(parent, dict):
                parent[chance.choice([*KEYS, f"{key}x", f"{key}\n"])] = parent[key]
            case 5 if isinstance(parent[key], int | float):
                parent[key] *= chance.choice((-1, 0, 2, 1000, 10**9, 0.3))
            case _:
                parent[key] = [parent[key]] * chance.choice((1, 2, 1000))
    return config


def spoilt(text: bytes, chance: random.Random) -> bytes:
    """A file with a bit flipped, cut, with a part left out or doubled, or with signs of YAML in it."""
    start = chance.randrange(len(text))
    end = min(len(text), start + chance.choice((1, 10, 200)))
    match chance.randrange(6):
        case 0:
            return text[:start] + bytes([text[start] ^ (1 << chance.randrange(8))]) + text[start + 1 :]
        case 1:
            return text[:start]
        case 2:
            return text[:start] + text[end:]
        case 3:
            return text[:end] + text[start:]
        case _:
            return text[:start] + chance.choice(SIGNS) + text[end:]


def study(number: int, seed: int, bases: list[bytes]) -> bytes:
    """The file of one study with mistakes."""
    chance = random.Random(f"{seed} {number}")
    base = chance.choice(bases)
    if chance.random() < 0.3:
        return spoilt(base, chance)
    return yaml.safe_dump(mutated(yaml.safe_load(base), chance), sort_keys=False).encode()


def read(path: Path) -> None:
    """What `plan` and the Snakefile do before the first job, except for what needs a model."""
    describe(path)
    found = load_study(path)
    check_folder(Path(found.results))
    check_corpora(found)
    Pipeline(found).check()


def fault_in(path: Path) -> str | None:
    """What is wrong with how a study is read; None if it is read, or refused as it should be."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(path)
    except StudyError as error:
        text = str(error)
        return None if len(text.splitlines()) <= LINES and len(text) <= LETTERS else f"is long: {text[:200]!r}"
    except BaseException as error:
        return "".join(traceback.format_exception(error, limit=-4))[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _too_slow(*_) -> None:
    raise TimeoutError(f"takes over {SECONDS} s")


def peak_gib() -> float:
    """The most memory that this process held. `ru_maxrss` would also count that of the process which started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def main(count: int, seed: int) -> int:
    """Read that many studies; the number that went wrong."""
    bases = [path.read_bytes() for path in (ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml")))]
    signal.signal(signal.SIGPROF, _too_slow)
    # A study that would fill the machine's memory ends in a MemoryError.
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    wrong, worst, peak = 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("config.yaml").write_bytes(bases[0])
        for number in range(count):
            Path("study.yaml").write_bytes(study(number, seed, bases))
            begin = time.process_time()
            fault = fault_in(Path("study.yaml"))
            worst = max(worst, time.process_time() - begin)
            peak = peak_gib()
            made = {found.name for found in Path().iterdir()} - {"config.yaml", "study.yaml", "results"}
            if made:
                fault = f"makes {made}"
            if peak > GIB:
                fault = f"takes {peak:.1f} GiB"
            if fault:
                wrong += 1
                print(f"study {number} of seed {seed}: {fault}", flush=True)
            if made or peak > GIB:
                break
    print(f"{count} studies, {wrong} wrong; at worst {worst:.1f} s and {peak:.2f} GiB")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
