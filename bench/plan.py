"""What `plan` foretells beside what a run took, stage by stage; writes bench/RESULTS.md.

    sae-stability calibrate --out rates.json
    python bench/plan.py RUN --rates rates.json     # RUN: the folder of a finished `make run`

The time of a job is that between its start and its end in Snakemake's records (RUN/.snakemake/metadata), times the
processor cores that it had. Of an unfinished run only the stages count whose jobs are all done.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

from results_file import machine, write_section

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT)]

# Verb of a job -> the stage that it counts for, where the names differ.
STAGES = {
    "tokenize": "tokens",
    "fresh-tokens": "firing",
    "extract": "activations",
    "import-matrix": "activations",
    "decoder-rows": "activations",
    "convert": "import",
    "fetch": "import",
    "meta-baselines": "meta",
    "explanation-similarity": "explain",
    "score-summary": "score",
    "figure-table": "figures",
    "figure": "figures",
    "summary": "workflow report",
    "verify": "workflow report",
}


def jobs(run: Path, results: str) -> dict[str, list[float]]:
    """Core seconds of each job of a run whose results lie in the folder `results`, by stage."""
    records = [json.loads(file.read_text()) for file in (run / ".snakemake" / "metadata").rglob("*") if file.is_file()]
    found = {}
    # A job has a record for each of its files. Of jobs that ran again with other files, the first time counts.
    for record in sorted(records, key=lambda record: -record["starttime"]):
        log = next(iter(record["log"]), "")
        # Another study may have run in the same folder.
        if log.startswith(f"{results}/logs/"):
            found[log] = (record["shellcmd"], record["endtime"] - record["starttime"])
    spent = defaultdict(list)
    for command, seconds in found.values():
        verb = re.search(r"python -m sae_stability (\S+)", command or "")
        threads = re.search(r"--threads (\d+)", command or "")
        if verb:
            spent[STAGES.get(verb[1], verb[1])].append(seconds * (int(threads[1]) if threads else 1))
    return spent


def main() -> None:
    from sae_stability.pipeline.plan import plan
    from sae_stability.pipeline.rates import rates_of
    from sae_stability.study.build import load_study

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--study", type=Path, default=ROOT / "config.yaml")
    parser.add_argument("--rates", type=Path)
    arguments = parser.parse_args()
    study = load_study(arguments.study)
    planned = plan(study, rates_of(study, arguments.rates))
    spent = jobs(arguments.run, study.results)
    lines = ["| stage | jobs | done | planned, core s | took, core s | planned / took |", "|---|---|---|---|---|---|"]
    sums = [0.0, 0.0]
    for stage in planned.stages:
        took, foretold = sum(spent[stage.name]), stage.cpu_hours * 3600
        done = len(spent[stage.name])
        whole = done >= stage.jobs
        ratio = f"{foretold / took:.2f}" if whole else "not all done"
        lines.append(f"| {stage.name} | {stage.jobs} | {done} | {foretold:,.0f} | {took:,.0f} | {ratio} |")
        sums = [sums[0] + whole * foretold, sums[1] + whole * took]
    lines.append(f"| all that are done | | | {sums[0]:,.0f} | {sums[1]:,.0f} | {sums[0] / max(sums[1], 1e-9):.2f} |")
    print("\n".join(lines))
    measured = ", ".join(name for name, source in planned.rates.sources.items() if source == "measured")
    about = (
        f"`python bench/plan.py RUN`: {machine(('torch', 'numpy'))}.\n"
        f"Core seconds of every stage of study {study.name}: as `plan` foretells them, and as they were recorded.\n"
        f"Measured rates: {measured or 'none; all are assumed'}. Assumed rates, and the seconds that `plan` takes for\n"
        "stages of small tables, were chosen after such a run on such a machine. A ratio near 1 says that the plan\n"
        "counts the right things; how well it foretells another machine or study, it does not say."
    )
    write_section("Plan beside reality", f"{about}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
