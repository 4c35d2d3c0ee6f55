"""All checks and measurements on a GPU, in one run; writes the section GPU of bench/RESULTS.md.

    python bench/gpu.py                    # checks, speed, parts, sparsify beside it, matching
    python bench/gpu.py --only checks speed parts

sparsify is measured if it can be imported, or if SPARSIFY_PYTHON names a Python that has eai-sparsify 1.3.3 and the
same torch. Without a CUDA device and Triton nothing is measured, and the exit status is 1. Checks come first: if one
fails, the run fails, and nothing is written.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))
SIDES = Path(__file__).with_name("gpu_sides.py")
SHAPE = {"n_latents": 32768, "d_model": 768, "k": 32}
DTYPES, BATCH = ("float32", "bfloat16"), 8192
CASES = [
    ("float32", BATCH),
    ("bfloat16", BATCH),
    ("bfloat16", 2 * BATCH),
    ("bfloat16", 65536),
]  # the last is sparsify's default batch
JOBS = (1, 4)  # seeds
JOB_TEXT = "64 shards of 131,072 float16 activations, 3 epochs"
MATCH = (131072, 4096)
NOT = "not measured"


def device_and_versions() -> str:
    """Names of the device and its driver, and versions of the packages."""
    import torch
    import triton

    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    properties = torch.cuda.get_device_properties(0)
    versions = f"torch {torch.__version__}, triton {triton.__version__}, CUDA {torch.version.cuda}"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, driver {driver}; {versions}"


def rates() -> dict:
    """Rate of a large matrix product in each dtype (operations a second), and copy bandwidth (bytes a second)."""
    import torch
    from triton.testing import do_bench

    results = {}
    for dtype in DTYPES:
        a, b = (torch.randn(8192, 8192, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
        results[dtype] = 2 * 8192**3 / do_bench(lambda a=a, b=b: a @ b, return_mode="median") * 1e3
    source = torch.randn(2**29, device="cuda")
    target = torch.empty_like(source)
    results["bytes"] = 2 * source.nbytes / do_bench(lambda: target.copy_(source), return_mode="median") * 1e3
    return results


def measured(side: str, shape: dict, python: str = sys.executable) -> dict | None:
    """The result of `gpu_sides.py`; None if it fails, after printing the last line of its errors."""
    done = subprocess.run([python, str(SIDES), side, json.dumps(shape)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{side} {shape}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    result = json.loads(done.stdout.splitlines()[-1])
    print(side, shape, result, flush=True)
    return result


def speed(results: dict) -> None:
    """Measure our step and sparsify's for every dtype and batch size."""
    peer = os.environ.get("SPARSIFY_PYTHON") or (sys.executable if importlib.util.find_spec("sparsify") else None)
    for dtype, batch in CASES:
        shape = SHAPE | {"dtype": dtype, "batch": batch}
        results[f"ours {dtype} {batch}"] = measured("ours", shape)
        if peer:
            results[f"sparsify {dtype} {batch}"] = measured("sparsify", shape, peer)


def jobs(results: dict) -> None:
    """Measure whole jobs of one and of several seeds, from shards on disk."""
    with tempfile.TemporaryDirectory() as folder:
        for seeds in JOBS:
            shape = SHAPE | {"dtype": "bfloat16", "batch": BATCH, "seeds": seeds, "folder": folder}
            results[f"job {seeds}"] = measured("job", shape)


def parts(results: dict) -> None:
    """Measure each part of a step at batch BATCH in milliseconds, and compute its lower bound."""
    for dtype in DTYPES:
        rate = results["rates"]
        for name, (milliseconds, operations, count) in _parts(dtype).items():
            bound = max(operations / rate[dtype], count / rate["bytes"]) * 1e3
            results[f"part {dtype} {name}"] = (milliseconds, bound)


