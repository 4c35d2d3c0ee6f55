"""Exact matching against scipy on the full cosine matrix, on the same pairs, one after the other.

    python bench/match.py                  # everything, about 35 minutes on 2 idle cores; writes bench/RESULTS.md
    python bench/match.py --up-to 8192     # only cases of at most 8,192 latents
    python bench/match.py --again hubs     # only these cases; the others keep their last figures
    python bench/match.py --ours           # only our side; scipy's figures stay

Each measurement runs in a process of its own, so that peak memory is its own. Both sides start from float32 rows in
memory; compilation (numba, once, cached) and process start are not counted. scipy at 32,768 latents takes 13 GB, and is
stopped after five minutes.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import match_cases
import numpy as np
from results_file import machine, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

NOTES = Path("results/bench/match.json")
TRAINED = ("trained-100000", "trained-400000", "trained-1600000")
GROWTH = (8192, 16384, 32768, 65536)
HARD = tuple(name for name in match_cases.SYNTHETIC if name != "perturbed")
SCIPY_BYTES = 12.5  # per pair of rows: float64 costs, and the float32 products that they are made from
SCIPY_SECONDS = 300


def cases() -> list[tuple[str, int, int, bool]]:
    """(case, latents, width, whether scipy runs too)."""
    trained = [(name, 8192, 384, True) for name in TRAINED if match_cases.ACTIVATIONS.exists()]
    hard = [(name, 8192, 384, True) for name in HARD] + [(name, 32768, 768, True) for name in HARD]
    growth = [("perturbed", n, 768, n in (8192, 32768)) for n in GROWTH] + [("perturbed", 131072, 768, False)]
    return trained + hard + growth


def ours(case: str, n: int, d: int) -> dict:
    """Time `match_rows`."""
    from sae_stability.match.assignment import match_rows

    a, b = match_cases.pair(case, n, d)
    for size in (300, 200):
        match_rows(a[:size], b[:300])  # loads the compiled code
    result = match_rows(a, b)
    return {
        "seconds": result.seconds,
        "peak_bytes": result.peak_bytes,
        "objective": result.objective,
        "gap": result.gap,
        "rounds": result.rounds,
    }


def scipy(case: str, n: int, d: int) -> dict:
    """Time the cosine matrix in float32 and scipy's dense solver; the objective is summed from float64 cosines."""
    from scipy.optimize import linear_sum_assignment

    from sae_stability.match.peak_memory import peak_bytes, reset_peak

    a, b = match_cases.pair(case, n, d)
    reset_peak()
    started = time.perf_counter()
    unit = [
        np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
        for x in (a, b)
        for norm in [np.linalg.norm(x, axis=1, keepdims=True)]
    ]
    similarity = unit[0] @ unit[1].T
    product = time.perf_counter() - started
    # scipy works on negated float64 costs; given anything else it copies twice (22 GB at 32,768 latents, not 13).
    cost = np.negative(similarity, dtype=np.float64)
    del similarity
    rows, columns = linear_sum_assignment(cost)
    seconds = time.perf_counter() - started
    pairs = [x[order].astype(np.float64) for x, order in ((a, rows), (b, columns))]
    lengths = np.linalg.norm(pairs[0], axis=1) * np.linalg.norm(pairs[1], axis=1)
    cosines = np.divide((pairs[0] * pairs[1]).sum(axis=1), lengths, out=np.zeros(len(rows)), where=lengths > 0)
    return {"seconds": seconds, "product": product, "peak_bytes": peak_bytes(), "objective": float(cosines.sum())}


def measured(side: str, case: str, n: int, d: int) -> dict:
    """One measurement in a process of its own; up to 8,192 latents, the fastest of three."""
    command = [sys.executable, __file__, "--measure", side, case, str(n), str(d)]
    limit = SCIPY_SECONDS if side == "scipy" else None
    times = 3 if n <= 8192 else 1
    runs = []
    for _ in range(times):
        try:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=limit)
        except subprocess.TimeoutExpired:
            return {"seconds": limit, "stopped": True}
        runs.append(json.loads(done.stdout))
    return min(runs, key=lambda run: run["seconds"])


def room_for_scipy(n: int) -> bool:
    """Whether the dense problem fits in the memory that is free now."""
    free = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return n * n * SCIPY_BYTES < int(free.split()[1]) * 1024


def slope(runs: list[dict]) -> float:
    """Least-squares slope of log time over log n for the growth cases."""
    points = [(math.log(run["n"]), math.log(run["ours"]["seconds"])) for run in runs if run["n"] in GROWTH]
    return float(np.polyfit(*zip(*points, strict=True), 1)[0])


def gain(run: dict) -> float:
    """How many times faster than scipy."""
    return run["scipy"]["seconds"] / run["ours"]["seconds"]


# From profiles of the parts, and from runs in which one thing was changed at a time.
HARD_CASES = """
In the hard cases most of the time goes into products, not into the search. near_copies at 32,768 latents, on an AMD
EPYC (avx2) in November 2026, takes 43 processor seconds after its candidates are listed: 3 for bids and searches (24
without auction steps), 25 for six rounds of pricing, 14 for comparing near-copies again. Tried and kept: an auction
with falling steps where a quarter of the rows are free; comparing near-copies again only with columns whose own best
product is as large. Tried without gain: a fair queue of bids without steps; 40 or 60 bids a row; 32 candidates; 96
violated pairs per row and round in place of 24 (as many rounds); steps in every round (prices drift: 48 rounds in
place of 6 in perturbed).

The gain is smallest in unequal_sizes, where scipy has least to do: columns stay free, so rows hardly compete. There
our time is the sweep over all pairs. On an Intel Xeon (avx512f), 64 % of the sweep's processor seconds are integer
products, at 150 G multiply-adds/s a core (float32 products reach 78), and 32 % are scans for candidates; together they
are three quarters of our time at 32,768 latents, which a gain of 10 x would have to cut to two thirds. Tried and kept:
512-bit products (1.37 x as fast as 256-bit ones); no scan of zero rows (zero_rows at 16,384: 2.7 s in place of 6.5).
Tried without gain: rows and columns scanned in one reading of a tile (1.3 x slower); tiles of 96, 192 or 288 rows in
place of 384.
"""


