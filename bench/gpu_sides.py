"""Training steps that `bench/gpu.py` times, each side in a process of its own so that peak memory is its own.

    python bench/gpu_sides.py ours|sparsify|job '{"n_latents": 32768, "d_model": 768, "k": 32, "batch": 8192, ...}'

Prints a line of JSON. Both sides: Adam at one learning rate, unit decoder rows, no auxiliary loss, the same
activations, already on the device. `job` is a whole training with our code, of several seeds, from shards on disk.
"""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

RATE = 1e-4
WARM_UP, STEPS, BATCHES = 10, 20, 4
SHARDS, SHARD_ROWS, EPOCHS = 64, 131072, 3


def activations(rows: int, d_model: int, device: str = "cuda", seed: int = 0) -> torch.Tensor:
    """(rows, d_model) float32: sums of 16 of 4 * d_model features, some far more frequent than others, and noise."""
    random = torch.Generator(device).manual_seed(seed)
    features = torch.randn(4 * d_model, d_model, generator=random, device=device) / d_model**0.5
    frequent = 1 / torch.arange(1, len(features) + 1, device=device)
    index = torch.multinomial(frequent.expand(rows, -1), 16, generator=random)
    weights = torch.rand(rows, 16, generator=random, device=device) + 0.5
    sums = torch.nn.functional.embedding_bag(index, features, per_sample_weights=weights, mode="sum")
    return sums + 0.1 * torch.randn(rows, d_model, generator=random, device=device) / d_model**0.5 + 0.3


def training(shape: dict, seed: int, batch: torch.Tensor):
    """Our training step for CUDA, with new weights."""
    from sae_stability.sae.training.initial_weights import initial_weights
    from sae_stability.sae.training.normalisation import Normalisation
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.steps import topk_triton

    topk_triton.TILE_BYTES = shape.get("tile_bytes", topk_triton.TILE_BYTES)
    sizes = {"n_latents": shape["n_latents"], "k": shape["k"], "batch_size": len(batch)}
    sizes |= {"tokens": 2**40, "chunk_tokens": 2**40, "product_dtype": shape["dtype"]}
    settings = TrainSettings(**sizes, **shape.get("settings", {}))
    weights = initial_weights(shape["n_latents"], shape["d_model"], seed, "bench")
    weights["decoder_bias"] = batch.mean(0).cpu().numpy()
    nothing = Normalisation(0 * weights["decoder_bias"], 1.0)
    return topk_triton.TritonTopKStep(weights, settings, nothing, batch.device)


def ours(shape: dict, batch: torch.Tensor):
    """A function that takes one step of ours and returns its FVU."""
    step = training(shape, 0, batch)
    return lambda x: step.step(x, RATE).fvu


def sparsify(shape: dict, batch: torch.Tensor):
    """The step of sparsify's `Trainer.fit`, written out as the trainer needs a language model; bfloat16 by autocast."""
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.utils import decoder_impl

    if decoder_impl.__name__ != "triton_decode":
        raise SystemExit("sparsify does not use its Triton kernels here")
    torch.manual_seed(0)
    config = SparseCoderConfig(num_latents=shape["n_latents"], k=shape["k"])
    coder = SparseCoder(shape["d_model"], config, device=batch.device, dtype=torch.float32)
    coder.b_dec.data = batch.mean(0)
    optimiser = torch.optim.Adam(coder.parameters(), lr=RATE)
    silent = torch.zeros(shape["n_latents"], dtype=torch.long, device=batch.device)

    def step(x) -> torch.Tensor:
        coder.set_decoder_norm_to_unit_norm()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=shape["dtype"] == "bfloat16"):
            out = coder(x, total_variance=(x - x.mean(0)).pow(2).sum())
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        silent.add_(len(x))[out.latent_indices.flatten()] = 0
        return out.fvu.detach()

    return step


