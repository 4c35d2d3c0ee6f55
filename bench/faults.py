"""Faults in numbers that are too large for the tests; writes bench/RESULTS.md.

    python bench/faults.py flips RESULTS    # spoil files of every kind of a finished study
    python bench/faults.py configs          # 2,000 studies with random mistakes
    python bench/faults.py kills            # a small study, killed 50 times, or until Ctrl-C
    python bench/faults.py disks            # the same study on disks that are full; root

RESULTS is the results folder of a finished study; what is spoilt is a copy.
"""

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from results_file import machine, write_section

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT)]

FILES, FLIPS, CUTS = 4, 3, 1  # of each kind: files, and of each file
STUDIES = 2000
KILLS = 50
# What no job and no person takes a number from; the explorer's pages hold none, its data are in its subfolder.
UNREAD = ("logs", "tensorboard", "explorer")
MEMORIES = ("contents.json", "checked.json", "stale.json")
OUTCOMES = ("noticed", "harmless", "not named", "another error", "unnoticed")

TITLES = {
    "flips": "Flipped bits and cut files",
    "configs": "Studies with random mistakes",
    "kills": "Killed runs",
    "disks": "Full disks",
}
ABOUT = {
    "flips": """
One random bit flipped in, or the end cut off, files of every kind of a finished embedded study; then the reader that
the verbs call reads them. `noticed`: refused in one line that names the file or its folder. `harmless`: what is read is
equal to the bit, or a memory is forgotten and made again. The other three must be 0.
""",
    "configs": """
The studies of this project with values, keys, bytes and YAML changed at random, read as `plan` and the Snakefile read
them. Wrong would be: anything but a study or an error of at most two lines, over 10 s or 1 GiB, a file elsewhere.
""",
    "kills": """
A study of seconds with nearly every stage (`tests/hostility/killed_studies.py`), run by Snakemake on 2 cores and killed
by SIGKILL at random times; after each kill it is simply run again. Whenever it is whole, its tables, pictures and SAEs
are compared with those of an undisturbed run, byte by byte, and it begins anew. Wrong would be: another byte, a
traceback, a lock that a person has to remove, a run that does not end.
""",
    "disks": """
The same study on a tmpfs that is enlarged after each run, from 64 KiB up, until all has room. Wrong would be: a
traceback, an error of a job that does not name the full disk, or another byte when the study is whole.
""",
}


def kinds(results: Path) -> dict[str, list[Path]]:
    """Kind -> its files: those whose paths differ in numbers and in names that a study chose."""
    found = {}
    for path in sorted(results.rglob("*")):
        stage, name = path.relative_to(results).parts[0], path.name
        is_data = path.parent == results / "explorer" / "data"
        if not path.is_file() or name.startswith(".") or (stage in UNREAD and not is_data):
            continue
        if stage == "figures":
            name = f"FIGURE{path.suffix}"
        elif is_data:
            name = re.sub(r"^.*_", "SAE_", name)
        kind = re.sub(r"\d+", "N", name if stage == name else f"{stage}/{name}")
        found.setdefault(kind, []).append(path)
    return found


def read(path: Path):
    """What the reader that verbs call for this kind of file gives; None where it only checks."""
    from sae_stability import files
    from sae_stability.activations.reader import Chunk
    from sae_stability.corpus.blocks import BlockFile
    from sae_stability.sae.formats import own

    folder = path.parent
    if path.name in ("sae.safetensors", "cfg.json"):
        weights = own.read(folder)
        return weights.tensors, weights.settings
    if list(folder.glob("shard-*")):
        chunk = Chunk(folder)
        shards = [[tensor.numpy() for tensor in chunk.shard(number)] for number in range(len(chunk.shard_rows))]
        return chunk.manifest["mean"], chunk.scale, shards
    if (folder / "manifest.json").is_file():
        chunks = ["heldout"] if path.stem in ("heldout", "manifest") else [int(path.stem.removeprefix("chunk-"))]
        columns = ("tokens", "document_id", "position", "special")
        return [
            [getattr(blocks, name) for name in columns]
            for chunk in chunks
            for _, blocks in BlockFile(folder, chunk).read()
        ]
    if path.name in MEMORIES:
        return files.remembered(path) or None
    if path.suffix == ".parquet":
        return files.read_table(path)
    if path.suffix == ".json":
        return files.read_json(path)
    record = path.with_suffix(".parquet" if path.suffix == ".csv" else ".json")
    if (folder / "record.json").is_file():
        record = folder / "record.json"
    files.verify(file=[record])
    return None


