"""Make the tests' fixtures: small checkpoints saved by other libraries, with the outputs that these libraries compute.

    python bench/formats.py tests/sae/formats/fixtures

Runs in an environment of its own, with eai-sparsify 1.3.3, sae-lens 6.54.12 and dictionary-learning 0.1.0 (the latter
with --no-deps: its nnsight asks for an older transformers) beside torch. Each folder holds a checkpoint as its library
saves it, and `expected.npz`: inputs x, the library's latents and its reconstruction.
Formats without a package (Gemma Scope, Llama Scope, OpenAI, and those of format_definitions.py) are written from their
descriptions, and their outputs are computed in plain numpy: see the README that is written beside them.
"""

import functools
import importlib.util
import json
import sys
import types
import warnings
from pathlib import Path

import format_definitions
import numpy as np
import torch

D_MODEL, N_LATENTS, K, ROWS = 6, 12, 3, 6
README = """Made by `python bench/formats.py tests/sae/formats/fixtures`.

`sparsify-*`, `saelens-*` and `dictionary_learning-*`: checkpoints saved, and outputs computed, by the libraries
themselves (versions in versions.json). SAELens' loader of Llama Scope and Gemma Scope files made `llama_scope-saelens`
and `gemma_scope-saelens`.
All other files: no package writes them. They follow the formats' descriptions, and their expected outputs are computed
in plain numpy (float64) from the definitions in the papers and published loaders.
"""


def main(out: Path) -> None:
    """Write every fixture under `out`."""
    torch.manual_seed(0)
    for make in (sparsify, saelens, dictionary_learning, gemma_scope, llama_scope, openai):
        make(out)
    format_definitions.write(out, inputs().numpy(), expect)
    (out / "README.md").write_text(README)
    names = ("torch", "eai-sparsify", "sae-lens", "dictionary-learning")
    from importlib.metadata import version

    (out / "versions.json").write_text(
        json.dumps({name: version(name).split("+")[0] for name in names}, indent=1) + "\n"
    )


def inputs(scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, D_MODEL, generator=generator) * scale + 0.3


def randomise(module: torch.nn.Module) -> None:
    """Weights that make a mistaken convention visible: no zero bias, no unit norms, thresholds that are reached."""
    for name, parameter in module.named_parameters():
        noise = torch.randn_like(parameter)
        parameter.data = (
            noise.abs() * 0.4 + 0.1 if "threshold" in name else noise * (0.3 if parameter.ndim == 1 else 0.6)
        )


def expect(folder: Path, x, latents, output) -> None:
    arrays = {"x": x, "latents": latents, "output": output}
    values = {
        name: np.asarray(value.detach() if torch.is_tensor(value) else value, np.float32)
        for name, value in arrays.items()
    }
    active = (values["latents"] != 0).mean()
    if not 0.02 < active < 0.98:
        raise SystemExit(f"{folder}: {active:.0%} of the latents fire; such a fixture tests too little")
    np.savez_compressed(folder / "expected.npz", **values)


def sparsify(out: Path) -> None:
    from sparsify import SparseCoder, SparseCoderConfig

    settings = {
        "topk": {"num_latents": N_LATENTS},
        "expansion": {"num_latents": 0, "expansion_factor": 2},
        "groupmax": {"num_latents": N_LATENTS, "activation": "groupmax", "k": 4},
        "transcoder": {"num_latents": N_LATENTS, "transcode": True, "skip_connection": True},
        "bfloat16": {"num_latents": N_LATENTS},
    }
    for name, given in settings.items():
        coder = SparseCoder(D_MODEL, SparseCoderConfig(**{"k": K, **given}))
        randomise(coder)
        folder = out / f"sparsify-{name}"
        if name == "bfloat16":
            coder = coder.to(torch.bfloat16)
        coder.save_to_disk(folder)
        loaded = SparseCoder.load_from_disk(folder).float()
        x = inputs()
        result = loaded(x)
        latents = torch.zeros(ROWS, N_LATENTS).scatter_(1, result.latent_indices, result.latent_acts)
        expect(folder, x, latents, result.sae_out)
    old = out / "sparsify-signed"  # as of December 2024, with a field that the current library leaves out
    coder = SparseCoder(D_MODEL, SparseCoderConfig(num_latents=N_LATENTS, k=K))
    randomise(coder)
    coder.save_to_disk(old)
    cfg = json.loads((old / "cfg.json").read_text())
    del cfg["activation"], cfg["transcode"]
    (old / "cfg.json").write_text(json.dumps({**cfg, "signed": False}))
    result = SparseCoder.load_from_disk(old)(inputs())
    latents = torch.zeros(ROWS, N_LATENTS).scatter_(1, result.latent_indices, result.latent_acts)
    expect(old, inputs(), latents, result.sae_out)


