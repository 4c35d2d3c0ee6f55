"""Fixtures of formats that no package writes: files as the releases have them, outputs in plain numpy (float64).

`bench/formats.py` writes these too. Each function states the definition that it computes.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

D_MODEL, N_LATENTS, K = 6, 12, 3


def write(out: Path, x: np.ndarray, expect) -> None:
    """Write the fixtures; `expect(folder, x, latents, output)` saves what a definition gives."""
    for make in (qwen_scope, goodfire, batchtopk, llamascopium):
        make(out, x.astype(float), expect)


def tensors(seed: int) -> dict[str, torch.Tensor]:
    """Random weights by the names of the papers: encoder (n, d), decoder (n, d), biases."""
    random = np.random.default_rng(seed)
    shapes = {"encoder": (N_LATENTS, D_MODEL), "decoder": (N_LATENTS, D_MODEL), "b_enc": N_LATENTS, "b_dec": D_MODEL}
    return {
        name: torch.from_numpy((0.5 * random.standard_normal(shape)).astype("float32"))
        for name, shape in shapes.items()
    }


def numbers(weights: dict[str, torch.Tensor]) -> tuple[np.ndarray, ...]:
    """encoder, decoder and both biases as float64."""
    return tuple(weights[name].double().numpy() for name in ("encoder", "decoder", "b_enc", "b_dec"))


def largest(pre: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
    """The K largest of each row, by themselves or by another array; all else 0, and those below 0 too."""
    by = pre if by is None else by
    return np.where(by >= np.sort(by, axis=1)[:, [-K]], np.maximum(pre, 0), 0)


def new(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def qwen_scope(out: Path, x: np.ndarray, expect) -> None:
    """The k largest of x W_enc^T + b_enc (model card of Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50)."""
    folder, weights = new(out / "qwen_scope"), tensors(11)
    state = {"W_enc": weights["encoder"], "W_dec": weights["decoder"].T.contiguous()}
    torch.save(state | {name: weights[name] for name in ("b_enc", "b_dec")}, folder / "layer3.sae.pt")
    (folder / "config.json").write_text(json.dumps({"k": K}))
    encoder, decoder, b_enc, b_dec = numbers(weights)
    latents = largest(x @ encoder.T + b_enc)
    expect(folder, x, latents, latents @ decoder + b_dec)


def goodfire(out: Path, x: np.ndarray, expect) -> None:
    """relu(encoder_linear(x)), in bfloat16 (model card of Goodfire/Llama-3.3-70B-Instruct-SAE-l50)."""
    folder = new(out / "goodfire")
    weights = {name: value.bfloat16() for name, value in tensors(12).items()}
    names = {"encoder_linear.weight": weights["encoder"], "encoder_linear.bias": weights["b_enc"]}
    names |= {"decoder_linear.weight": weights["decoder"].T.contiguous(), "decoder_linear.bias": weights["b_dec"]}
    torch.save(names, folder / "l19.pth")
    encoder, decoder, b_enc, b_dec = numbers(weights)
    latents = np.maximum(x @ encoder.T + b_enc, 0)
    expect(folder, x, latents, latents @ decoder + b_dec)


def batchtopk(out: Path, x: np.ndarray, expect) -> None:
    """The classes of sae.py in github.com/bartbussmann/BatchTopK; BatchTopK for batches of one row."""
    for kind, unit in (("topk", True), ("batchtopk", False), ("vanilla", True), ("jumprelu", False)):
        folder, weights = new(out / f"batchtopk-{kind}"), tensors(13)
        encoder, decoder, b_enc, b_dec = numbers(weights)
        state = {"W_enc": weights["encoder"].T.contiguous(), "W_dec": weights["decoder"]}
        state |= {name: weights[name] for name in ("b_enc", "b_dec")}
        settings = {"sae_type": kind, "act_size": D_MODEL, "dict_size": N_LATENTS, "top_k": K, "input_unit_norm": unit}
        mean, spread = (x.mean(1, keepdims=True), x.std(1, ddof=1, keepdims=True)) if unit else (0.0, 1.0)
        z = (x - mean) / (spread + 1e-5) if unit else x
        if kind == "jumprelu":
            state["jumprelu.log_threshold"] = torch.full((N_LATENTS,), -1.0)
            pre = np.maximum(z @ encoder.T + b_enc, 0)
            latents = np.where(pre > np.exp(-1.0), pre, 0)
        elif kind == "vanilla":
            latents = np.maximum((z - b_dec) @ encoder.T + b_enc, 0)
        else:
            latents = largest((z - b_dec) @ encoder.T)
        torch.save(state, folder / "sae.pt")
        (folder / "config.json").write_text(json.dumps(settings | {"hook_point": "blocks.8.hook_resid_pre"}))
        expect(folder, x, latents, (latents @ decoder + b_dec) * spread + mean)


def llamascopium(out: Path, x: np.ndarray, expect) -> None:
    """SparseAutoEncoder of llamascopium/models/sae.py in github.com/OpenMOSS/Llamascopium.

    Where latents are selected by decoder norm, ours are the library's times that norm, and the decoder has unit rows.
    """
    for name, act_fn, norm, with_norm, dtype in (
        ("topk", "topk", "inference", False, torch.float32),
        ("norms", "topk", "dataset-wise", True, torch.float32),
        ("jumprelu", "jumprelu", "inference", True, torch.float32),
        ("rows", "relu", "token-wise", False, torch.bfloat16),
        ("float8", "topk", "inference", False, torch.float8_e4m3fn),
    ):
        folder = new(out / f"llamascopium-{name}")
        weights = {key: value.to(dtype) for key, value in tensors(14).items()}
        encoder, decoder, b_enc, b_dec = numbers(weights)
        state = {"W_E": weights["encoder"].T.contiguous(), "W_D": weights["decoder"]}
        state |= {"b_E": weights["b_enc"], "b_D": weights["b_dec"]}
        factors = (1.0, 1.0)
        if norm == "dataset-wise":
            state |= {
                f"dataset_average_activation_norm.{side}": torch.tensor(v) for side, v in (("in", 2.0), ("out", 5.0))
            }
            factors = (D_MODEL**0.5 / 2.0, D_MODEL**0.5 / 5.0)
        if norm == "token-wise":
            factors = (D_MODEL**0.5 / np.linalg.norm(x, axis=1, keepdims=True),) * 2
        pre = x * factors[0] @ encoder.T + b_enc
        norms = np.linalg.norm(decoder, axis=1) if with_norm else np.ones(N_LATENTS)
        if act_fn == "jumprelu":
            state["activation_function.log_jumprelu_threshold"] = torch.full((N_LATENTS,), -1.0)
            latents = np.where(pre * norms > np.exp(-1.0), pre, 0)
        else:
            latents = np.maximum(pre, 0) if act_fn == "relu" else largest(pre, pre * norms)
        save_file(state, folder / "sae_weights.safetensors")
        settings = {"sae_type": "sae", "d_model": D_MODEL, "expansion_factor": N_LATENTS / D_MODEL, "act_fn": act_fn}
        settings |= {"top_k": K, "norm_activation": norm, "sparsity_include_decoder_norm": with_norm}
        settings |= {"use_decoder_bias": True, "hook_point_in": "in", "hook_point_out": "out"}
        (folder / "config.json").write_text(json.dumps(settings))
        expect(folder, x, latents * norms, (latents @ decoder + b_dec) / factors[1])
