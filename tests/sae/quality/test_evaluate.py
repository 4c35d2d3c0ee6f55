"""Evaluation: metrics equal plain sums over dense latents, and SAEs spliced into tiny language models."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.activations import reader
from sae_stability.activations.extraction import extract
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.files import read_json, read_table, write_json
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.sae.formats import own
from sae_stability.sae.quality.evaluate import LANGUAGE_METRICS, evaluate
from tests import tiny
from tests.sae.training.steps.device_stand_in import device_stand_in


def test_metrics_equal_plain_sums(planted, train, one_chunk, tmp_path) -> None:
    out = train("a", replace(one_chunk, tokens=1280, chunk_tokens=1280, epochs=1, n_latents=200))
    evaluate(sae=[out], chunk=planted.heldout, out_json=[tmp_path / "e.json"], out_parquet=[tmp_path / "e.parquet"])
    x = torch.cat([rows for rows, _ in reader.rows(planted.heldout)]).double()
    w = {name: torch.from_numpy(value).double() for name, value in sae.arrays(out).items()}
    pre = torch.relu((x - w["decoder_bias"]) @ w["encoder"].T + w["encoder_bias"])
    latents = torch.where(pre >= pre.topk(3).values[:, -1:], pre, 0.0)
    error = x - latents @ w["decoder"] - w["decoder_bias"]
    metrics = read_json(tmp_path / "e.json")
    assert metrics["fvu"] == pytest.approx(float(error.square().sum() / (x - x.mean(0)).square().sum()), rel=1e-4)
    fired = (latents > 0).sum(0).numpy()
    assert metrics["l0"] == pytest.approx(fired.sum() / 2000, abs=1e-3)
    assert metrics["dead_fraction"] == pytest.approx((fired == 0).mean(), abs=0.006)
    assert metrics["n_rows"] == 2000
    assert all(metrics[name] is None for name in LANGUAGE_METRICS)
    table, _ = read_table(tmp_path / "e.parquet")
    assert np.abs(table.fired - fired).max() <= 1
    assert (table.alive == (table.fired > 0)).all()
    latent = int(fired.argmax())
    assert table.mean_activation[latent] == pytest.approx(float(latents[:, latent].sum() / fired[latent]), rel=1e-3)


def test_latents_that_never_fired_equal_their_initial_rows(planted, train, one_chunk, tmp_path) -> None:
    out = train("a", replace(one_chunk, n_latents=400, tokens=1280, chunk_tokens=1280, epochs=1, k=2))
    evaluate(sae=[out], chunk=planted.heldout, out_json=[tmp_path / "e.json"], out_parquet=[tmp_path / "e.parquet"])
    table, _ = read_table(tmp_path / "e.parquet")
    assert table.init_similarity_decoder.max() == pytest.approx(1, abs=1e-6)
    assert table.init_similarity_decoder.min() < 0.999


@pytest.fixture(scope="module", params=["causal", "masked"])
def language(request, tmp_path_factory):
    """A tiny language model, its token set and held-out activations of one hookpoint."""
    folder = tmp_path_factory.mktemp(request.param)
    make, hookpoint = {"causal": (tiny.tiny_gpt_neox, "layers.0.mlp"), "masked": (tiny.tiny_bert, "encoder.layer.0")}[
        request.param
    ]
    model = str(make(folder / "model"))
    write_token_set(
        tiny.sentences(200),
        ModelSource(model),
        context_length=32,
        packing=True,
        heldout_tokens=1500,
        train_tokens=1000,
        chunk_tokens=1000,
        out=folder / "tokens",
    )
    extract(
        model=ModelSource(model),
        tokens=folder / "tokens",
        chunk="heldout",
        hookpoint=[hookpoint],
        out=[folder / "heldout"],
        dtype="float32",
        shard_rows=1000,
        shuffle_seed=0,
        keep_special=False,
        max_norm_multiple=None,
        batch_tokens=512,
        device="cpu",
        chunk_tokens=1000,
        config_hash="0",
    )
    return folder, model, hookpoint


def evaluated(language, tmp_path, tensors: dict[str, torch.Tensor], k: int, device="cpu", **extracted) -> dict:
    """Evaluate an SAE in the model. `extracted` overrides settings of the extraction in the held-out manifest."""
    folder, model, hookpoint = language
    chunk = folder / "heldout"
    if extracted:
        chunk = shutil.copytree(chunk, tmp_path / "heldout", dirs_exist_ok=True)
        write_json(chunk / "manifest.json", read_json(chunk / "manifest.json") | extracted)
    n_latents, d_model = tensors["encoder"].shape
    cfg = {"architecture": "topk", "n_latents": n_latents, "d_model": d_model, "k": k, "hookpoint": hookpoint}
    own.save(tmp_path / "sae", {name: value.numpy() for name, value in tensors.items()}, cfg)
    (metrics,) = evaluate(
        sae=[tmp_path / "sae"],
        chunk=chunk,
        out_json=[tmp_path / "e.json"],
        out_parquet=[tmp_path / "e.parquet"],
        tokens=folder / "tokens" / "heldout.parquet",
        model=ModelSource(model),
        device=device,
    )
    return metrics


SILENT = {
    "encoder": torch.eye(32),
    "decoder": torch.eye(32),
    "encoder_bias": torch.full((32,), -1e9),
    "decoder_bias": torch.zeros(32),
}


def test_rows_dropped_as_sinks_keep_their_activation(language, tmp_path) -> None:
    norms = torch.cat([rows for rows, _ in reader.rows(language[0] / "heldout")]).norm(dim=1)
    everywhere = evaluated(language, tmp_path, SILENT, 4)
    # A limit above every norm, also of masked and special tokens, which `norms` lacks: nothing is a sink.
    assert evaluated(language, tmp_path, SILENT, 4, max_norm=100 * float(norms.max())) == everywhere
    half = evaluated(language, tmp_path, SILENT, 4, max_norm=float(norms.median()))
    assert half["ce_clean"] == everywhere["ce_clean"]
    assert 1e-5 < half["kl"] < everywhere["kl"]
    for name in ("ce_sae", "ce_zero", "ce_mean"):
        assert abs(half[name] - everywhere[name]) > 1e-6
    nowhere = evaluated(language, tmp_path, SILENT, 4, max_norm=0.0)
    assert {nowhere[name] for name in ("ce_sae", "ce_zero", "ce_mean")} == {nowhere["ce_clean"]}
    assert nowhere["kl"] == 0


def test_special_tokens_are_replaced_if_the_sae_was_trained_on_them(language, tmp_path) -> None:
    text = evaluated(language, tmp_path, SILENT, 4)
    special = evaluated(language, tmp_path, SILENT, 4, keep_special=True)
    assert special["ce_clean"] == text["ce_clean"]
    assert special["ce_tokens"] == text["ce_tokens"]
    assert abs(special["ce_zero"] - text["ce_zero"]) > 1e-6


def test_saes_evaluated_together_get_the_metrics_that_they_get_alone(language, tmp_path) -> None:
    folder, model, _ = language
    alone = []
    for number, scale in enumerate((0.5, 1.0)):
        tensors = SILENT | {"encoder": scale * torch.eye(32), "encoder_bias": torch.zeros(32)}
        alone.append(evaluated(language, tmp_path, tensors, 4))
        (tmp_path / "sae").rename(tmp_path / f"sae-{number}")
    assert alone[0] != alone[1]
    together = evaluate(
        sae=[tmp_path / "sae-0", tmp_path / "sae-1"],
        chunk=folder / "heldout",
        out_json=[tmp_path / "0.json", tmp_path / "1.json"],
        out_parquet=[tmp_path / "0.parquet", tmp_path / "1.parquet"],
        tokens=folder / "tokens" / "heldout.parquet",
        model=ModelSource(model),
    )
    assert together == alone == [read_json(tmp_path / f"{number}.json") for number in (0, 1)]


def test_a_perfect_sae_recovers_the_whole_loss_and_a_silent_one_nothing(language, tmp_path) -> None:
    eye = torch.eye(32)
    both = torch.cat([eye, -eye])  # every vector is the sum of its positive and its negative part
    perfect = {"encoder": both, "decoder": both, "encoder_bias": torch.zeros(64), "decoder_bias": torch.zeros(32)}
    metrics = evaluated(language, tmp_path, perfect, 64)
    assert metrics["fvu"] < 1e-9
    assert metrics["ce_sae"] == pytest.approx(metrics["ce_clean"], abs=1e-5)
    assert metrics["kl"] == pytest.approx(0, abs=1e-5)
    assert metrics["ce_tokens"] > 100
    assert metrics["ce_zero"] != pytest.approx(metrics["ce_clean"], abs=1e-4)
    silent = perfect | {"encoder_bias": torch.full((64,), -1e9)}
    nothing = evaluated(language, tmp_path, silent, 64)
    assert nothing["ce_sae"] == pytest.approx(nothing["ce_zero"], abs=1e-6)
    assert nothing["kl"] > 1e-4
    if nothing["ce_recovered_zero"] is not None:
        assert nothing["ce_recovered_zero"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("language", ["causal"], indirect=True)
def test_evaluation_in_the_model_on_a_device_equals_that_on_the_cpu(language, tmp_path, monkeypatch) -> None:
    """On a stand-in for a device, which supports neither inference mode nor loading by transformers."""
    arguments = {"tensors": SILENT | {"encoder_bias": torch.zeros(32)}, "k": 4, "max_norm": 100.0}
    on_cpu = evaluated(language, tmp_path, **arguments)
    network = load_model(ModelSource(language[1]), "cpu", lm_head=True)
    monkeypatch.setattr("sae_stability.sae.quality.language_model.load_model", lambda *_, **__: network.to("cuda"))
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    with device_stand_in():
        on_device = evaluated(language, tmp_path, **arguments, device="cuda")
    assert on_cpu["ce_sae"] != on_cpu["ce_clean"]
    for name in ("fvu", "l0", "ce_clean", "ce_sae", "ce_zero", "ce_mean", "kl", "ce_tokens"):
        assert on_device[name] == pytest.approx(on_cpu[name], abs=1e-6), name  # attention sums in another order