def saelens(out: Path) -> None:
    from sae_lens import SAE
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    shared = {"d_in": D_MODEL, "d_sae": N_LATENTS}
    variants = {
        "standard": {"architecture": "standard"},
        "raw-input": {"architecture": "standard", "apply_b_dec_to_input": False},
        "layer-norm": {"architecture": "standard", "normalize_activations": "layer_norm"},
        "norm-rescale": {"architecture": "jumprelu", "normalize_activations": "constant_norm_rescale"},
        "topk": {"architecture": "topk", "k": K},
        "topk-norms": {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True},
        "abstopk": {"architecture": "abstopk", "k": K},
        "jumprelu": {"architecture": "jumprelu", "apply_b_dec_to_input": False},
        "gated": {"architecture": "gated"},
    }
    for name, given in variants.items():
        sae = SAE.from_dict({**shared, **given})
        randomise(sae)
        folder = out / f"saelens-{name}"
        sae.save_model(folder)
        _expect_saelens(folder)

    training = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**shared, k=K))
    randomise(training)
    training.topk_threshold = torch.tensor(0.8, dtype=torch.double)
    training.save_inference_model(out / "saelens-batchtopk")
    _expect_saelens(out / "saelens-batchtopk")
    # The training checkpoint of the same SAE: not folded, with its threshold. It must give the same outputs.
    training.save_model(out / "saelens-batchtopk-training")
    expected = (out / "saelens-batchtopk" / "expected.npz").read_bytes()
    (out / "saelens-batchtopk-training" / "expected.npz").write_bytes(expected)

    old = out / "saelens-old"  # version 5's settings
    sae = SAE.from_dict({**shared, "architecture": "topk", "k": K})
    randomise(sae)
    sae.save_model(old)
    cfg = {
        "d_in": D_MODEL,
        "d_sae": N_LATENTS,
        "dtype": "float32",
        "device": "cpu",
        "model_name": "tiny",
        "hook_point": "blocks.0.hook_resid_post",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "normalize_activations": False,
        "sae_lens_training_version": "3.1.0",
    }
    (old / "cfg.json").write_text(json.dumps(cfg))
    _expect_saelens(old)


def _expect_saelens(folder: Path) -> None:
    from sae_lens import SAE

    sae, x = SAE.load_from_disk(folder), inputs()
    expect(folder, x, sae.encode(x), sae(x))


def dictionary_learning(out: Path) -> None:
    classes = dictionary_classes()
    made = {
        "AutoEncoder": (D_MODEL, N_LATENTS),
        "AutoEncoderNew": (D_MODEL, N_LATENTS),
        "GatedAutoEncoder": (D_MODEL, N_LATENTS),
        "JumpReluAutoEncoder": (D_MODEL, N_LATENTS),
        "AutoEncoderTopK": (D_MODEL, N_LATENTS, K),
        "BatchTopKSAE": (D_MODEL, N_LATENTS, K),
        "MatryoshkaBatchTopKSAE": (D_MODEL, N_LATENTS, K, [4, 8]),
    }
    for name, arguments in made.items():
        coder = classes[name](*arguments)
        randomise(coder)
        if "BatchTopK" in name:
            coder.threshold.fill_(0.7)
        folder = out / f"dictionary_learning-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(coder.state_dict(), folder / "ae.pt")
        trainer = {"dict_class": name, "activation_dim": D_MODEL, "dict_size": N_LATENTS, "lm_name": "tiny", "layer": 0}
        if len(arguments) > 2:
            trainer["k"] = K
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
        x = inputs()
        expect(folder, x, coder.encode(x), coder(x))
    # The backup during training: the weights are one entry among others.
    backup = out / "dictionary_learning-backup"
    backup.mkdir(exist_ok=True)
    source = out / "dictionary_learning-AutoEncoderTopK"
    state = torch.load(source / "ae.pt", weights_only=True)
    torch.save({"step": 5, "ae": state, "optimizer": {"state": {}, "param_groups": []}}, backup / "ae.pt")
    for name in ("config.json", "expected.npz"):
        (backup / name).write_bytes((source / name).read_bytes())


