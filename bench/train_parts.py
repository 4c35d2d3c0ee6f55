"""The parts of a training step, each with its lower bound; and how long training waits for data.

Times are processor milliseconds a step, summed over threads. The clock of a part runs in the thread that computes it.
"""

import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from sae_stability.activations import reader
from sae_stability.sae.training import train
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.kernels import cpu_topk
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.workers import Workers

KERNELS = ("centre", "select", "decode", "count_by_latent", "sort_by_latent", "update_latents")


def settings_for(shape: dict, rows: int, steps: int) -> TrainSettings:
    tokens = steps * shape["batch_size"]
    epochs = -(-tokens // rows)
    return TrainSettings(
        n_latents=shape["n_latents"],
        k=shape["k"],
        tokens=tokens,
        chunk_tokens=-(-tokens // epochs),
        epochs=epochs,
        batch_size=shape["batch_size"],
        learning_rate=shape["rate"] * (shape["n_latents"] / 2**14) ** 0.5,
        normalisation="centre-scale",
    )


def waiting(chunk: Path, shape: dict, steps: int) -> dict:
    """Run a whole job of `train_chunk`; seconds and steps of its loop, and seconds spent waiting for batches."""
    waited, inner, loop = [0.0], reader.batches, train._Loop.run
    measured_loop = {}

    def batches(*args, **kwargs):
        stream = inner(*args, **kwargs)
        while True:
            started = time.perf_counter()
            batch = next(stream, None)
            waited[0] += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def run(self, *args):
        waited[0] = 0.0
        loop(self, *args)
        measured_loop.update(seconds=self.seconds, steps=self.steps_run, waited=waited[0])

    reader.batches, train._Loop.run = batches, run
    try:
        settings = settings_for(shape, reader.Chunk(chunk).rows, steps)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "sae"
            train.train_chunk(chunk=chunk, chunk_index=0, settings=settings, out=out, threads=shape["threads"])
    finally:
        reader.batches, train._Loop.run = inner, loop
    return measured_loop


class Clock:
    """Seconds by name, added up over threads."""

    def __init__(self):
        self.seconds, self.lock = defaultdict(float), threading.Lock()

    def wrap(self, name, function):
        def timed(*args, **kwargs):
            started = time.thread_time()
            result = function(*args, **kwargs)
            with self.lock:
                self.seconds[name] += time.thread_time() - started
            return result

        return timed


def parts(chunk: Path, shape: dict, steps: int) -> dict[str, float]:
    """Processor milliseconds a step of each part."""
    data, clock = reader.Chunk(chunk), Clock()
    settings = settings_for(shape, data.rows, 3 * steps)
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    weights = initial_weights(shape["n_latents"], data.d_model, 0, "bench")
    weights["decoder_bias"] = np.zeros(data.d_model, np.float32)
    # Not `reader.batches`, which makes them in another thread: the clock runs in the thread that takes them.
    pieces = reader._pieces(data, data.rows, 0, skip=0, count=4 * steps * shape["batch_size"])
    batches = reader._regroup(reader._read_ahead(data, pieces, reader.CPU), shape["batch_size"])
    with Workers(shape["threads"]) as workers:
        training = CpuTopKStep(weights, settings, normalisation, workers)
        for _ in range(steps):
            training.step(next(batches), shape["rate"])
        originals = {name: getattr(cpu_topk, name) for name in KERNELS}
        product, take = torch.mm, clock.wrap("data", lambda: next(batches))
        for name, function in originals.items():
            setattr(cpu_topk, name, clock.wrap(name, function))
        torch.mm = clock.wrap("product", product)
        try:
            started = time.process_time()
            for _ in range(steps):
                training.step(take(), shape["rate"])
            total = time.process_time() - started
        finally:
            torch.mm = product
            for name, function in originals.items():
                setattr(cpu_topk, name, function)
        clock.seconds["optimiser"] = steps * _optimiser_alone(training)
    seconds = clock.seconds
    seconds["gradients"] = seconds.pop("update_latents") - seconds["optimiser"]
    seconds["sorting"] = seconds.pop("count_by_latent") + seconds.pop("sort_by_latent")
    seconds["everything else"] = total - sum(seconds.values())
    seconds["whole step"] = total
    return {name: value / steps * 1e3 for name, value in seconds.items()}


def _optimiser_alone(training: CpuTopKStep) -> float:
    """Processor seconds of one update of all latents with empty gradients: Adam and the decoder's norm."""
    training.touched[:] = True
    training.offsets[:] = 0
    names = ("encoder", "decoder", "encoder_bias")
    tensors = (tuple(d[n] for n in names) for d in (training.parameters, training.first, training.second))
    arguments = (training.offsets, *training.sorted, training.error, training.inputs, *tensors, training.touched)
    factors = (np.float32(0), np.float32(1), training.constants)
    block, n_latents = training.block, training.settings.n_latents

    def update(low, high):
        cpu_topk.update_latents(low, high, *arguments, block, training.bias_parts, factors)

    times = []
    for _ in range(5):
        started = time.process_time()
        training.workers.each(n_latents, block if training.workers.threads > 1 else n_latents, update)
        times.append(time.process_time() - started)
    return float(np.median(times))


class Rates:
    """The best rates of this machine for one thread while `threads` threads are at work."""

    def __init__(self, threads: int):
        self.threads = threads

    def product(self) -> float:
        """float32 operations a second in a large product."""
        a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
        outs = [torch.empty(1024, 1024) for _ in range(self.threads)]
        return 2 * 1024**3 / self._fastest(lambda t: torch.mm(a, b, out=outs[t]))

    def copy(self, size: int) -> float:
        """Bytes a second, read and written, of copies within `size` bytes."""
        pairs = [np.ones((2, max(1024, size // 8)), np.float32) for _ in range(self.threads)]
        repeats = max(1, 2**24 // size)

        def copies(t):
            for _ in range(repeats):
                np.copyto(pairs[t][1], pairs[t][0])

        return repeats * pairs[0].nbytes / self._fastest(copies)

    def _fastest(self, work) -> float:
        def timed(t):
            torch.set_num_threads(1)
            started = time.thread_time()
            work(t)
            return time.thread_time() - started

        with ThreadPoolExecutor(self.threads) as pool:
            runs = [max(pool.map(timed, range(self.threads))) for _ in range(12)]
        return min(runs)


def bounds(shape: dict, d: int) -> dict[str, tuple[float, str]]:
    """The least processor milliseconds that each part needs, and why."""
    n, k, batch, rates = shape["n_latents"], shape["k"], shape["batch_size"], Rates(shape["threads"])
    tile = 4 * n * max(256, min(512, batch // 8))

    def moved(size: float, within: int, label: str) -> tuple[float, str]:
        rate = rates.copy(within)
        return size / rate * 1e3, f"{label}: {size / 1e6:.1f} MB at {rate / 1e9:.0f} GB/s"

    rate, operations = rates.product(), 2 * batch * n * d
    product = (operations / rate * 1e3, f"{operations / 1e9:.2f} G operations at {rate / 1e9:.0f} G/s (large product)")
    return {
        "product": product,
        "select": moved(4 * batch * n, tile, "pre-activations read once"),
        "decode": moved(4 * batch * k * d, 4 * n * d, "a decoder row for each entry"),
        "gradients": moved(8 * batch * k * d, 8 * batch * d, "an input and an error row for each entry"),
        "optimiser": moved(48 * n * d, 24 * n * d, "weights and moments read and written"),
        "centre": moved(8 * batch * d, 8 * batch * d, "inputs read and written"),
        "data": moved(6 * batch * d, 2**28, "float16 rows read, float32 written"),
    }


def table(measured: dict[str, float], bound: dict[str, tuple[float, str]]) -> list[str]:
    names = {"product": "dense product", "select": "selection", "gradients": "sparse gradients"}
    names |= {"optimiser": "Adam and decoder norm", "centre": "normalisation"}
    lines = ["| part | ms | bound, ms | what bounds it |", "|---|---|---|---|"]
    order = ["product", "select", "decode", "sorting", "gradients", "optimiser", "centre", "data", "everything else"]
    for name in [*order, "whole step"]:
        least, why = bound.get(name, (None, ""))
        lines.append(
            f"| {names.get(name, name)} | {measured[name]:.2f} | {'' if least is None else f'{least:.2f}'} | {why} |"
        )
    return lines
