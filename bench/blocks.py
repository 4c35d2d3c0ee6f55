"""Four SAEs that differ in their seed, trained in one job or in four, on the same synthetic activations.

    python bench/blocks.py     # about 5 minutes on 2 cores; writes bench/RESULTS.md

Every job is the command that the workflow runs, in a process of its own. The ways are measured in turn, three times,
and each column shows the smallest value.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from results_file import machine, write_section

LIBRARY = Path(__file__).parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

WORK = Path("results/bench/blocks")
CHUNK = WORK / "chunk-0000"
ROWS, WIDTH, SHARD, ACTIVE = 200_000, 384, 50_000, 16
SEEDS = (0, 1, 2, 3)
ROUNDS = 3
# The base cohort of the embedded study, each row seen once.
SETTINGS = {"n_latents": 384, "k": 16, "batch_size": 256, "learning_rate": 4.6e-4, "warmup_steps": 100}
SETTINGS |= {"tokens": ROWS, "chunk_tokens": ROWS, "normalisation": "centre-scale", "dead_tokens": 200_000}


@dataclass(frozen=True)
class Way:
    """A way to train the SAEs: jobs of `seeds` SAEs with `threads` threads each, `at_a_time` of them side by side."""

    name: str
    seeds: int
    threads: int
    at_a_time: int


WAYS = (
    Way("four jobs, one after the other", 1, 1, 1),
    Way("four jobs, two at a time", 1, 1, 2),
    Way("one job", 4, 1, 1),
    Way("one job", 4, 2, 1),
    Way("two jobs of two, both at a time", 2, 1, 2),
)


def write_activations() -> None:
    """Sums of 16 of 1,024 random directions, with coefficients from 0.5 to 1.5, in shards of 50,000 rows."""
    from sae_stability.activations.matrix import import_matrix

    WORK.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    directions = random.normal(size=(1024, WIDTH)).astype(np.float32) / WIDTH**0.5
    matrix = np.empty((ROWS, WIDTH), np.float32)
    for first in range(0, ROWS, SHARD):
        codes = np.zeros((SHARD, len(directions)), np.float32)
        chosen = random.integers(len(directions), size=(SHARD, ACTIVE))
        np.put_along_axis(codes, chosen, random.random(chosen.shape, np.float32) + np.float32(0.5), axis=1)
        matrix[first : first + SHARD] = codes @ directions
    np.save(WORK / "matrix.npy", matrix)
    sizes = {"heldout_rows": 0, "train_rows": ROWS, "chunk_rows": ROWS, "shard_rows": SHARD}
    import_matrix(
        matrix=WORK / "matrix.npy",
        chunk=0,
        dtype="float16",
        out=CHUNK,
        **sizes,
    )


def job(seeds: tuple[int, ...], threads: int) -> float:
    """Run one job; return the seconds of its steps alone, from its `timing.json`."""
    words = {"chunk": CHUNK, "threads": threads, **SETTINGS}
    command = [sys.executable, "-m", "sae_stability", "train"]
    command += [str(word) for name, value in words.items() for word in (f"--{name.replace('_', '-')}", value)]
    for seed in seeds:
        command += ["--init-seed", str(seed), "--out", str(WORK / f"seed-{seed}")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(LIBRARY)}, stderr=subprocess.PIPE)
    timing = json.loads((WORK / f"seed-{seeds[0]}" / "timing.json").read_text())
    return ROWS / timing["tokens_per_second"]


def measured(way: Way) -> dict:
    """Wall-clock seconds of all jobs, seconds of the steps alone, and processor seconds."""
    jobs = [SEEDS[first : first + way.seeds] for first in range(0, len(SEEDS), way.seeds)]
    started, used = time.perf_counter(), processor_seconds()
    with ThreadPoolExecutor(way.at_a_time) as pool:
        steps = list(pool.map(lambda seeds: job(seeds, way.threads), jobs))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "steps": sum(steps) / way.at_a_time, "processor": processor_seconds() - used}


def processor_seconds() -> float:
    """Processor seconds of all jobs so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def same_saes(known: dict[int, bytes]) -> None:
    """Stop unless this way made the same SAEs as the ways before, which `known` holds by seed."""
    for seed in SEEDS:
        content = (WORK / f"seed-{seed}" / "sae.safetensors").read_bytes()
        if known.setdefault(seed, content) != content:
            sys.exit(f"seed {seed}: not the same SAE as before")


def report(best: dict[Way, dict], load: float) -> str:
    """The section of RESULTS.md."""
    lines = [
        f"`python bench/blocks.py`: {machine(('numpy', 'torch', 'numba'))}.",
        f"{len(SEEDS)} TopK SAEs (d = {WIDTH}, {SETTINGS['n_latents']} latents, k = {SETTINGS['k']}, batches of "
        f"{SETTINGS['batch_size']}) on {ROWS:,} synthetic",
        f"activations each, float16 on disk. Each column: smallest of {ROUNDS} rounds; `steps` leaves out",
        "process start and writing. Tokens count once for each SAE. Every way makes the same SAEs, byte for byte.",
        f"Load average before the first job: {load:.1f} (from 0.5, other work slowed these jobs down).",
        "",
        "| how | threads a job | threads in all | seconds | tokens/s | tokens/s, steps | processor seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    tokens = len(SEEDS) * ROWS
    for way, run in best.items():
        lines.append(
            f"| {way.name} | {way.threads} | {way.threads * way.at_a_time} | {run['seconds']:.1f} "
            f"| {tokens / run['seconds']:,.0f} | {tokens / run['steps']:,.0f} | {run['processor']:.1f} |"
        )
    lines += ["", "On one GPU: see the section GPU (`make bench-gpu`)."]
    return "\n".join(lines)


def main() -> None:
    load = os.getloadavg()[0]
    write_activations()
    known: dict[int, bytes] = {}
    job(SEEDS[:1], 1)  # compiles the kernels, once
    runs: dict[Way, list[dict]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            runs[way].append(measured(way))
            print(way, runs[way][-1], flush=True)
            same_saes(known)
    best = {way: {name: min(run[name] for run in of_way) for name in of_way[0]} for way, of_way in runs.items()}
    write_section("Several seeds in one job", report(best, load))
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