@functools.cache
def dictionary_classes() -> dict[str, type]:
    """The library's classes without its `__init__`, which imports nnsight for reading language models."""
    folder = Path(importlib.util.find_spec("dictionary_learning").submodule_search_locations[0])
    for name, path in (("dictionary_learning", folder), ("dictionary_learning.trainers", folder / "trainers")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from dictionary_learning import dictionary
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    return {**vars(dictionary), **vars(top_k), **vars(batch_top_k), **vars(matryoshka_batch_top_k)}


def _arrays(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    shapes = {"W_enc": (D_MODEL, N_LATENTS), "W_dec": (N_LATENTS, D_MODEL), "b_enc": N_LATENTS, "b_dec": D_MODEL}
    arrays = {name: (0.5 * generator.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"threshold": generator.uniform(0.1, 0.6, N_LATENTS).astype(np.float32)}


def _jumprelu(x, w: dict):
    pre = x @ w["W_enc"].astype(float) + w["b_enc"]
    latents = np.where(pre > w["threshold"], np.maximum(pre, 0), 0)
    return latents, latents @ w["W_dec"] + w["b_dec"]


def gemma_scope(out: Path) -> None:
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from safetensors.numpy import save_file

    x = inputs().double().numpy()
    folder = out / "gemma_scope"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = _arrays(2)
    np.savez(folder / "params.npz", **arrays)
    expect(folder, x, *_jumprelu(x, arrays))

    # The same file through SAELens' loader, which takes it for a download from the hub.
    same = out / "gemma_scope-saelens"
    same.mkdir(exist_ok=True)
    np.savez(same / "params.npz", **arrays)
    given = {"repo_id": "google/gemma-scope-2b-pt-res", "folder_name": "layer_0/width_16k/average_l0_1"}
    loader = loaders.gemma_2_sae_huggingface_loader
    _expect_loaded(same, loader, given, {"d_in": D_MODEL, "d_sae": N_LATENTS})

    second = out / "gemma_scope_2"
    second.mkdir(exist_ok=True)
    skip = (0.3 * np.random.default_rng(4).standard_normal((D_MODEL, D_MODEL))).astype(np.float32)
    save_file(
        {**{n.lower(): a for n, a in arrays.items()}, "affine_skip_connection": skip}, second / "params.safetensors"
    )
    cfg = {
        "architecture": "jump_relu",
        "model_name": "tiny",
        "hf_hook_point_in": "model.layers.0.mlp",
        "affine_connection": True,
    }
    (second / "config.json").write_text(json.dumps(cfg))
    latents, output = _jumprelu(x, arrays)
    expect(second, x, latents, output + x @ skip)


def llama_scope(out: Path) -> None:
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from safetensors.torch import save_file

    for name, norms in (("llama_scope", (5.0, 4.0)), ("llama_scope-saelens", (5.0, 5.0))):
        folder = out / name
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        arrays = {key: torch.from_numpy(value).bfloat16() for key, value in _arrays(3).items()}
        if name == "llama_scope-saelens":  # SAELens' loader expects unit decoder rows
            arrays["W_dec"] = torch.nn.functional.normalize(arrays["W_dec"].float(), dim=1).bfloat16()
        state = {
            "encoder.weight": arrays["W_enc"].T,
            "encoder.bias": arrays["b_enc"],
            "decoder.weight": arrays["W_dec"].T,
            "decoder.bias": arrays["b_dec"],
        }
        save_file(
            {key: value.contiguous() for key, value in state.items()}, folder / "checkpoints" / "final.safetensors"
        )
        settings = {
            "d_model": D_MODEL,
            "d_sae": N_LATENTS,
            "act_fn": "jumprelu",
            "jump_relu_threshold": 0.25,
            "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": norms[0], "out": norms[1]},
            "sparsity_include_decoder_norm": name == "llama_scope",
            "apply_decoder_bias_to_pre_encoder": False,
            "hook_point_in": "blocks.0.hook_resid_post",
            "hook_point_out": "blocks.0.hook_resid_post",
        }
        (folder / "hyperparams.json").write_text(json.dumps(settings))
        if name == "llama_scope-saelens":
            given = {"repo_id": "fnlp/Llama3_1-8B-Base-LXR-8x", "folder_name": "Llama3_1-8B-Base-L0R-8x"}
            _expect_loaded(folder, loaders.llama_scope_sae_huggingface_loader, given, {}, fold=D_MODEL**0.5 / norms[0])
            continue
        x = inputs().double().numpy()
        w = {key: value.double().numpy() for key, value in arrays.items()}
        scale_in, scale_out = (D_MODEL**0.5 / norm for norm in norms)
        pre = x * scale_in @ w["W_enc"] + w["b_enc"]
        length = np.linalg.norm(w["W_dec"], axis=1)
        latents = np.where(pre * length > 0.25 * scale_in, np.maximum(pre, 0), 0)
        expect(folder, x, latents * length, (latents @ w["W_dec"] + w["b_dec"]) / scale_out)


def _expect_loaded(folder: Path, loader, given: dict, overrides: dict, fold: float | None = None) -> None:
    """Save the outputs of SAELens for local files that its loader takes for downloads from the hub."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders

    def local(repo_id, filename, subfolder="", **_):
        inside = Path(subfolder, filename).as_posix().removeprefix(given["folder_name"]).lstrip("/")
        return str(folder / inside)

    loaders.hf_hub_download = local
    settings, state, _ = loader(**given, device="cpu", cfg_overrides={"dtype": "float32", **overrides})
    settings = loaders.handle_config_defaulting(settings)
    sae = SAE.from_dict(settings)
    sae.load_state_dict({name: value.float() for name, value in state.items()})
    if fold is not None:
        sae.fold_activation_norm_scaling_factor(fold)
    x = inputs()
    expect(folder, x, sae.encode(x), sae(x))


def openai(out: Path) -> None:
    for name, kind in (("topk", "TopK"), ("relu", "ReLU")):
        folder = out / f"openai-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        arrays = _arrays(5)
        state = {
            "pre_bias": torch.from_numpy(arrays["b_dec"]),
            "latent_bias": torch.from_numpy(arrays["b_enc"]),
            "stats_last_nonzero": torch.zeros(N_LATENTS, dtype=torch.long),
            "encoder.weight": torch.from_numpy(arrays["W_enc"]).T.contiguous(),
            "decoder.weight": torch.from_numpy(arrays["W_dec"]).T.contiguous(),
            "activation": kind,
            "activation_state_dict": {"k": K, "postact_fn": "ReLU"} if kind == "TopK" else {},
        }
        torch.save(state, folder / "8.pt")
        x = inputs().double().numpy()
        mean, spread = (x.mean(1, keepdims=True), x.std(1, ddof=1, keepdims=True)) if kind == "TopK" else (0.0, 1.0)
        z = (x - mean) / (spread + 1e-5) if kind == "TopK" else x
        pre = (z - arrays["b_dec"]) @ arrays["W_enc"].astype(float) + arrays["b_enc"]
        latents = np.maximum(pre, 0)
        if kind == "TopK":
            latents[pre < np.sort(pre, axis=1)[:, [-K]]] = 0
        expect(folder, x, latents, (latents @ arrays["W_dec"] + arrays["b_dec"]) * spread + mean)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]))