def _parts(dtype: str) -> dict[str, tuple[float, float, float]]:
    """For each part: milliseconds, operations of the matrix units, and bytes of device memory if each moves once."""
    import torch
    from gpu_sides import RATE, activations, training
    from triton.testing import do_bench_cudagraph

    from sae_stability.sae.training.kernels import triton_sparse as kernels
    from sae_stability.sae.training.kernels.triton_topk import largest
    from sae_stability.sae.training.kernels.triton_update import LatentTensors, update_latents
    from sae_stability.sae.training.steps import topk_triton

    (n, d, k), rows = SHAPE.values(), BATCH
    batch = activations(rows, d)
    step = training(SHAPE | {"dtype": dtype}, 0, batch)
    step.step(batch, RATE)
    bias, encoder, decoder = step.parameters["encoder_bias"], step.copies["encoder"].T, step.copies["decoder"]
    normalising = (batch, step.mean, 1.0, step.parameters["decoder_bias"], step.dtype)
    inputs, read, _ = kernels.prepare(*normalising)
    fired, _ = step._encode(read, step.silent[:0])
    error, gradient, _ = kernels.decode(inputs, decoder, *fired)
    entries, scale = topk_triton._listed(fired, gradient, 0), torch.tensor(1e-6, device="cuda")
    size = step.dtype.itemsize
    height = min(rows, topk_triton.TILE_BYTES // (n * size))
    tile = torch.empty(height, n, device="cuda", dtype=step.dtype)
    moments = [
        LatentTensors(*(of[name] for name in LatentTensors._fields))
        for of in (step.parameters, step.first, step.second)
    ]
    update_arguments = (
        *entries,
        error,
        read,
        scale,
        step.silent,
        *moments,
        (step.copies["encoder"], decoder),
        step.factors,
    )

    def product():
        for part in read.split(height):
            torch.mm(part, encoder, out=tile[: len(part)])

    def selection():
        for first in range(0, rows, height):
            part = slice(first, min(rows, first + height))
            largest(tile[: part.stop - first], bias, k, fired[0][part], fired[1][part])

    def timed(function, *arguments):
        return do_bench_cudagraph(lambda: function(*arguments), return_mode="median")

    work, parameters = 2 * rows * n * d, 2 * n * d * (6 * 4 + (size if size == 2 else 0))
    return {
        "normalisation, variance": (timed(kernels.prepare, *normalising), 0, rows * d * (8 + (2 if size == 2 else 0))),
        "product": (timed(product), work, 0),
        "selection": (timed(selection), 0, rows * n * size),
        "decode": (timed(kernels.decode, inputs, decoder, *fired), 0, n * d * size + rows * d * (4 + size)),
        "sort": (timed(lambda: torch.sort(entries[0], stable=True)), 0, 2 * rows * k * 12),
        "update, sort included": (
            timed(update_latents, *update_arguments, rows * k),
            0,
            parameters + 2 * rows * d * size,
        ),
        "whole step": (timed(step._advance, batch), work, parameters),
    }


def matching(results: dict) -> None:
    """Measure `match_rows` on the device at the largest size, for a pair like `match_cases.perturbed`."""
    import torch

    from sae_stability.match.assignment import match_rows

    n, d = MATCH
    random = torch.Generator("cuda").manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=random, device="cuda")

    common, noise = normal(n, d), 1.2 * torch.rand(n, 1, generator=random, device="cuda")
    dead = torch.rand(n, 1, generator=random, device="cuda") > 0.6
    a, b = (torch.where(dead, normal(n, d), common + noise * normal(n, d)).cpu().numpy() for _ in range(2))
    b = b[torch.randperm(n, generator=random, device="cuda").cpu().numpy()]
    del common
    torch.cuda.empty_cache()
    match_rows(a[:300], b[:300], device="cuda")
    result = match_rows(a, b, device="cuda")
    results["match"] = {
        "seconds": result.seconds,
        "gap": result.gap,
        "device": result.device,
        "peak": result.peak_bytes,
    }
    print(results["match"], flush=True)


