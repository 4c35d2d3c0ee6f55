"""Time and memory of stitching and of `compare`; writes bench/RESULTS.md.

    python bench/stitch.py     # some minutes on 2 cores

Every job is the command that the workflow runs, in a process of its own. SAEs are TopK with random rows: as many of
their latents fire on a row as of a trained SAE, and that number sets time and memory. Half of the larger SAE's latents
are near-copies of the smaller one's, so that there are components to swap.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from results_file import machine, write_section

LIBRARY = Path(__file__).parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

WORK = Path("results/bench/stitch")
WIDTH, K, THREADS = 768, 40, 2
ROWS = 100_000
# Latents of both SAEs, and rows.
PATH = (768, 1_536, ROWS)
INSERTION = (12_288, 24_576, 10_000)
COMPARED = 32_768
GOAL = 60  # seconds, of the path and of `compare`


def write_sae(name: str, rows: np.ndarray) -> Path:
    """A TopK SAE with these rows (n_latents, WIDTH) as encoder and decoder."""
    from sae_stability.sae.formats import own
    from sae_stability.sae.weights import Weights

    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    zeros = np.zeros(len(rows), np.float32), np.zeros(WIDTH, np.float32)
    own.write(WORK / name, Weights(rows, rows, *zeros, activation="topk", k=K))
    return WORK / name


def write_pair(n_small: int, n_large: int, common: int, noise: float) -> list[Path]:
    """Two SAEs; the first `common` latents of the second one are near-copies of the first one's."""
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((n_small, WIDTH)), rng.standard_normal((n_large, WIDTH))
    large[:common] = small[:common] + noise * large[:common]
    return [write_sae("small", small), write_sae("large", large)]


def write_rows(rows: int) -> Path:
    """Random held-out rows, without text."""
    from sae_stability.activations.matrix import import_matrix

    matrix = WORK / "matrix.npy"
    np.save(matrix, np.random.default_rng(1).normal(size=(rows, WIDTH)).astype(np.float32))
    chunk = WORK / f"rows-{rows}"
    sizes = {"heldout_rows": rows, "train_rows": 0, "chunk_rows": rows, "shard_rows": 25_000}
    import_matrix(matrix=matrix, chunk="heldout", dtype="float16", out=chunk, **sizes)
    return chunk


class Spent(NamedTuple):
    """What a job took: seconds, seconds of all processors together, and its largest memory, in bytes."""

    seconds: float
    processor: float
    memory: int


def job(*words: str | Path) -> Spent:
    """Run a verb of the library."""
    command = [sys.executable, "-m", "sae_stability", *map(str, words), "--threads", str(THREADS)]
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(LIBRARY)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return Spent(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def stitched(n_small: int, n_large: int, rows: int) -> Spent:
    """Stitch two SAEs."""
    small, large = write_pair(n_small, n_large, n_small // 2, 0.5)
    chunk = write_rows(rows)
    return job("stitch", "--sae", f"0={small}", "--sae", f"1={large}", "--chunk", chunk, "--out", f"0-1={WORK / 'out'}")


def verdict(spent: Spent) -> str:
    """Seconds beside what is allowed. Beside other work, what each core computed is the better guide."""
    each = spent.processor / THREADS
    return f"{spent.seconds:.0f} s, in which each core computed **{each:.0f} s** of the {GOAL} s allowed"


def path_line() -> str:
    """On the path from one SAE to another."""
    spent = stitched(*PATH)
    small, large, rows = PATH
    return (
        f"- Interpolation {small:,} to {large:,} latents on {rows:,} rows, with every insertion and swap: "
        f"{verdict(spent)}; at most {spent.memory / 1e6:,.0f} MB."
    )


def insertion_line() -> str:
    """On large SAEs: few rows are timed, since time is proportional to them and memory does not depend on them."""
    small, large, rows = INSERTION
    short, long = stitched(small, large, rows // 2), stitched(small, large, rows)
    rate = (rows - rows // 2) / max(long.processor - short.processor, 1e-9) * THREADS
    fixed = max(0.0, short.processor / THREADS - rows // 2 / rate)
    products = 2 * 2 * (small + large) * WIDTH * ROWS
    return (
        f"- Insertion test {small:,} to {large:,} latents, with every swap and the whole path: {long.processor:.0f} s "
        f"of processor time for {rows:,} rows ({long.seconds:.0f} s), {short.processor:.0f} s for half as many; so "
        f"{rate:,.0f} rows a second on {THREADS} cores and {fixed:.0f} s besides, "
        f"**{(fixed + ROWS / rate) / 60:.0f} minutes** for {ROWS:,} rows. Encoders and decoders alone take "
        f"{products:.1e} operations for these. Memory: {short.memory / 1e6:,.0f} MB and {long.memory / 1e6:,.0f} MB, "
        "bounded by the SAEs and a block of rows."
    )


def compare_line() -> str:
    """On `compare`."""
    spent = job("compare", *write_pair(COMPARED, COMPARED, COMPARED // 2, 0.5))
    return (
        f"- `compare` of two SAEs of {COMPARED:,} latents, with both floors: {verdict(spent)}; at most "
        f"{spent.memory / 1e9:.1f} GB."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    head = f"`python bench/stitch.py`: {machine(('torch', 'numba', 'numpy'))}. Load average before: {load:.1f}.\n"
    head += f"Width {WIDTH}, TopK with k = {K}, {THREADS} threads; seconds include the start of the process.\n\n"
    lines: list[str] = []
    for measure in (path_line, compare_line, insertion_line):
        lines.append(measure())
        write_section("Stitching and comparing", head + "\n".join(lines))
