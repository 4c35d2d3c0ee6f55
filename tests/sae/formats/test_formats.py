"""Checkpoints made by other libraries (see fixtures/README.md): same latents and outputs, exact round trips."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.sae import formats
from sae_stability.sae.convert import convert
from sae_stability.sae.formats import own
from sae_stability.sae.weights import Weights

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
PICKLES = ("dictionary_learning", "openai", "qwen_scope", "goodfire", "batchtopk")
SINGLE_FILES = {"openai": "8.pt", "qwen_scope": "layer3.sae.pt", "goodfire": "l19.pth"}


def checkpoint(name: str) -> Path:
    """The path that a user gives: a folder, or the single file of some formats."""
    return FIXTURES / name / SINGLE_FILES.get(name.split("-")[0], ".")


def example(activation: str, **changes) -> Weights:
    """Random weights with an activation, 12 latents, width 6."""
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.normal(size=shape).astype(np.float32)

    extras = {
        "topk": {"k": 3},
        "abstopk": {"k": 3},
        "groupmax": {"k": 3},
        "relu": {},
        "jumprelu": {"threshold": np.abs(draw(12)), "k": 3},
        "gated": {"gate_bias": draw(12), "log_magnitude": draw(12)},
    }
    tensors = {"encoder": draw(12, 6), "decoder": draw(12, 6), "encoder_bias": draw(12), "decoder_bias": draw(6)}
    return Weights(**tensors, **(extras[activation] | {"activation": activation} | changes))


def same(a: Weights, b: Weights) -> bool:
    """Whether tensors and settings are equal bit for bit; `origin` may differ."""
    tensors = a.tensors.keys() == b.tensors.keys() and all(
        np.array_equal(a.tensors[n], b.tensors[n]) for n in a.tensors
    )
    return tensors and a.settings == b.settings


def test_every_format_has_a_fixture():
    assert {name.split("-")[0] for name in NAMES} == set(formats.FORMATS) - {"own"}


@pytest.mark.parametrize("name", NAMES)
def test_the_forward_pass_equals_that_of_the_library(name):
    expected = np.load(FIXTURES / name / "expected.npz")
    loaded = sae.load(checkpoint(name))
    x = torch.from_numpy(expected["x"])
    latents = loaded.encode(x)
    assert ((latents != 0).numpy() == (expected["latents"] != 0)).mean() == 1, "other latents fire"
    # Products of bfloat16 weights add in another order here; other differences are float32 rounding.
    np.testing.assert_allclose(latents, expected["latents"], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(loaded.forward(x), expected["output"], rtol=1e-4, atol=2e-5)
    assert loaded.encoder.shape == loaded.decoder.shape == formats.shape(checkpoint(name)) == (12, 6)
    assert (loaded.encoder_bias.shape, loaded.decoder_bias.shape) == ((12,), (6,))


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_any_float_dtype_are_accepted(name):
    loaded = sae.load(checkpoint(name))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        x = torch.randn(9, loaded.encoder.shape[1], generator=torch.Generator().manual_seed(0)).to(dtype)
        assert torch.equal(loaded.forward(x), loaded.forward(x.float()))


def test_the_scale_of_embeddings_is_folded_in_only_at_their_path_in_the_release(tmp_path):
    plain = formats.read(FIXTURES / "gemma_scope")
    scales = {"embedding/layer_12/width_1/average_l0_41": 1, "embedding/layer_12/average_l0_41": 1}
    for place, scale in (scales | {"embedding/width_1/average_l0_6": 6**0.5}).items():
        shutil.copytree(FIXTURES / "gemma_scope", tmp_path / place)
        for path in (tmp_path / place, tmp_path / place / ".." / Path(place).name):
            np.testing.assert_allclose(formats.read(path).decoder, plain.decoder * scale, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_format_is_detected_from_the_files(name):
    assert formats.detect(checkpoint(name)) == name.split("-")[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", formats.WRITTEN)
def test_an_sae_written_in_another_format_is_read_back_bit_for_bit(name, format, tmp_path):
    weights = formats.read(checkpoint(name))
    try:
        formats.write(tmp_path / "sae", weights, format)
    except StudyError:
        if format == "own":
            raise
        return  # the format cannot express this SAE
    assert formats.detect(tmp_path / "sae") == format
    assert same(weights, formats.read(tmp_path / "sae"))


WRITERS = [
    ("sparsify", "topk", {}),
    ("sparsify", "topk", {"subtract_decoder_bias": False, "skip": np.ones((6, 6), np.float32)}),
    ("sparsify", "groupmax", {}),
    ("saelens", "topk", {}),
    ("saelens", "abstopk", {}),
    ("saelens", "relu", {"subtract_decoder_bias": False, "input_norm": "layer"}),
    ("saelens", "jumprelu", {"input_norm": "unit"}),
    ("saelens", "gated", {}),
    ("dictionary_learning", "topk", {}),
    ("dictionary_learning", "relu", {}),
    ("dictionary_learning", "relu", {"subtract_decoder_bias": False}),
    ("dictionary_learning", "gated", {}),
    ("dictionary_learning", "jumprelu", {"threshold": np.full(12, 0.5, np.float32)}),
    ("dictionary_learning", "jumprelu", {"subtract_decoder_bias": False, "k": None}),
]


@pytest.mark.parametrize(("format", "activation", "changes"), WRITERS)
def test_a_writer_keeps_every_bit_and_the_forward_pass(format, activation, changes, tmp_path):
    weights = example(activation, **changes)
    formats.write(tmp_path / "theirs", weights, format)
    formats.write(tmp_path / "ours", weights, "own")
    assert same(weights, formats.read(tmp_path / "theirs"))
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    ours, theirs = sae.load(tmp_path / "ours"), sae.load(tmp_path / "theirs", format=format)
    assert torch.equal(ours.forward(x), theirs.forward(x))


NOT_WRITTEN = [
    ("sparsify", example("relu"), "sparsify has only TopK SAEs on raw activations"),
    ("sparsify", example("topk", input_norm="layer"), "input normalisation 'layer'"),
    ("saelens", example("groupmax"), "no groupmax SAEs"),
    ("saelens", example("topk", skip=np.ones((6, 6), np.float32)), "no skip connections"),
    ("dictionary_learning", example("jumprelu"), "and its thresholds; write it as saelens"),
    ("dictionary_learning", example("topk", subtract_decoder_bias=False), "no class for a topk SAE"),
    ("gemma_scope", example("topk"), "format 'gemma_scope' is not written; allowed: own, sparsify"),
]


@pytest.mark.parametrize(("format", "weights", "message"), NOT_WRITTEN)
def test_an_sae_that_a_format_cannot_express_is_refused(format, weights, message, tmp_path):
    with pytest.raises(StudyError, match=message):
        formats.write(tmp_path / "sae", weights, format)
    assert not (tmp_path / "sae").exists()


def test_a_trained_sae_is_the_same_in_every_format_that_is_written(tmp_path):
    weights = example("topk")
    own.save(tmp_path / "own", weights.tensors, {"architecture": "topk", "n_latents": 12, "d_model": 6, "k": 3})
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    expected = sae.load(tmp_path / "own").forward(x)
    for format in formats.WRITTEN:
        formats.write(tmp_path / format, formats.read(tmp_path / "own"), format)
        assert torch.equal(sae.load(tmp_path / format).forward(x), expected)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", ["own", "sparsify", "saelens", "dictionary_learning"])
def test_converting_never_overwrites_its_input(to, tmp_path):
    formats.write(tmp_path / "sae", example("topk"), "own")
    (tmp_path / "link").symlink_to("sae")
    before = files(tmp_path / "sae")
    for checkpoint, out in (("sae", "sae"), ("sae", "link"), ("sae", "sae/../sae"), ("sae/cfg.json", "sae")):
        with pytest.raises(StudyError, match="itself, which must not be overwritten; name another folder"):
            convert(checkpoint=tmp_path / checkpoint, out=tmp_path / out, to=to)
    assert files(tmp_path / "sae") == before


def test_converting_never_overwrites_the_settings_above_a_step(tmp_path):
    source = FIXTURES / "dictionary_learning-BatchTopKSAE"
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(source / "ae.pt", tmp_path / "checkpoints" / "ae_200.pt")
    shutil.copy(source / "config.json", tmp_path)
    with pytest.raises(StudyError, match="itself, which must not be overwritten"):
        convert(checkpoint=tmp_path / "checkpoints" / "ae_200.pt", out=tmp_path, to="own")


@pytest.mark.parametrize("there", formats.WRITTEN)
@pytest.mark.parametrize("to", formats.WRITTEN)
def test_converting_overwrites_only_an_sae_of_the_same_format(there, to, tmp_path):
    formats.write(tmp_path / "new", example("topk", k=2), "own")
    formats.write(tmp_path / "out", example("topk"), there)
    before = files(tmp_path / "out")
    if there == to:
        convert(checkpoint=tmp_path / "new", out=tmp_path / "out", to=to)
        assert formats.read(tmp_path / "out").k == 2
    else:
        with pytest.raises(
            StudyError, match=f"out: holds an SAE of the format {there}, which an SAE of the format {to} "
        ):
            convert(checkpoint=tmp_path / "new", out=tmp_path / "out", to=to)
        assert files(tmp_path / "out") == before


@pytest.mark.parametrize("to", formats.WRITTEN)
def test_a_conversion_killed_before_it_wrote_the_settings_can_be_repeated(to, tmp_path):
    formats.write(tmp_path / "new", example("topk", k=2), "own")
    formats.write(tmp_path / "out", example("topk"), to)
    (settings,) = (tmp_path / "out").glob("*.json")
    settings.unlink()
    convert(checkpoint=tmp_path / "new", out=tmp_path / "out", to=to)
    assert formats.read(tmp_path / "out").k == 2


@pytest.mark.parametrize("to", formats.WRITTEN)
@pytest.mark.parametrize("name", ["cfg.json", "config.json"])
def test_converting_does_not_write_beside_the_settings_of_something_else(to, name, tmp_path):
    formats.write(tmp_path / "new", example("topk", k=2), "own")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"model_type": "gpt2"}')
    with pytest.raises(StudyError, match=f"out: holds files of something else, which an SAE of the format {to} "):
        convert(checkpoint=tmp_path / "new", out=tmp_path / "out", to=to)
    assert files(tmp_path / "out").keys() == {name}


def test_a_missing_device_is_not_reported_as_an_error_of_the_file(tmp_path):
    formats.write(tmp_path / "own", example("topk"), "own")
    with pytest.raises(StudyError, match=r"^device: .no-such-device. cannot be used here"):
        sae.load(tmp_path / "own", device="no-such-device")


@pytest.mark.parametrize("name", ["AutoEncoder", "GatedAutoEncoder", "JumpReluAutoEncoder", "BatchTopKSAE"])
def test_a_backup_is_read_for_raw_activations(name, tmp_path):
    """Its biases apply to activations / norm_factor. With the biases scaled up, f(factor * x) = factor * f(x)."""
    source = FIXTURES / f"dictionary_learning-{name}"
    shutil.copy(source / "config.json", tmp_path)
    backup = {"step": 5, "ae": torch.load(source / "ae.pt"), "optimizer": {"state": {}}, "norm_factor": 2.5}
    torch.save(backup, tmp_path / "ae.pt")
    x = torch.from_numpy(np.load(source / "expected.npz")["x"])
    plain, scaled = sae.load(source), sae.load(tmp_path)
    torch.testing.assert_close(scaled.encode(2.5 * x), 2.5 * plain.encode(x))
    torch.testing.assert_close(scaled.forward(2.5 * x), 2.5 * plain.forward(x))
    torch.save(backup | {"norm_factor": "large"}, tmp_path / "ae.pt")
    with pytest.raises(StudyError, match="norm_factor is 'large'; must be a number above 0"):
        sae.load(tmp_path)


def test_a_checkpoint_saved_during_training_is_read(tmp_path):
    source = FIXTURES / "dictionary_learning-BatchTopKSAE"
    (tmp_path / "checkpoints").mkdir()
    step = tmp_path / "checkpoints" / "ae_200.pt"
    shutil.copy(source / "ae.pt", step)
    shutil.copy(source / "config.json", tmp_path)
    assert formats.detect(step) == "dictionary_learning"
    assert formats.shape(step) == (12, 6)
    assert same(formats.read(step), formats.read(source))


def test_arrays_need_no_torch_unless_the_format_is_a_pickle(tmp_path):
    library = Path(__file__).parents[3] / "workflow"
    paths = [str(checkpoint(name)) for name in NAMES if not name.startswith(PICKLES)]
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r})\nfrom sae_stability import sae\n"
        f"for path in {paths!r}: sae.arrays(path)\nassert not {{'torch', 'numba', 'pandas'}} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_seeds_in_one_folder_are_found_in_order_and_are_not_taken_for_one_sae(tmp_path):
    hookpoint = tmp_path / "layers.0.mlp"
    for seed in (10, 9, 0):
        shutil.copytree(FIXTURES / "sparsify-topk", hookpoint / f"seed{seed}")
    (hookpoint / "logs").mkdir()
    assert [path.name for path in formats.saes_at(hookpoint)] == ["seed0", "seed9", "seed10"]
    assert formats.saes_at(hookpoint / "seed9") == [hookpoint / "seed9"]
    assert formats.read(hookpoint / "seed9").origin["hookpoint"] == "layers.0.mlp"
    with pytest.raises(StudyError, match=r"holds several SAEs; name one of seed0, seed9, seed10"):
        sae.load(hookpoint)


def test_old_signed_coders_select_by_absolute_value(tmp_path):
    shutil.copytree(FIXTURES / "sparsify-signed", tmp_path / "sae")
    settings = tmp_path / "sae" / "cfg.json"
    settings.write_text(settings.read_text().replace('"signed": false', '"signed": true'))
    loaded = sae.load(tmp_path / "sae")
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    pre = (x - loaded.decoder_bias) @ loaded.encoder.T + loaded.encoder_bias
    latents = loaded.encode(x)
    assert (latents < 0).any()
    torch.testing.assert_close(latents.abs().sort(1).values[:, -3:], pre.abs().sort(1).values[:, -3:])


def test_settings_that_contradict_the_weights_are_refused():
    from sae_stability.sae.weights import checked

    for changes in ({"k": 0}, {"k": 13}, {"k": None}, {"k": True}, {"activation": "magic"}, {"input_norm": "batch"}):
        with pytest.raises(StudyError, match="here: "):
            checked(dataclasses.replace(example("topk"), **changes), "here")


TRAINED = {
    "relu": ({}, lambda pre, product, t: np.maximum(pre, 0)),
    "batchtopk": ({"threshold"}, lambda pre, product, t: pre * (pre > t["threshold"])),
    "gated": (
        {"magnitude_scale", "magnitude_bias"},
        lambda pre, product, t: np.maximum(product * np.exp(t["magnitude_scale"]) + t["magnitude_bias"], 0) * (pre > 0),
    ),
}


@pytest.mark.parametrize("architecture", TRAINED)
def test_saes_trained_here_with_other_architectures_are_exported_correctly(architecture, tmp_path):
    extras, definition = TRAINED[architecture]
    random = np.random.default_rng(4)
    tensors = example("relu").tensors | {name: random.uniform(0.1, 0.5, 12).astype(np.float32) for name in extras}
    own.save(tmp_path / "own", tensors, {"architecture": architecture, "n_latents": 12, "d_model": 6, "k": 3})
    formats.write(tmp_path / "theirs", formats.read(tmp_path / "own"), "saelens")
    x = random.normal(size=(9, 6)).astype(np.float32)
    product = (x - tensors["decoder_bias"]) @ tensors["encoder"].T
    expected = definition(product + tensors["encoder_bias"], product, tensors)
    np.testing.assert_allclose(sae.load(tmp_path / "theirs").encode(torch.from_numpy(x)), expected, atol=1e-5)