def write_chunk(folder: Path, d_model: int, device: str = "cuda") -> Path:
    """Write a chunk of SHARDS shards of float16 activations, unless it exists."""
    from safetensors.torch import save_file

    from sae_stability.files import sha256, write_json

    chunk = folder / "chunk-0000"
    if (chunk / "manifest.json").exists():
        return chunk
    chunk.mkdir()
    entries, total, norm = [], 0, 0.0
    for number in range(SHARDS):
        rows = activations(SHARD_ROWS, d_model, device, seed=number)
        total, norm = total + rows.sum(0, dtype=torch.float64), norm + float((rows - rows.mean(0)).norm(dim=1).mean())
        name = f"shard-{number:04d}.safetensors"
        index = torch.arange(number * SHARD_ROWS, (number + 1) * SHARD_ROWS)
        save_file({"activations": rows.half().cpu(), "token_index": index}, chunk / name)
        entries.append({"name": name, "rows": SHARD_ROWS, "sha256": sha256(chunk / name)})
    manifest = {"format": "sae-stability activations 1", "model": "synthetic", "revision": None, "hookpoint": "here"}
    manifest |= {"dtype": "float16", "d_model": d_model, "rows": SHARDS * SHARD_ROWS, "context_length": 1}
    manifest |= {"shards": entries, "mean": (total / SHARDS / SHARD_ROWS).tolist(), "mean_centred_norm": norm / SHARDS}
    write_json(chunk / "manifest.json", manifest)
    return chunk


def job(shape: dict, device: str = "cuda") -> dict:
    """Measure a whole training: activations a second times seeds, and the share of time spent waiting for a batch.

    Both for the first epoch, in which shards are read and checked, and for the epochs after it.
    """
    from sae_stability.activations import reader
    from sae_stability.sae.training.job import SaeJob
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.train import train_block

    folder, rows, seeds = Path(shape["folder"]), SHARDS * SHARD_ROWS, shape["seeds"]
    chunk = write_chunk(folder, shape["d_model"], device)
    sizes = {"n_latents": shape["n_latents"], "k": shape["k"], "batch_size": shape["batch"], "learning_rate": RATE}
    sizes |= {"tokens": rows * EPOCHS, "chunk_tokens": rows, "epochs": EPOCHS, "product_dtype": shape["dtype"]}
    saes = [SaeJob(settings=TrainSettings(**sizes, init_seed=seed)) for seed in range(seeds)]
    results = _shard_rates(chunk, torch.device(device))
    original, moments, waited = reader.batches, [], []

    def timed(*arguments, **options):
        source = original(*arguments, **options)
        while True:
            started = time.perf_counter()
            batch = next(source, None)
            moments.append(time.perf_counter())
            waited.append(moments[-1] - started)
            if batch is None:
                return
            yield batch

    reader.batches = timed
    train_block(saes, chunk=chunk, chunk_index=0, device=device, progress=False)
    # Every sixteenth step waits for the device, so only these moments show its speed; the first steps compile.
    steps = (len(moments) - 1) // EPOCHS
    spans = {"first": (16, steps // 16 * 16), "later": (steps // 16 * 16, (len(moments) - 1) // 16 * 16)}
    for name, (first, last) in spans.items():
        seconds = moments[last] - moments[first]
        results[name] = seeds * shape["batch"] * (last - first) / seconds
        results[f"{name} waiting"] = sum(waited[first + 1 : last + 1]) / seconds
    return results


def _shard_rates(chunk: Path, device: torch.device) -> dict:
    """Rates at which one thread checks a shard and copies it to the device, GB a second."""
    from sae_stability.activations import reader
    from sae_stability.files import sha256

    path = min(chunk.glob("shard-*"))
    moments = []
    for _ in range(2):  # the first time reads the file from disk and pins memory
        moments = [time.perf_counter()]
        sha256(path)
        moments.append(time.perf_counter())
        reader._moved(reader.Chunk(chunk).shard(0)[0], device)
        moments.append(time.perf_counter())
    reader._verified.clear()
    size = path.stat().st_size / 1e9
    return {"checking": size / (moments[1] - moments[0]), "copying": size / (moments[2] - moments[1])}


def main(side: str, shape: dict) -> None:
    """Time STEPS steps, `runs` times, after WARM_UP steps; print the median run's seconds per step."""
    if side == "job":
        print(json.dumps(job(shape)))
        return
    batches = activations(shape["batch"] * BATCHES, shape["d_model"]).split(shape["batch"])
    data = torch.cuda.memory_allocated()
    step = {"ours": ours, "sparsify": sparsify}[side](shape, batches[0])
    torch.cuda.reset_peak_memory_stats()
    for i in range(WARM_UP):
        step(batches[i % BATCHES])
    seconds = []
    for _ in range(shape.get("runs", 5)):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for i in range(STEPS):
            fvu = step(batches[i % BATCHES])
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - started) / STEPS)
    peak = torch.cuda.max_memory_allocated() - data
    print(json.dumps({"seconds": sorted(seconds)[len(seconds) // 2], "peak_bytes": peak, "fvu": float(fvu)}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
