"""For every architecture: same bytes however training is split, the requested sparsity, and a correct saved SAE."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.normalisation import Normalisation, unit_decoder
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.steps.matryoshka import prefixes
from sae_stability.sae.training.train import train_chunk
from sae_stability.sae.training.workers import Workers
from sae_stability.study.schema import definition

OWN = {"jumprelu": {"bandwidth": 0.1}, "matryoshka": {"groups": 3, "auxk_alpha": 1 / 32, "dead_tokens": 1000}}
NAMES = list(REGISTRY)


@pytest.fixture(params=NAMES)
def settings(request, planted):
    return replace(planted.settings, architecture=request.param, **OWN.get(request.param, {}))


def same_bytes(a: Path, b: Path) -> bool:
    names = ("sae.safetensors", "cfg.json", "metrics.json", "history.parquet")
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


def start(settings, normalisation, d_model: int, batch: torch.Tensor, workers):
    weights = initial_weights(settings.n_latents, d_model, settings.init_seed, settings.hookpoint)
    mean = (batch.double().mean(0).numpy() - normalisation.mean) / normalisation.scale
    make_step = architecture(settings.architecture).make_step
    return make_step(weights | {"decoder_bias": mean}, settings, normalisation, torch.device("cpu"), workers)


def test_chunk_by_chunk_with_any_threads_equals_one_uninterrupted_loop(planted, train, settings) -> None:
    out = train("a", settings)
    assert same_bytes(out, train("b", settings, threads=3))
    data = reader.Chunk(planted.chunks[0])
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    with Workers(1) as workers:
        first = next(reader.batches(planted.chunks[0], batch_size=128, order_seed=0))
        training = start(settings, normalisation, data.d_model, first, workers)
        done = 0
        for chunk in planted.chunks:
            for batch in reader.batches(chunk, batch_size=128, epochs=3, order_seed=0):
                training.step(batch, settings.rate(done))
                done += 1
        expected = normalisation.fold({name: value.numpy() for name, value in training.weights().items()})
    tensors = sae.arrays(out)
    names = {"encoder", "decoder", "encoder_bias", "decoder_bias"}
    names |= set(own.TRAINED[settings.architecture].tensors.values())
    assert set(tensors) == set(expected) == names
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("stopped_at", [0, 40])
def test_an_interrupted_job_ends_with_the_same_bytes(planted, settings, tmp_path, interrupted_at, stopped_at) -> None:
    settings = replace(settings, tokens=4096 * 3)
    arguments = {"chunk": planted.chunks[0], "chunk_index": 0, "settings": settings, "progress": False}
    checkpoint = {"checkpoint": tmp_path / "checkpoint", "checkpoint_seconds": 0.0}
    with interrupted_at(stopped_at + 1):
        train_chunk(**arguments, **checkpoint, out=tmp_path / "stopped")
    assert checkpoint["checkpoint"].exists()
    train_chunk(**arguments, **checkpoint, out=tmp_path / "stopped")
    train_chunk(**arguments, out=tmp_path / "whole")
    assert same_bytes(tmp_path / "stopped", tmp_path / "whole")


def test_a_trained_sae_has_the_requested_sparsity_and_unit_decoder_rows_and_finds_features(
    planted, train, settings, tmp_path
) -> None:
    out = train("a", replace(settings, tokens=settings.tokens * 4, epochs=12))
    files = {"out_json": [tmp_path / "e.json"], "out_parquet": [tmp_path / "e.parquet"]}
    (metrics,) = evaluate(sae=[out], chunk=planted.heldout, **files)
    assert metrics["l0"] == pytest.approx(3, rel=0.05)
    assert read_json(out / "metrics.json")["l0"] == pytest.approx(3, rel=0.05)
    assert read_json(out / "metrics.json")["spikes"] == 0
    tensors = sae.arrays(out)
    np.testing.assert_allclose(np.linalg.norm(tensors["decoder"], axis=1), 1, atol=1e-6)
    best = (planted.dictionary @ tensors["decoder"].T).max(axis=1)
    assert best.mean() > 0.9
    assert metrics["fvu"] < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_saved_sae_reconstructs_as_the_trained_one(planted, name) -> None:
    """At learning rate 0, a step's FVU and L0 are those of the weights that would be saved."""
    settings = replace(planted.settings, architecture=name, **OWN.get(name, {}), batch_size=512)
    data = reader.Chunk(planted.chunks[0])
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    batches = list(reader.batches(planted.chunks[0], batch_size=512, epochs=8, order_seed=0))
    exact = name in (
        "topk",
        "relu",
        "gated",
        "jumprelu",
    )  # the others use a threshold that approximates that of the batch
    with Workers(1) as workers:
        training = start(settings, normalisation, data.d_model, batches[0], workers)
        for batch in batches:
            training.step(batch, 3e-3)
        for batch in batches[:1] if exact else batches * 6:
            result = training.step(batch, 0.0)
        weights = normalisation.fold({n: value.numpy() for n, value in training.weights().items()})
    cfg = {"architecture": name, "n_latents": 64, "d_model": 24, "k": 3}
    loaded = SAE(own.weights_of(weights, cfg, "here"), cfg)
    x = batch
    latents = loaded.encode(x)
    fvu = (loaded.decode(latents) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert float((latents > 0).sum() / len(x)) == pytest.approx(result.l0, rel=1e-3 if exact else 0.03)
    assert float(fvu) == pytest.approx(result.fvu, rel=1e-3 if exact else 0.05)


def test_folding_decoder_norms_changes_no_reconstruction() -> None:
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=(8, 4)) for name in ("encoder", "decoder")}
    weights |= {"encoder_bias": random.normal(size=8), "decoder_bias": random.normal(size=4)}
    weights["decoder"][3] = 0
    folded = unit_decoder(weights)
    x = random.normal(size=(20, 4))

    def forward(w):
        return np.maximum((x - w["decoder_bias"]) @ w["encoder"].T + w["encoder_bias"], 0) @ w["decoder"]

    np.testing.assert_allclose(forward(folded), forward(weights), atol=1e-12)
    norms = np.linalg.norm(folded["decoder"], axis=1)
    np.testing.assert_allclose(norms, np.arange(8) != 3, atol=1e-12)