def outcome(path: Path, expected) -> str:
    """What a reader makes of a spoilt file; one of `OUTCOMES`."""
    from sae_stability.errors import StudyError
    from tests.hostility.test_flipped_bits import same

    try:
        found = read(path)
    except StudyError as error:
        return "noticed" if len(str(error).splitlines()) == 1 and str(path.parent) in str(error) else "not named"
    except Exception as error:
        print(f"{path}: {type(error).__name__}: {error}", flush=True)
        return "another error"
    try:
        if found is not None or path.name not in MEMORIES:
            assert (found is None) == (expected is None)
            same(found, expected)
    except AssertionError:
        return "unnoticed"
    # A digest of all bytes stands in a record: a spoilt file that passes has been missed.
    return "harmless" if found is not None or path.name in MEMORIES else "unnoticed"


def spoilt(good: bytes, chance: random.Random) -> list[bytes]:
    """A file with one bit flipped, some times; and cut at a random place."""
    found = []
    for _ in range(FLIPS):
        bit = chance.randrange(8 * len(good))
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        found.append(bytes(content))
    return found + [good[: chance.randrange(len(good))] for _ in range(CUTS)]


def flips(results: Path) -> tuple[str, bool]:
    """Spoil files of every kind in a copy: a table, and whether all went right."""
    chance = random.Random(0)
    total, rows = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for kind, paths in kinds(results).items():
            count = Counter()
            for source in chance.sample(paths, min(FILES, len(paths))) * (1 if len(paths) >= FILES else 2):
                path = Path(folder, source.relative_to(results))
                shutil.copytree(source.parent, path.parent, dirs_exist_ok=True, ignore=_subfolders)
                good, expected = path.read_bytes(), read(path)
                for content in spoilt(good, chance):
                    path.write_bytes(content)
                    count[outcome(path, expected)] += 1
                shutil.rmtree(path.parent)
            print(kind, dict(count), flush=True)
            total += count
            rows.append((kind, count))
    rows.append(("all", total))
    lines = [f"| kind | {' | '.join(OUTCOMES)} |", f"|---|{'---|' * len(OUTCOMES)}"]
    lines += [f"| {kind} | {' | '.join(str(count[name]) for name in OUTCOMES)} |" for kind, count in rows]
    return "\n".join(lines), not any(total[name] for name in OUTCOMES[2:])


def _subfolders(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_dir()]


def configs() -> tuple[str, bool]:
    """Read studies with mistakes: what came of it, and whether all went right."""
    from tests.hostility import mutated_configs

    output = _Copy()
    with contextlib.redirect_stdout(output):
        wrong = mutated_configs.main(STUDIES, 1)
    return f"{output.getvalue().strip().splitlines()[-1]}.", not wrong


def kills() -> tuple[str, bool]:
    """Kill a study again and again: what came of it, and whether all went right."""
    from tests.hostility.killed_studies import KINDS, killed

    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    found = killed(folder, KILLS, 1, lambda text: print(text, flush=True))
    of_kinds = ", ".join(f"{found.kills[kind]} of {kind}" for kind in KINDS)
    told = f"{found.kills.total()} kills ({of_kinds}) in {found.runs} runs"
    return _ended(folder, f"{told}; {found.whole} times whole, with the same bytes", found.faults)


def disks() -> tuple[str, bool]:
    """Fill the disk of a study again and again: what came of it, and whether all went right."""
    from tests.hostility.full_disks import filled

    folder = Path(tempfile.mkdtemp(prefix="disks-"))
    found = filled(folder, lambda text: print(text, flush=True))
    stages = ", ".join(f"{stage} {count}" for stage, count in sorted(found.told.items()))
    told = f"{found.runs} runs; jobs that named the full disk, by stage: {stages or 'none'}"
    return _ended(folder, f"{told}; {'whole' if found.whole else 'not whole'} at the end", found.faults)


def _ended(folder: Path, told: str, faults: list[str]) -> tuple[str, bool]:
    """What a run over a study tells, and whether all went right. The logs of one that did not are kept."""
    for fault in faults:
        print(fault, flush=True)
    if not faults:
        shutil.rmtree(folder)
    return f"{told}; wrong: {len(faults)}.", not faults


class _Copy(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
        return super().write(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(TITLES))
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"))
    asked = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    runs = {"configs": configs, "kills": kills, "disks": disks}
    found, right = flips(asked.results.resolve()) if asked.what == "flips" else runs[asked.what]()
    head = f"`python bench/faults.py {asked.what}`: {machine(('pyarrow', 'safetensors', 'snakemake'))}."
    write_section(TITLES[asked.what], f"{head}\n{ABOUT[asked.what].strip()}\n\n{found}")
    return not right


if __name__ == "__main__":
    sys.exit(main())
