"""Everything that is to be known of this project on a GPU, in one run; writes the section GPU of bench/RESULTS.md.

    python bench/gpu.py                    # checks, speed, parts, sparsify beside it, matching
    python bench/gpu.py --only checks speed parts

sparsify is measured where it can be imported; or name a Python that has eai-sparsify 1.3.3 and the same torch in
SPARSIFY_PYTHON. Without a CUDA device and Triton nothing is measured, and the exit status is 1. Checks come first:
where one fails, so does the run, and nothing is written.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests" / "sae")]
SIDES = Path(__file__).with_name("gpu_sides.py")
SHAPE = {"n_latents": 32768, "d_model": 768, "k": 32}
DTYPES, BATCH = ("float32", "bfloat16"), 8192
CASES = [(dtype, batch, 1) for dtype in DTYPES for batch in (4096, BATCH)]  # dtype, batch, seeds
CASES += [("bfloat16", BATCH, 2), ("bfloat16", BATCH, 4), ("bfloat16", 2 * BATCH, 1)]
MATCH = (131072, 4096)
NOT = "not measured"


def about() -> str:
    """Device, driver and versions."""
    import torch
    import triton

    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    properties = torch.cuda.get_device_properties(0)
    versions = f"torch {torch.__version__}, triton {triton.__version__}, CUDA {torch.version.cuda}"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, driver {driver}; {versions}"


def check_kernels() -> None:
    """Every kernel against its plain reference, on the device."""
    import torch
    import triton_reference as reference

    from sae_stability.sae import triton_kernels as kernels
    from sae_stability.sae.triton_selection import largest
    from sae_stability.sae.triton_update import Moments, update_latents

    def close(got, expected, tolerance):
        torch.testing.assert_close(got.double(), expected.double(), rtol=tolerance, atol=tolerance)

    tops = ((64, 32768, 768, 32), (64, 100, 384, 7), (8, 20, 5, 20), (4, 1, 1, 1), (64, 9000, 100, 300))
    for dtype, rounding in ((torch.float32, 1e-4), (torch.bfloat16, 2.0**-8)):
        for rows, n, d, k in tops:
            pre, bias = reference.scores(rows, n, dtype, "cuda")
            index = torch.full((rows, k), -1, dtype=torch.int32, device="cuda")
            value = torch.full((rows, k), -1.0, device="cuda")
            largest(pre, bias, k, index, value)
            expected = reference.largest(pre, bias, k)
            assert torch.equal(index, expected[0]), f"largest {dtype} {n} {k}"
            torch.testing.assert_close(value, expected[1], rtol=0, atol=0, equal_nan=True)
            given = reference.batch(rows, n, d, k, dtype, "cuda")
            for got, wanted in zip(kernels.decode(*given), reference.decode(*given), strict=True):
                close(got, wanted, rounding)
        for rows, n, d in ((6, 19, 20), (3000, 300, 768), (3000, 5000, 384)):
            lists, *rest = reference.entries(rows, n, d, 3, dtype, "cuda")
            error, inputs, scale, silent, *moments, factors, n_main = rest
            expected = reference.update_latents(lists, *rest)
            copies = [moments[0][name].to(dtype) for name in ("encoder", "decoder")]
            of = [Moments(**tensors) for tensors in moments]
            factors = torch.tensor(factors, device="cuda")
            parts = update_latents(*lists, error, inputs, scale, silent, *of, copies, factors, n_main)
            for got, wanted in zip(moments, expected[:3], strict=True):
                for name, value in wanted.items():
                    close(got[name], value, 1e-4)
            assert torch.equal(silent, expected[3])
            close(parts.sum(0), expected[4], 1e-2)
            assert all(torch.equal(copy, moment.to(dtype)) for copy, moment in zip(copies, of[0][:2], strict=True))


def check_steps() -> None:
    """The step against the torch step; 50 steps twice; and 25, a state file, 25 more in a fresh object: same bits."""
    import torch
    from gpu_sides import RATE, activations, training
    from safetensors.torch import load_file, save_file

    from sae_stability.sae.torch_step import TorchTopKStep

    shape = {"n_latents": 4096, "d_model": 768, "k": 32}
    batches = activations(50 * 1024, 768).split(1024)
    for dtype in DTYPES:
        for alpha in (0.0, 1 / 32):
            shape |= {"dtype": dtype, "settings": {"auxk_alpha": alpha, "dead_tokens": 5000}}
            one, two, resumed = (training(shape, 0, batches[0]) for _ in range(3))
            plain = TorchTopKStep({n: v.numpy() for n, v in one.weights().items()}, one.settings, _nothing(), "cuda")
            for i, batch in enumerate(batches):
                result = one.step(batch, RATE)
                two.step(batch, RATE)
                if i < 5:
                    expected, tolerance = plain.step(batch, RATE), 1e-3 if dtype == "float32" else 1e-2
                    torch.testing.assert_close(float(result.fvu), expected.fvu, rtol=tolerance, atol=0)
                if i == 24:
                    with tempfile.TemporaryDirectory() as folder:
                        save_file(one.state(), f"{folder}/state.safetensors")
                        resumed.load_state(load_file(f"{folder}/state.safetensors"))
                if i > 24:
                    resumed.step(batch, RATE)
            for name, value in one.state().items():
                assert torch.equal(value, two.state()[name]), f"{name} differs between two runs ({dtype}, {alpha})"
                assert torch.equal(value, resumed.state()[name]), f"{name} differs after resuming ({dtype}, {alpha})"


def check_training() -> None:
    """A whole training on the device, shards, checkpoints and all, twice: the same bytes; and about as on the CPU."""
    import torch
    from chunks import planted_dictionary, planted_rows, write_chunk

    from sae_stability.activations import store
    from sae_stability.files import read_json
    from sae_stability.sae.settings import TrainSettings
    from sae_stability.sae.train import train_chunk

    sizes = {"n_latents": 256, "k": 8, "batch_size": 512, "tokens": 512 * 80, "chunk_tokens": 512 * 40, "epochs": 2}
    settings = TrainSettings(**sizes, learning_rate=1e-3, auxk_alpha=1 / 32, dead_tokens=5000)
    with tempfile.TemporaryDirectory() as folder:
        rows = planted_rows(planted_dictionary(512, 64), 512 * 40, active=8, seed=0)
        chunk = write_chunk(Path(folder) / "chunk-0000", rows, shards=3)
        order = {"batch_size": 512, "rows": len(rows), "epochs": 2}
        for here, there in zip(
            store.batches(chunk, **order), store.batches(chunk, **order, device="cuda"), strict=True
        ):
            assert torch.equal(here, there.cpu())
        outs = {name: Path(folder) / name for name in ("cuda", "cuda again", "cpu")}
        for name, out in outs.items():
            often = 0.0 if name == "cuda" else 1e9
            options = {"checkpoint": Path(folder) / "state", "checkpoint_seconds": often, "progress": False, "out": out}
            train_chunk(chunk=chunk, chunk_index=0, settings=settings, device=name.split()[0], **options)
        for name in ("sae.safetensors", "metrics.json", "history.parquet"):
            assert (outs["cuda"] / name).read_bytes() == (outs["cuda again"] / name).read_bytes(), f"{name} differs"
        fvu = {name: read_json(outs[name] / "metrics.json")["fvu"] for name in outs}
        assert abs(fvu["cuda"] - fvu["cpu"]) < 0.02 * fvu["cpu"], fvu


def _nothing():
    import numpy as np

    from sae_stability.sae.normalise import Normalisation

    return Normalisation(np.zeros(768, np.float32), 1.0)


def rates() -> dict:
    """Matrix rate of each dtype (operations a second) on the step's own shapes' scale, and copy bandwidth."""
    import torch
    from triton.testing import do_bench

    found = {}
    for dtype in DTYPES:
        a, b = (torch.randn(8192, 8192, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
        found[dtype] = 2 * 8192**3 / do_bench(lambda a=a, b=b: a @ b, return_mode="median") * 1e3
    source = torch.randn(2**29, device="cuda")
    target = torch.empty_like(source)
    found["bytes"] = 2 * source.nbytes / do_bench(lambda: target.copy_(source), return_mode="median") * 1e3
    return found


def measured(side: str, shape: dict, python: str = sys.executable) -> dict | None:
    """What `gpu_sides.py` prints; None, with its last words, where it fails."""
    done = subprocess.run([python, str(SIDES), side, json.dumps(shape)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{side} {shape}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    result = json.loads(done.stdout.splitlines()[-1])
    print(side, shape, result, flush=True)
    return result


def speed(found: dict) -> None:
    """Ours and sparsify by dtype and batch; ours with several seeds; and, printed alone, by size of the tiles."""
    peer = os.environ.get("SPARSIFY_PYTHON") or (sys.executable if importlib.util.find_spec("sparsify") else None)
    for dtype, batch, seeds in CASES:
        shape = SHAPE | {"dtype": dtype, "batch": batch, "seeds": seeds}
        found[f"ours {dtype} {batch} {seeds}"] = measured("ours", shape)
        if peer and seeds == 1:
            found[f"sparsify {dtype} {batch}"] = measured("sparsify", shape, peer)
    for tile_bytes in (1 << 25, 1 << 27, 1 << 28):
        measured("ours", SHAPE | {"dtype": "bfloat16", "batch": BATCH, "tile_bytes": tile_bytes})


def parts(found: dict) -> None:
    """Milliseconds of each part of a step at batch BATCH, beside the least it can take."""
    for dtype in DTYPES:
        rate = found["rates"]
        for name, (milliseconds, operations, count) in _parts(dtype).items():
            bound = max(operations / rate[dtype], count / rate["bytes"]) * 1e3
            found[f"part {dtype} {name}"] = (milliseconds, bound)


def _parts(dtype: str) -> dict[str, tuple[float, float, float]]:
    """Milliseconds, operations of the matrix units, and bytes that cross device memory if each is moved once."""
    import torch
    from gpu_sides import RATE, activations, training
    from triton.testing import do_bench

    from sae_stability.sae import triton_kernels as kernels
    from sae_stability.sae import triton_step
    from sae_stability.sae.step import adam_factors
    from sae_stability.sae.triton_selection import largest

    (n, d, k), rows = SHAPE.values(), BATCH
    batch = activations(rows, d)
    step = training(SHAPE | {"dtype": dtype}, 0, batch)
    inputs = batch - step.parameters["decoder_bias"]
    read = inputs.to(step.dtype)
    fired, _ = step._encode(read, torch.empty(0, dtype=torch.int64, device="cuda"))
    error, gradient, _ = kernels.decode(inputs, step.copies["decoder"], *fired)
    entries, scale = triton_step._listed(fired, gradient, 0), torch.tensor(1e-6, device="cuda")
    size = step.dtype.itemsize
    height = min(rows, triton_step.TILE_BYTES // (n * size))
    tile = torch.randn(height, n, device="cuda").to(step.dtype)
    top = [torch.empty_like(t[:height]) for t in fired]
    bias, encoder, decoder = step.parameters["encoder_bias"], step.copies["encoder"].T, step.copies["decoder"]
    factors = adam_factors(RATE, 1000)
    given = (*entries, error, read, scale, step.silent, step.parameters, step.first, step.second, step.copies)

    def product():
        for part in read.split(height):
            torch.mm(part, encoder, out=tile[: len(part)])

    def timed(function, *arguments):
        return do_bench(lambda: function(*arguments), return_mode="median")

    work, parameters = 2 * rows * n * d, 2 * n * d * (6 * 4 + (size if size == 2 else 0))
    return {
        "selection": (timed(largest, tile, bias, k, *top) * rows / height, 0, rows * n * size),
        "product": (timed(product), work, 0),
        "decode": (timed(kernels.decode, inputs, decoder, *fired), 0, n * d * size + rows * d * (4 + size)),
        "sort": (timed(lambda: torch.sort(entries[0], stable=True)), 0, 2 * rows * k * 12),
        "update, sort included": (
            timed(kernels.update_latents, *given, factors, rows * k),
            0,
            parameters + 2 * rows * d * size,
        ),
        "whole step": (timed(step.step, batch, RATE), work, parameters),
    }


def matching(found: dict) -> None:
    """`match_rows` on the device at the largest size."""
    import match_cases

    from sae_stability.match.assignment import match_rows

    a, b = match_cases.pair("perturbed", *MATCH)
    match_rows(a[:300], b[:300], device="cuda")
    started = time.perf_counter()
    result = match_rows(a, b, device="cuda")
    found["match"] = {"seconds": time.perf_counter() - started, "gap": result.gap, "device": result.device}


def report(found: dict) -> str:
    """The section of RESULTS.md; what `found` lacks reads "not measured"."""
    n, d, k = SHAPE.values()
    rate = found.get("rates", {})
    lines = [
        f"`make bench-gpu`: {found.get('about', 'no device at hand yet')}.",
        f"TopK, d = {d}, {n:,} latents, k = {k}, Adam, unit decoder rows, no AuxK; activations already on the device;",
        "sparsify 1.3.3 with its Triton kernels (bfloat16 by autocast), in the same run. Bound: the dense encoder",
        "product's 2 d n operations a token at the measured matrix rate. GB: peak of the step's own allocations,",
        f"{6 * n * d * 4 / 1e9:.2f} of them parameters and moments of a seed. Several seeds take turns on one batch.",
        "",
        "Kernels equal their references; 50 steps, a resumed run and a whole training repeat bit for bit: "
        f"{found.get('checks', NOT)}.",
        "",
        "| measured | figure |",
        "|---|---|",
        f"| matrix rate, float32 without TF32, TFLOP/s | {_number(rate.get('float32'), 1e-12)} |",
        f"| matrix rate, bfloat16, TFLOP/s | {_number(rate.get('bfloat16'), 1e-12)} |",
        f"| copy bandwidth, read and written, TB/s | {_number(rate.get('bytes'), 1e-12, '.2f')} |",
        "",
        "| dtype | batch | seeds | tokens/s x seeds | of the bound | sparsify, tokens/s | faster | GB | sparsify, GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_speed_line(found, *case) for case in CASES]
    names = ("product", "selection", "decode", "sort", "update, sort included", "whole step")
    lines += ["", f"Parts of a step, batch {BATCH:,}, milliseconds (bound):", ""]
    lines += ["| part | " + " | ".join(DTYPES) + " |", "|---|---|---|"]
    for name in names:
        both = [found.get(f"part {dtype} {name}") for dtype in DTYPES]
        lines.append(f"| {name} | " + " | ".join(f"{b[0]:.2f} ({b[1]:.2f})" if b else NOT for b in both) + " |")
    match = found.get("match")
    words = f"{match['seconds']:.0f} s, gap {match['gap']:.1e}" if match and match["device"] != "cpu" else NOT
    return "\n".join([*lines, "", f"Exact matching, {MATCH[0]:,} latents, width {MATCH[1]:,}: {words}."])


def _number(value: float | None, unit: float, form: str = ".0f") -> str:
    return NOT if value is None else format(value * unit, form)


def _speed_line(found: dict, dtype: str, batch: int, seeds: int) -> str:
    mine, peer = found.get(f"ours {dtype} {batch} {seeds}"), found.get(f"sparsify {dtype} {batch}")
    cells = [NOT] * 6
    if mine:
        a_seed = mine["seconds"] / seeds
        cells[0], cells[4] = f"{batch / a_seed:,.0f}", f"{mine['peak_bytes'] / 1e9:.2f}"
        if "rates" in found:
            work = 2 * SHAPE["d_model"] * SHAPE["n_latents"] * batch
            cells[1] = f"{work / found['rates'][dtype] / a_seed:.0%}"
    if peer:
        cells[2], cells[5] = f"{batch / peer['seconds']:,.0f}", f"{peer['peak_bytes'] / 1e9:.2f}"
    if mine and peer:
        cells[3] = f"{peer['seconds'] / mine['seconds'] * seeds:.1f} x"
    return f"| {dtype} | {batch:,} | {seeds} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = ("checks", "speed", "parts", "match")
    parser.add_argument("--only", nargs="*", choices=everything, default=everything)
    only = parser.parse_args().only
    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        raise SystemExit("bench/gpu.py needs a CUDA device and Triton; neither is simulated, nothing was measured")
    from results_file import write_section

    found: dict = {"about": about()}
    print(found["about"], flush=True)
    if "checks" in only:
        check_kernels()
        check_steps()
        check_training()
        found["checks"] = "yes"
    found["rates"] = rates()
    print(found["rates"], flush=True)
    for name, measure in (("speed", speed), ("parts", parts), ("match", matching)):
        if name in only:
            measure(found)
            write_section("GPU", report(found))
    print(report(found))


if __name__ == "__main__":
    main()
