"""Time and memory of the statistics of firing; writes bench/RESULTS.md.

    make run                   # first, for the held-out rows of the embedded study
    python bench/firing.py     # about a minute on 2 cores

Every job is the command that the workflow runs, in a process of its own. SAEs are TopK with random rows: as many of
their latents fire on a row as of a trained SAE, and that number sets time and memory.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from results_file import machine, write_section

LIBRARY = Path(__file__).parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

WORK = Path("results/bench/firing")
HOOKPOINT = "encoder.layer.3.output.dense"
SAES, LATENTS, K, WIDTH = 50, 384, 16, 384
GOAL = 60  # seconds
# Latents, width, rows and k of the jobs whose memory is measured, of one that it is counted from, and of one too large
# for a benchmark.
SIZES = ((8_192, 256, 50_000, 32), (16_384, 256, 100_000, 32))
SMALL = (64, 256, 1_000, 8)
LARGE = (131_072, 768, 10_000_000, 32)
SHARD, THREADS = 25_000, 2


def write_sae(folder: Path, n_latents: int, width: int, k: int, seed: int) -> Path:
    """A TopK SAE with random rows."""
    from sae_stability.sae.formats import own
    from sae_stability.sae.training.initial_weights import initial_weights
    from sae_stability.sae.weights import Weights

    weights = initial_weights(n_latents, width, seed, HOOKPOINT)
    own.write(folder, Weights(**weights, decoder_bias=np.zeros(width, np.float32), activation="topk", k=k))
    return folder


def write_rows(width: int, rows: int) -> Path:
    """Random held-out rows, without text."""
    from sae_stability.activations.matrix import import_matrix

    matrix = WORK / "matrix.npy"
    np.save(matrix, np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32))
    sizes = {"heldout_rows": rows, "train_rows": 0, "chunk_rows": SHARD, "shard_rows": SHARD}
    chunk = WORK / f"rows-{rows}"
    import_matrix(matrix=matrix, chunk="heldout", dtype="float16", out=chunk, **sizes)
    return chunk


def job(saes: list[Path], chunk: Path, *words: str) -> tuple[float, int]:
    """Measure the firing of some SAEs in one job; return its seconds and its largest memory, in bytes."""
    command = [sys.executable, "-m", "sae_stability", "firing", "--chunk", str(chunk), "--work", str(WORK), *words]
    command += ["--threads", str(THREADS)]
    for name, sae in enumerate(saes):
        command += ["--sae", f"{name}={sae}", "--out", f"{name}={WORK / 'tables' / f'{name}.parquet'}"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(LIBRARY)})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def arrays(n_latents: int, width: int, rows: int, k: int) -> int:
    """The arrays that a job on one SAE holds at most, in bytes; see `FiringSorter` and `job.collect`."""
    from sae_stability.firing.firings import _ENTRY, _WAITING, GROUP
    from sae_stability.firing.job import _BLOCK_ENTRIES, _BLOCK_ROWS

    entry = _ENTRY.itemsize
    kept = 2 * 4 * n_latents * width  # encoder and decoder
    kept += 2 * 8 * rows  # token indices, as they come and joined
    kept += 2 * SHARD * width * (4 + 2)  # two shards, as read and as float32
    blocks = (THREADS + 2) * 4 * max(_BLOCK_ENTRIES, _BLOCK_ROWS * n_latents)  # dense activations
    waiting = 3 * _WAITING * entry  # as they come, joined, and in order
    # Firings of the latents sorted at once, if all fire equally often: as read, in order, and what orders them.
    group = min(1.0, GROUP / n_latents) * rows * k * (2 * entry + 8 + 2)
    return int(kept + max(blocks + waiting, group))


def timed(results: Path) -> str:
    """Lines on the time of 50 small SAEs."""
    chunk = results / "activations" / "minilm" / HOOKPOINT / "heldout"
    tokens = results / "tokens" / "minilm-docstrings"
    saes = [write_sae(WORK / "saes" / f"{seed}", LATENTS, WIDTH, K, seed) for seed in range(SAES)]
    seconds, memory = job(saes, chunk, "--tokens", str(tokens))
    verdict = "within" if seconds < GOAL else "above"
    return (
        f"{SAES} TopK SAEs of {LATENTS} latents, k = {K}, on the 40,000 held-out rows of the embedded study,\n"
        f"statistics of tokens and documents included, start of the process too: **{seconds:.0f} s**, {verdict} the "
        f"{GOAL} s allowed; at most {memory / 1e6:,.0f} MB."
    )


def remembered() -> str:
    """Lines on the memory of single SAEs."""
    lines = [
        "Memory of a job on one SAE, statistics alone. *Arrays* is counted from what the code holds (`arrays` in "
        "`bench/firing.py`);\n*measured* is the job's largest memory less that of a job on "
        f"{SMALL[0]} latents and {SMALL[2]:,} rows, for Python and its libraries.",
        "",
        "| latents | width | rows | k | arrays, MB | measured, MB |",
        "|---|---|---|---|---|---|",
    ]
    _, base = job([write_sae(WORK / "sae", *SMALL[:2], SMALL[3], 0)], write_rows(*SMALL[1:3]))
    for n, width, rows, k in SIZES:
        _, memory = job([write_sae(WORK / "sae", n, width, k, 0)], write_rows(width, rows))
        counted, measured = arrays(n, width, rows, k), memory - base
        lines.append(f"| {n:,} | {width} | {rows:,} | {k} | {counted / 1e6:,.0f} | {measured / 1e6:,.0f} |")
    n, width, rows, k = LARGE
    lines.append(f"| {n:,} | {width} | {rows:,} | {k} | {arrays(*LARGE) / 1e6:,.0f} | not measured |")
    return "\n".join(
        [
            *lines,
            "",
            f"So statistics of {n:,} latents on {rows:,} rows take {arrays(*LARGE) / 1e9:.1f} GB, and "
            f"{base / 1e9:.1f} GB for Python and its libraries.",
            f"All firings, {rows * k:,}, lie on the disk, {rows * k * 20 / 1e9:.0f} GB while they are sorted. The",
            f"product with the encoder takes {2 * n * width * rows:.0e} operations. Contexts come on top, those of one",
            "SAE at a time; `plan` counts them.",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results of the embedded study")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    body = f"`python bench/firing.py`: {machine(('torch', 'numba', 'numpy'))}.\nLoad average before: {load:.1f}.\n\n"
    write_section("Firing", f"{body}{timed(given.results)}\n\n{remembered()}")
