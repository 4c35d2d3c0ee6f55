"""A study with every stage on a disk that is full, again and again, and then has a little more room.

`python -m tests.hostility.full_disks` needs root, for a small tmpfs. It prints which rules failed at each size, and
what was wrong: a failed job that does not say in a line what happened, or results other than on a large disk.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hostility.killed_studies import Call, differences, project

FIRST, STEP = 64, 1.3  # size of the disk at first, in KiB, and how much larger each next one is


def failed(text: str) -> dict[str, str]:
    """Rule -> what its log says, of the jobs that failed."""
    found = {}
    for rule, log in re.findall(r"^Error in rule (\w+):\n(?:    .*\n)*?    log: (\S+)", text, re.MULTILINE):
        found[re.sub(r"_seeds_.*", "", rule)] = Path(log)
    return found


def fault_in(log: Path) -> str | None:
    """What is wrong with how a job failed; None if its log ends with one line that says what happened."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    if not lines:
        return None  # on a full disk its log may be empty too
    text = "\n".join(lines)
    said = any(line.startswith("error: ") for line in lines)
    return None if said and "Traceback" not in text else text[-1500:]


def main() -> int:
    """Run until the study is whole; how often something was wrong."""
    wrong, rules = 0, {}
    with tempfile.TemporaryDirectory() as folder:
        made = project(Path(folder, "project"))
        made.snakemake()
        results, expected = made.folder / "results", Path(folder, "expected")
        results.rename(expected)
        shutil.rmtree(made.folder / ".snakemake")
        results.mkdir()
        size = FIRST
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", results], check=True)
        try:
            while True:
                this = Call(made.folder)
                this.process.join()
                text = this.output.read_text(errors="replace")
                if not this.process.exitcode:
                    break
                jobs = failed(text)
                faults = [fault for log in jobs.values() if (fault := fault_in(made.folder / log))]
                if not jobs and not re.search("^error: .*No space left", text, re.MULTILINE):
                    faults.append(text[-3000:])
                for fault in faults:
                    print(fault, flush=True)
                wrong += len(faults)
                for rule in jobs:
                    rules[rule] = rules.get(rule, 0) + 1
                print(
                    f"{size} KiB: {this.done} jobs ended, failed: {', '.join(sorted(jobs)) or 'Snakefile'}", flush=True
                )
                size = int(size * STEP)
                subprocess.run(["mount", "-o", f"remount,size={size}k", results], check=True)
            faults = differences(results, expected)
            wrong += len(faults)
            print(f"{len(faults)} differences {faults[:5]}", flush=True)
        finally:
            subprocess.run(["umount", results], check=True)
    print(f"{sum(rules.values())} failures of {len(rules)} rules for want of room, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main() > 0)
