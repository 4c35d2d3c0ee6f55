"""Truncated, mislabelled and hostile checkpoints: one line that names the file, no code run, no memory exhausted."""

import contextlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.sae import formats
from sae_stability.sae.formats import own
from sae_stability.sae.info import describe

FIXTURES = Path(__file__).parent / "fixtures"
WEIGHTS = ("sae.safetensors", "sae_weights.safetensors", "ae.pt", "params.npz", "params.safetensors", "8.pt")
KINDS = ["sparsify-topk", "saelens-topk", "dictionary_learning-AutoEncoderTopK", "gemma_scope", "gemma_scope_2"]
KINDS += ["llama_scope", "openai-topk", "own-imported", "own-trained"]


@pytest.fixture(params=KINDS)
def files(request, tmp_path):
    """(path to load, weights file, settings file or None) of a checkpoint that a test may damage."""
    folder = tmp_path / "sae"
    if request.param == "own-imported":
        formats.write(folder, formats.read(FIXTURES / "saelens-gated"), "own")
    elif request.param == "own-trained":
        trained(folder)
    else:
        shutil.copytree(FIXTURES / request.param, folder)
    found = [folder / name for name in (*WEIGHTS, "checkpoints/final.safetensors") if (folder / name).is_file()]
    settings = list(folder.glob("*.json"))
    return (found[0] if found[0].name == "8.pt" else folder), found[0], (settings or [None])[0]


def trained(folder: Path, **changes) -> None:
    """Write an SAE as training does, with some settings changed afterwards."""
    weights = formats.read(FIXTURES / "saelens-topk")
    cfg = {"architecture": "topk", "n_latents": weights.n_latents, "d_model": weights.d_model, "k": 3}
    own.save(folder, weights.tensors, cfg)
    (folder / "cfg.json").write_text(json.dumps(cfg | changes))


def message(path: Path, format: str | None = None) -> str:
    with pytest.raises(StudyError) as error:
        sae.load(path, format)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


def load_or_refuse(path: Path) -> None:
    """Loading and running must work or raise a StudyError."""
    with contextlib.suppress(StudyError):
        loaded = sae.load(path)
        loaded.forward(torch.ones(2, loaded.encoder.shape[1]))


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(files, share):
    path, weights, _ = files
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    assert weights.name in message(path)


def test_a_flipped_byte_is_an_sae_or_a_one_line_error(files):
    path, weights, _ = files
    content = weights.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 150)):
        spoilt = bytearray(content)
        spoilt[place] ^= 0x55
        weights.write_bytes(spoilt)
        load_or_refuse(path)


def test_settings_of_any_kind_are_used_or_refused(files):
    path, _, settings = files
    if settings is None:
        pytest.skip("this format has no settings")
    good = json.loads(settings.read_text())
    for text in ("", "{", "[]", "3", "null", '"k"', "[" * 100_000, "\x00", "{}"):
        settings.write_text(text)
        load_or_refuse(path)
    for key in good:
        for value in (None, -1, 1e300, "x", [], {}, True, 10**30):
            settings.write_text(json.dumps({**good, key: value}))
            load_or_refuse(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    arrays["W_dec"][0, 0] = value
    np.savez(tmp_path / "params.npz", **arrays)
    assert "not finite" in message(tmp_path)
    trained(tmp_path / "sae")
    tensors = load_file(tmp_path / "sae" / "sae.safetensors")
    tensors["decoder"][0, 0] = value
    save_file(tensors, tmp_path / "sae" / "sae.safetensors")
    assert "decoder holds values that are not finite" in message(tmp_path / "sae")


@pytest.mark.parametrize("changes", [{"k": k} for k in (1000, 0, -1, None, 2.5, True)] + [{"n_latents": 0}])
def test_an_sae_of_this_project_with_impossible_settings_is_refused(changes, tmp_path):
    trained(tmp_path / "sae", **changes)
    assert f"cfg.json: {next(iter(changes))} is " in message(tmp_path / "sae")


def test_an_sae_of_this_project_in_another_precision_is_refused(tmp_path):
    trained(tmp_path / "sae")
    tensors = {name: torch.from_numpy(value) for name, value in load_file(tmp_path / "sae" / "sae.safetensors").items()}
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.float64):
        save_torch({name: value.to(dtype) for name, value in tensors.items()}, tmp_path / "sae" / "sae.safetensors")
        assert "sae.safetensors: " in message(tmp_path / "sae")