def worst(runs: list[dict]) -> list[str]:
    """A line per number of latents: the slowest case, the least gain over scipy, the most memory, the largest gap."""
    lines = []
    for n in sorted({run["n"] for run in runs}):
        of_size = [run for run in runs if run["n"] == n]
        slowest = max(of_size, key=lambda run: run["ours"]["seconds"])
        words = [f"slowest {slowest['case']} ({slowest['ours']['seconds']:.2f} s)"]
        compared = [run for run in of_size if run["scipy"]]
        if compared:
            least = min(compared, key=gain)
            at_least = "over " if "stopped" in least["scipy"] else ""
            words.append(
                f"least gain over scipy {at_least}{gain(least):.1f} x ({least['case']}; {len(compared)} compared)"
            )
        words.append(f"most memory {max(run['ours']['peak_bytes'] for run in of_size) / 1e9:.2f} GB")
        words.append(f"largest gap {max(run['ours']['gap'] / run['n'] for run in of_size):.0e} a latent")
        lines.append(f"- {n:,} latents, {len(of_size)} cases: {', '.join(words)}.")
    return lines


def report(runs: list[dict]) -> str:
    """The section of RESULTS.md."""
    again = any(run.get("ours alone") for run in runs)
    lines = [
        f"`make bench-match`: {machine(('numpy', 'scipy', 'numba'))}.",
        "Both sides from float32 rows in memory, all cores for products; scipy = float32 cosine matrix +",
        "`linear_sum_assignment`. Seconds of wall clock; the fastest of three runs of each at 8,192 latents, one run",
        "otherwise. `difference` is our objective minus scipy's, relative. scipy is stopped after five minutes, which",
        "then count as its time." + (" Our side was measured again later, with `--ours`." if again else ""),
        "",
        "The worst of all cases:",
        "",
        *worst(runs),
        "",
        "| case | latents | width | ours, s | rounds | gap / n | GB | scipy (product), s | GB | faster | difference |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        mine = run["ours"]
        lines.append(
            f"| {run['case']} | {run['n']:,} | {run['d']} | {mine['seconds']:.2f} | {mine['rounds']} "
            f"| {mine['gap'] / run['n']:.0e} | {mine['peak_bytes'] / 1e9:.2f} | " + _dense_columns(run) + " |"
        )
    lines += ["", "On a GPU: see the section GPU (`make bench-gpu`)."]
    growth = [run for run in runs if run["case"] == "perturbed"]
    if {run["n"] for run in growth} >= set(GROWTH):
        lines += ["", f"Growth: log-log slope of time over 8,192 to 65,536 latents (width 768): {slope(growth):.2f}."]
    lines += [HARD_CASES, "Cases:", ""]
    lines += [f"- {name}: {function.__doc__}" for name, function in match_cases.SYNTHETIC.items()]
    lines += ["- trained-N: decoders of two seeds, 8,192 latents, k = 32, MiniLM layer 3 MLP, N activations seen."]
    return "\n".join(lines)


def _dense_columns(run: dict) -> str:
    mine, dense = run["ours"], run["scipy"]
    if dense is None:
        return "not run | | |"
    if "stopped" in dense:
        return f"over {dense['seconds']:.0f} (stopped) | | over {gain(run):.1f} x | "
    difference = (mine["objective"] - dense["objective"]) / dense["objective"]
    return (
        f"{dense['seconds']:.1f} ({dense['product']:.1f}) | {dense['peak_bytes'] / 1e9:.1f} "
        f"| {gain(run):.1f} x | {difference:.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=int, default=0, dest="least", help="smallest number of latents")
    parser.add_argument("--up-to", type=int, default=2**17, help="largest number of latents")
    parser.add_argument("--again", nargs="*", help="cases to measure again; default all")
    parser.add_argument("--ours", action="store_true", help="measure only our side; scipy's last figures stay")
    parser.add_argument("--measure", nargs=4, metavar=("SIDE", "CASE", "N", "D"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        side, case, n, d = arguments.measure
        print(json.dumps({"ours": ours, "scipy": scipy}[side](case, int(n), int(d))))
        return
    kept = {(run["case"], run["n"]): run for run in json.loads(NOTES.read_text())} if NOTES.exists() else {}
    for case, n, d, dense in cases():
        if not arguments.least <= n <= arguments.up_to or (arguments.again and case not in arguments.again):
            continue
        if case.startswith("trained-"):
            match_cases.pair(case, n, d)
        run = {"case": case, "n": n, "d": d, "ours": measured("ours", case, n, d), "scipy": None}
        if arguments.ours:
            run |= {"scipy": kept.get((case, n), run)["scipy"], "ours alone": True}
        elif dense and room_for_scipy(n):
            run["scipy"] = measured("scipy", case, n, d)
        kept[case, n] = run
        print(json.dumps(run), flush=True)
        NOTES.parent.mkdir(parents=True, exist_ok=True)
        NOTES.write_text(json.dumps(list(kept.values())))
        write_section("Exact matching", report([kept[c[:2]] for c in cases() if c[:2] in kept]))


if __name__ == "__main__":
    main()