def report(results: dict) -> str:
    """The section of RESULTS.md; anything that `results` lacks reads "not measured"."""
    n, d, k = SHAPE.values()
    rate = results.get("rates", {})
    lines = [
        f"`make bench-gpu`: {results.get('device', 'not measured on any device yet')}.",
        f"TopK, d = {d}, {n:,} latents, k = {k}, Adam, unit decoder rows, no AuxK; activations already on the device;",
        "sparsify 1.3.3 with its Triton kernels (bfloat16 by autocast), in the same run. Bound: the dense encoder",
        "product's 2 d n operations a token at the measured matrix rate. GB: peak of the step's own allocations,",
        f"{6 * n * d * 4 / 1e9:.2f} of them parameters and moments. 65,536 activations a batch are sparsify's default.",
        "",
        "Kernels equal their references; 50 steps, a resumed run and a whole training repeat bit for bit: "
        f"{results.get('checks', NOT)}.",
        "",
        "| measured | figure |",
        "|---|---|",
        f"| matrix rate, float32 without TF32, TFLOP/s | {_number(rate.get('float32'), 1e-12)} |",
        f"| matrix rate, bfloat16, TFLOP/s | {_number(rate.get('bfloat16'), 1e-12)} |",
        f"| copy bandwidth, read and written, TB/s | {_number(rate.get('bytes'), 1e-12, '.2f')} |",
        "",
        "| dtype | batch | tokens/s | of the bound | sparsify, tokens/s | faster | GB | sparsify, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_speed_line(results, *case) for case in CASES]
    names = ("normalisation, variance", "product", "selection", "decode", "sort", "update, sort included", "whole step")
    lines += ["", f"Parts of a step, batch {BATCH:,}, milliseconds (bound):", ""]
    lines += ["| part | " + " | ".join(DTYPES) + " |", "|---|---|---|"]
    for name in names:
        both = [results.get(f"part {dtype} {name}") for dtype in DTYPES]
        lines.append(f"| {name} | " + " | ".join(f"{b[0]:.2f} ({b[1]:.2f})" if b else NOT for b in both) + " |")
    lines += ["", f"A whole job in bfloat16, batches of {BATCH:,} from {JOB_TEXT}:", ""]
    lines += ["| seeds | activations/s x seeds, first epoch (sha256 checked) | later epochs | waiting, first | later |"]
    lines += ["|---|---|---|---|---|", *(_job_line(results, seeds) for seeds in JOBS)]
    if job := results.get(f"job {JOBS[0]}"):
        rates = f"checks {job['checking']:.1f} GB/s of shards and copies {job['copying']:.1f} GB/s to the device"
        lines += ["", f"One thread {rates}; one seed uses up {job['later'] * 2 * d / 1e9:.1f} GB/s."]
    match = results.get("match")
    words = NOT
    if match and match["device"] != "cpu":
        words = f"{match['seconds']:.0f} s, {match['peak'] / 1e9:.0f} GB of host memory, gap {match['gap']:.1e}"
    return "\n".join([*lines, "", f"Exact matching, {MATCH[0]:,} latents, width {MATCH[1]:,}: {words}."])


def _job_line(results: dict, seeds: int) -> str:
    job = results.get(f"job {seeds}")
    if not job:
        return f"| {seeds} | {NOT} | {NOT} | {NOT} | {NOT} |"
    waiting = (f"{job[f'{name} waiting']:.1%}" for name in ("first", "later"))
    return f"| {seeds} | {job['first']:,.0f} | {job['later']:,.0f} | " + " | ".join(waiting) + " |"


def _number(value: float | None, unit: float, form: str = ".0f") -> str:
    return NOT if value is None else format(value * unit, form)


def _speed_line(results: dict, dtype: str, batch: int) -> str:
    mine, peer = results.get(f"ours {dtype} {batch}"), results.get(f"sparsify {dtype} {batch}")
    cells = [NOT] * 6
    if mine:
        cells[0], cells[4] = f"{batch / mine['seconds']:,.0f}", f"{mine['peak_bytes'] / 1e9:.2f}"
        if "rates" in results:
            work = 2 * SHAPE["d_model"] * SHAPE["n_latents"] * batch
            cells[1] = f"{work / results['rates'][dtype] / mine['seconds']:.0%}"
    if peer:
        cells[2], cells[5] = f"{batch / peer['seconds']:,.0f}", f"{peer['peak_bytes'] / 1e9:.2f}"
    if mine and peer:
        cells[3] = f"{peer['seconds'] / mine['seconds']:.1f} x"
    return f"| {dtype} | {batch:,} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = ("checks", "speed", "parts", "jobs", "match")
    parser.add_argument("--only", nargs="*", choices=everything, default=everything)
    only = parser.parse_args().only
    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        raise SystemExit("bench/gpu.py needs a CUDA device and Triton; nothing was measured")
    from gpu_checks import check_kernels, check_steps, check_training
    from results_file import write_section

    results: dict = {"device": device_and_versions()}
    print(results["device"], flush=True)
    if "checks" in only:
        check_kernels()
        check_steps()
        check_training()
        results["checks"] = "yes"
    results["rates"] = rates()
    print(results["rates"], flush=True)
    for name, measure in (("speed", speed), ("parts", parts), ("jobs", jobs), ("match", matching)):
        if name in only:
            measure(results)
            write_section("GPU", report(results))
    print(report(results))


if __name__ == "__main__":
    main()