@pytest.mark.parametrize("changes", [{"d_sae": 999}, {"d_in": 3}])
def test_sizes_in_the_settings_must_be_those_of_the_weights(changes, tmp_path):
    (key, value), *_ = changes.items()
    folder = shutil.copytree(FIXTURES / "saelens-topk", tmp_path / "saelens")
    settings = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(settings | changes))
    assert f"{key} is {value}, but the weights have " in message(folder)
    key = {"d_sae": "dict_size", "d_in": "activation_dim"}[key]
    folder = shutil.copytree(FIXTURES / "dictionary_learning-AutoEncoderTopK", tmp_path / "theirs")
    settings = json.loads((folder / "config.json").read_text())
    settings["trainer"][key] = value
    (folder / "config.json").write_text(json.dumps(settings))
    assert f"{key} is {value}, but the weights have " in message(folder)


@pytest.mark.parametrize(
    ("name", "key"),
    [("saelens-topk", "apply_b_dec_to_input"), ("sparsify-topk", "transcode"), ("sparsify-topk", "signed")],
)
def test_a_quoted_false_is_neither_true_nor_false(name, key, tmp_path):
    folder = shutil.copytree(FIXTURES / name, tmp_path / "sae")
    settings = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(settings | {key: "false"}))
    assert f"{key} is 'false'; must be true or false" in message(folder)


def test_null_in_the_settings_counts_as_false(tmp_path):
    folder = shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    settings = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(settings | {"signed": None, "transcode": None}))
    loaded = formats.read(folder)
    assert (loaded.activation, loaded.subtract_decoder_bias) == ("topk", True)


@pytest.mark.parametrize("name", ["ae.pt", "8.pt"])
def test_k_may_be_a_whole_number_in_any_precision(name, tmp_path):
    folder = FIXTURES / ("dictionary_learning-AutoEncoderTopK" if name == "ae.pt" else "openai-topk")
    state, k = torch.load(folder / name, weights_only=True), torch.tensor(2.0, dtype=torch.bfloat16)
    torch.save(state | {"k": k} if name == "ae.pt" else state | {"activation_state_dict": {"k": k}}, tmp_path / name)
    shutil.copy(FIXTURES / "dictionary_learning-AutoEncoderTopK" / "config.json", tmp_path)
    assert formats.read(tmp_path / name).k == 2


@pytest.mark.parametrize("key", ["d_in", "k", "num_latents"])
def test_an_error_of_any_length_is_one_short_line(key, tmp_path):
    folder = shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    settings = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(settings | {key: "x\ny" * 100_000}))
    message(folder)