def test_prefixes_are_those_of_the_paper_for_five_groups_and_always_grow() -> None:
    assert prefixes(65536, 5) == [2048, 6144, 14336, 30720, 65536]
    for n_latents in (5, 7, 64, 384):
        for groups in range(2, 6):
            sizes = prefixes(n_latents, groups)
            assert len(sizes) == groups
            assert sizes[0] >= 1
            assert sizes[-1] == n_latents
            assert all(a < b for a, b in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "relu", "auxk_alpha": 0.1}, "auxk_alpha: 0.1 given, but relu does not use it .only topk"),
        (
            {"architecture": "gated", "bandwidth": 0.1},
            "but gated does not use it .only jumprelu",
        ),
        (
            {"architecture": "relu", "product_dtype": "bfloat16"},
            "but relu does not use it .only topk.",
        ),
        ({"product_dtype": "float16"}, "product_dtype: 'float16' given; allowed: float32, bfloat16"),
        ({"architecture": "batchtopk", "groups": 4}, "groups: 4 given, but batchtopk does not use it"),
        ({"architecture": "jumprelu", "bandwidth": -1.0}, "bandwidth: -1.0 given; it must be above 0"),
        ({"architecture": "matryoshka", "groups": 1}, "groups: 1 given; it must be from 2"),
    ],
)
def test_settings_that_an_architecture_does_not_use_are_refused(planted, change, message) -> None:
    with pytest.raises(StudyError, match=message):
        replace(planted.settings, **change)


def test_every_architecture_is_in_the_config_and_its_module_names_its_source() -> None:
    assert definition("cohort")["properties"]["architecture"]["enum"] == NAMES
    assert list(own.TRAINED) == NAMES
    comment = (
        (Path(__file__).parents[3] / "config.yaml").read_text().split("# Kind of SAE: ")[1].split("architecture:")[0]
    )
    for name in NAMES:
        assert re.search(rf"\b{name}\b", comment)
        text = architecture(name).__doc__
        assert "et al. 20" in text or "and Nanda 20" in text
        assert "Loss: " in text
        assert "nitialisation" in text


def test_a_saved_sae_that_lacks_a_tensor_of_its_architecture_is_refused(planted, train, tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    out = train("a", replace(planted.settings, architecture="batchtopk", tokens=4096 * 3))
    tensors = load_file(out / "sae.safetensors")
    threshold = tensors.pop("threshold")
    save_file(tensors, out / "sae.safetensors")
    # A folder without digests, as one written by hand.
    cfg = json.loads((out / "cfg.json").read_text())
    (out / "cfg.json").write_text(json.dumps({k: v for k, v in cfg.items() if k not in ("digest", "weights_sha256")}))
    with pytest.raises(StudyError, match="no tensor 'threshold'"):
        sae.load(out)
    save_file(tensors | {"threshold": threshold[:5]}, out / "sae.safetensors")
    with pytest.raises(StudyError, match=r"threshold has shape \(5,\), but cfg.json says \(64,\)"):
        sae.load(out)
