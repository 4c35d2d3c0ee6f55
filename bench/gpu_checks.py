"""The checks on a GPU that `bench/gpu.py` runs before it measures anything."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests" / "sae")]
DTYPES = ("float32", "bfloat16")


def check_kernels() -> None:
    """Compare every kernel with its plain reference, on the device."""
    import torch
    import triton_reference as reference

    from sae_stability.sae.training.kernels import triton_sparse as kernels
    from sae_stability.sae.training.kernels.triton_topk import largest
    from sae_stability.sae.training.kernels.triton_update import LatentTensors, update_latents

    def close(actual, expected, tolerance):
        torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)

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
            for actual, expected_value in zip(kernels.decode(*given), reference.decode(*given), strict=True):
                close(actual, expected_value, rounding)
        for rows, n, d in ((6, 19, 20), (3000, 300, 768), (3000, 5000, 384)):
            lists, *rest = reference.entries(rows, n, d, 3, dtype, "cuda")
            error, inputs, scale, silent, *moments, factors, n_main = rest
            expected = reference.update_latents(lists, *rest)
            copies = [moments[0][name].to(dtype) for name in ("encoder", "decoder")]
            moments_of_all = [LatentTensors(**tensors) for tensors in moments]
            factors = torch.tensor(factors, device="cuda")
            parts = update_latents(*lists, error, inputs, scale, silent, *moments_of_all, copies, factors, n_main)
            for actual, expected_value in zip(moments, expected[:3], strict=True):
                for name, value in expected_value.items():
                    close(actual[name], value, 1e-4)
            assert torch.equal(silent, expected[3])
            close(parts.sum(0), expected[4], 1e-2)
            assert all(
                torch.equal(copy, moment.to(dtype)) for copy, moment in zip(copies, moments_of_all[0][:2], strict=True)
            )


def check_steps() -> None:
    """Compare the step with the torch step, and check that three runs of 50 steps have the same bits.

    The three: recorded, launched one by one, and interrupted after 25 steps by saving and loading the state.
    """
    import torch
    from gpu_sides import RATE, activations, training
    from safetensors.torch import load_file, save_file

    from sae_stability.sae.training.steps.topk_torch import TorchTopKStep

    shape = {"n_latents": 4096, "d_model": 768, "k": 32}
    batches = activations(50 * 1024, 768).split(1024)
    for dtype in DTYPES:
        for alpha in (0.0, 1 / 32):
            shape |= {"dtype": dtype, "settings": {"auxk_alpha": alpha, "dead_tokens": 5000}}
            one, two, resumed = (training(shape, 0, batches[0]) for _ in range(3))
            two.graphed_step = lambda function, batch: function(batch)  # launched one by one
            plain = TorchTopKStep(
                {n: v.numpy() for n, v in one.weights().items()}, one.settings, _no_normalisation(), "cuda"
            )
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
    """Train twice on the device from shards, with and without checkpoints: the same bytes, and nearly the CPU's FVU."""
    import torch
    from chunks import planted_dictionary, planted_rows, write_chunk

    from sae_stability.activations import reader
    from sae_stability.files import read_json
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.train import train_chunk

    sizes = {"n_latents": 256, "k": 8, "batch_size": 512, "tokens": 512 * 80, "chunk_tokens": 512 * 40, "epochs": 2}
    settings = TrainSettings(**sizes, learning_rate=1e-3, auxk_alpha=1 / 32, dead_tokens=5000)
    with tempfile.TemporaryDirectory() as folder:
        rows = planted_rows(planted_dictionary(512, 64), 512 * 40, active=8, seed=0)
        chunk = write_chunk(Path(folder) / "chunk-0000", rows, shards=3)
        order = {"batch_size": 512, "rows": len(rows), "epochs": 2}
        pinned, reader._PINNED_BYTES = reader._PINNED_BYTES, 1 << 16  # several pieces a shard
        for here, there in zip(
            reader.batches(chunk, **order), reader.batches(chunk, **order, device="cuda"), strict=True
        ):
            assert torch.equal(here, there.cpu())
        reader._PINNED_BYTES = pinned
        outs = {name: Path(folder) / name for name in ("cuda", "cuda again", "cpu")}
        for name, out in outs.items():
            often = 0.0 if name == "cuda" else 1e9
            options = {"checkpoint": Path(folder) / "state", "checkpoint_seconds": often, "progress": False, "out": out}
            train_chunk(chunk=chunk, chunk_index=0, settings=settings, device=name.split()[0], **options)
        for name in ("sae.safetensors", "metrics.json", "history.parquet"):
            assert (outs["cuda"] / name).read_bytes() == (outs["cuda again"] / name).read_bytes(), f"{name} differs"
        fvu = {name: read_json(outs[name] / "metrics.json")["fvu"] for name in outs}
        assert abs(fvu["cuda"] - fvu["cpu"]) < 0.02 * fvu["cpu"], fvu


def _no_normalisation():
    import numpy as np

    from sae_stability.sae.training.normalisation import Normalisation

    return Normalisation(np.zeros(768, np.float32), 1.0)