def test_both_shapes_that_disagree_are_named(tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    np.savez(tmp_path / "params.npz", **arrays | {"W_dec": arrays["W_dec"][:-1]})
    assert "decoder has shape (11, 6), but the encoder's shape requires (12, 6)" in message(tmp_path)
    shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    settings = tmp_path / "sae" / "cfg.json"
    settings.write_text(settings.read_text().replace('"num_latents": 12', '"num_latents": 24'))
    assert "encoder.weight has shape (12, 6), but cfg.json says (24, 6)" in message(tmp_path / "sae")


def test_a_checkpoint_read_as_another_format_is_refused(files):
    path, _, _ = files
    right = formats.detect(path)
    for format in formats.FORMATS:
        if format != right:
            message(path, format)
    assert "format 'magic' is not known; allowed: own, sparsify" in message(path, "magic")


def test_a_dictionary_of_another_class_than_it_says_is_refused(tmp_path):
    shutil.copytree(FIXTURES / "dictionary_learning-AutoEncoder", tmp_path / "sae")
    settings = tmp_path / "sae" / "config.json"
    settings.write_text(settings.read_text().replace('"AutoEncoder"', '"GatedAutoEncoder"'))
    assert "no tensor 'mag_bias', found bias, decoder.weight" in message(tmp_path / "sae")
    settings.write_text(settings.read_text().replace('"GatedAutoEncoder"', '"Unheard"'))
    assert "class 'Unheard' is not supported" in message(tmp_path / "sae")
    settings.unlink()
    assert formats.read(tmp_path / "sae").activation == "relu"


def test_two_classes_with_the_same_tensors_need_the_settings(tmp_path):
    shutil.copy(FIXTURES / "dictionary_learning-AutoEncoderTopK" / "ae.pt", tmp_path)
    assert "TopK and BatchTopK SAEs look alike" in message(tmp_path)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("name", ["ae.pt", "8.pt"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, name):
    torch.save({"encoder.weight": Bomb(tmp_path / "ran")}, tmp_path / name)
    assert "asks for code to be run" in message(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert name in message(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_tensor_that_repeats_one_number_is_refused(tmp_path):
    huge = torch.zeros(1).expand(10**6, 10**6)
    torch.save({"encoder.weight": huge, "bias": huge[0]}, tmp_path / "ae.pt")
    assert "larger than what the file holds" in message(tmp_path)


def endless() -> dict:
    found: dict = {}
    found["a"] = found
    return found


ODD = {
    "k is nan": lambda: {"k": torch.tensor(float("nan"))},
    "k is infinite": lambda: {"k": torch.tensor(float("inf"))},
    "k is complex": lambda: {"k": torch.tensor(2 + 1j)},
    "k is a fraction": lambda: {"k": torch.tensor(2.7)},
    "k is many": lambda: {"k": torch.tensor([2, 3])},
    "a mapping in itself": lambda: {"more": endless()},
    "a name of two lines": lambda: {"encoder.weight": 3, "x\ny" * 1000: 3},
    "a complex matrix": lambda: {"encoder.weight": torch.ones(12, 6, dtype=torch.complex64)},
    "a conjugate": lambda: {"encoder.weight": torch.ones(12, 6, dtype=torch.complex64).conj()},
    "no numbers behind it": lambda: {"encoder.weight": torch.ones(12, 6, device="meta")},
    "a row": lambda: {"encoder.weight": torch.ones(12)},
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", ["ae.pt", "8.pt"])
def test_a_pickle_with_odd_contents_is_refused_in_one_line(name, what, tmp_path):
    folder = FIXTURES / ("dictionary_learning-AutoEncoderTopK" if name == "ae.pt" else "openai-topk")
    state = torch.load(folder / name, weights_only=True)
    odd = ODD[what]()
    if name == "8.pt" and "k" in odd:
        odd = {"activation_state_dict": odd}
    torch.save(state | odd, tmp_path / name)
    if name == "ae.pt":
        shutil.copy(folder / "config.json", tmp_path)
    message(tmp_path / name)


def test_an_encoder_that_is_not_a_matrix_is_refused_by_its_shape_alone(tmp_path):
    folder = shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    save_file({"encoder.weight": np.ones(12, np.float32)}, folder / "sae.safetensors")
    with pytest.raises(StudyError, match=r"the encoder has shape \(12,\); must be a matrix"):
        formats.shape(folder)


def test_describing_an_sae_refuses_damaged_metrics(tmp_path):
    trained(tmp_path / "sae")
    (tmp_path / "sae" / "metrics.json").write_text("[1, 2]")
    with pytest.raises(StudyError, match=r"metrics\.json: must hold a JSON mapping"):
        describe(tmp_path / "sae")


def with_changed_member(content: bytes, member: str, change) -> bytes:
    """An archive with one member changed and its checksum updated."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, change(data) if info.filename.endswith(member) else data)
    return out.getvalue()


@pytest.mark.parametrize(("name", "member"), [("8.pt", "data.pkl"), ("params.npz", "W_enc.npy")])
def test_a_tampered_archive_is_an_sae_or_a_one_line_error(name, member, tmp_path):
    content = (FIXTURES / ("openai-topk" if name == "8.pt" else "gemma_scope") / name).read_bytes()
    random = np.random.default_rng(0)

    def change(data: bytes) -> bytes:
        spoilt = bytearray(data)
        spoilt[random.integers(min(len(spoilt), 2000))] = random.integers(256)
        return bytes(spoilt)

    for _ in range(300):
        (tmp_path / name).write_bytes(with_changed_member(content, member, change))
        load_or_refuse(tmp_path / name)


@pytest.mark.parametrize("values", [np.full((6, 12), "a"), np.ones((6, 12), complex), np.ones((6, 12), "M8[s]")])
def test_values_that_are_not_real_numbers_are_refused(values, tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    np.savez(tmp_path / "params.npz", **arrays | {"W_enc": values})
    assert "must be real numbers" in message(tmp_path)


def test_an_npz_of_python_objects_is_refused(tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    np.savez(tmp_path / "params.npz", **arrays | {"b_dec": np.array([Bomb(tmp_path / "ran")], dtype=object)})
    assert "pickle of Python objects" in message(tmp_path)
    assert not (tmp_path / "ran").exists()


def npy(shape: str, payload: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + payload


@pytest.mark.parametrize("shape", ["(1000000, 1000000000)", "(-5, 3)", "(4,)", "()"])
def test_a_false_npz_header_allocates_no_memory(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"):
            archive.writestr(f"{name}.npy", npy(shape, bytes(16)))
    assert "params.npz" in message(tmp_path)


@pytest.mark.parametrize("name", ["params.npz", "ae.pt"])
def test_a_file_that_would_unpack_to_a_thousand_times_its_size_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy" if name.endswith("npz") else "archive/data/0", bytes(1 << 24))
    assert "would unpack to" in message(tmp_path)


def test_names_that_point_outside_an_archive_are_never_followed(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(4))
    content = (FIXTURES / "gemma_scope" / "params.npz").read_bytes()
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "params.npz").write_bytes(content)
    with zipfile.ZipFile(inner / "params.npz", "a") as archive:
        archive.writestr("../escaped.npy", buffer.getvalue())
        archive.writestr("/escaped.npy", buffer.getvalue())
    assert formats.read(inner).n_latents == 12
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "params.npz"]


def safetensors(header: dict, payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


HEADERS = {
    "a tensor beyond the end": {"encoder.weight": {"dtype": "F32", "shape": [12, 6], "data_offsets": [0, 288]}},
    "sizes that overflow": {"encoder.weight": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}},
    "a type that is none": {"encoder.weight": {"dtype": "F13", "shape": [4], "data_offsets": [0, 16]}},
    "offsets in reverse": {"encoder.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 8]}},
    "no mapping": {"encoder.weight": 3},
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_false_safetensors_header_is_refused(tmp_path, fault):
    shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    (tmp_path / "sae" / "sae.safetensors").write_bytes(safetensors(HEADERS[fault], bytes(16)))
    assert "sae.safetensors: not readable as safetensors" in message(tmp_path / "sae")
    (tmp_path / "sae" / "sae.safetensors").write_bytes(struct.pack("<Q", 2**62) + bytes(64))
    assert "not readable as safetensors" in message(tmp_path / "sae")


def test_a_missing_path_and_a_folder_without_an_sae_have_different_errors(tmp_path):
    assert "no such file or folder" in message(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    assert "no SAE in a known format (own, sparsify" in message(tmp_path)
