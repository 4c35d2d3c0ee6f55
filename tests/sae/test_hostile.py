"""Truncated, mislabelled and hostile checkpoints: one line that names the file, nothing run, no memory taken."""

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

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.sae import formats

FIXTURES = Path(__file__).parent / "fixtures"
WEIGHTS = ("sae.safetensors", "sae_weights.safetensors", "ae.pt", "params.npz", "params.safetensors", "8.pt")
KINDS = ["sparsify-topk", "saelens-topk", "dictionary_learning-AutoEncoderTopK", "gemma_scope", "gemma_scope_2"]
KINDS += ["llama_scope", "openai-topk", "own"]


@pytest.fixture(params=KINDS)
def files(request, tmp_path):
    """(path to load, weights file, settings file or None) of a checkpoint that a test may spoil."""
    folder = tmp_path / "sae"
    if request.param == "own":
        formats.write(folder, formats.read(FIXTURES / "saelens-gated"), "own")
    else:
        shutil.copytree(FIXTURES / request.param, folder)
    found = [folder / name for name in (*WEIGHTS, "checkpoints/final.safetensors") if (folder / name).is_file()]
    settings = list(folder.glob("*.json"))
    return (found[0] if found[0].name == "8.pt" else folder), found[0], (settings or [None])[0]


def message(path: Path, format: str | None = None) -> str:
    with pytest.raises(StudyError) as error:
        sae.load(path, format)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


def load_or_refuse(path: Path) -> None:
    """Nothing but a StudyError may come of it."""
    with contextlib.suppress(StudyError):
        sae.load(path)


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


def test_weights_that_are_not_finite_are_refused(tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    arrays["W_dec"][0, 0] = np.nan
    np.savez(tmp_path / "params.npz", **arrays)
    assert "not finite" in message(tmp_path)


def test_shapes_that_disagree_are_both_told(tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    np.savez(tmp_path / "params.npz", **arrays | {"W_dec": arrays["W_dec"][:-1]})
    assert "decoder has shape (11, 6), but the encoder's asks for (12, 6)" in message(tmp_path)
    shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    settings = tmp_path / "sae" / "cfg.json"
    settings.write_text(settings.read_text().replace('"num_latents": 12', '"num_latents": 24'))
    assert "encoder.weight has shape (12, 6), but cfg.json says (24, 6)" in message(tmp_path / "sae")


def test_a_checkpoint_called_by_another_format_is_refused(files):
    path, _, _ = files
    right = formats.detect(path)
    for format in formats.REGISTRY:
        if format != right:
            message(path, format)
    assert "format 'magic' is not known; allowed: own, sparsify" in message(path, "magic")


def test_a_dictionary_of_another_class_than_it_says_is_refused(tmp_path):
    shutil.copytree(FIXTURES / "dictionary_learning-AutoEncoder", tmp_path / "sae")
    settings = tmp_path / "sae" / "config.json"
    settings.write_text(settings.read_text().replace('"AutoEncoder"', '"GatedAutoEncoder"'))
    assert "no tensor 'mag_bias', found bias, decoder.weight" in message(tmp_path / "sae")
    settings.write_text(settings.read_text().replace('"GatedAutoEncoder"', '"Unheard"'))
    assert "class 'Unheard' is not read" in message(tmp_path / "sae")
    settings.unlink()
    assert formats.read(tmp_path / "sae").activation == "relu"


def test_two_classes_that_look_alike_need_the_settings(tmp_path):
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


def test_an_npz_of_python_objects_is_refused(tmp_path):
    arrays = dict(np.load(FIXTURES / "gemma_scope" / "params.npz"))
    np.savez(tmp_path / "params.npz", **arrays | {"b_dec": np.array([Bomb(tmp_path / "ran")], dtype=object)})
    assert "pickle of Python objects" in message(tmp_path)
    assert not (tmp_path / "ran").exists()


def npy(shape: str, payload: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + payload


@pytest.mark.parametrize("shape", ["(1000000, 1000000000)", "(-5, 3)", "(4,)", "()"])
def test_an_npz_header_that_lies_takes_no_memory(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"):
            archive.writestr(f"{name}.npy", npy(shape, bytes(16)))
    assert "params.npz" in message(tmp_path)


@pytest.mark.parametrize("name", ["params.npz", "ae.pt"])
def test_a_file_that_would_unpack_to_a_thousand_times_its_size_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy" if name.endswith("npz") else "archive/data/0", bytes(1 << 24))
    assert "would unpack to" in message(tmp_path)


def test_names_that_point_out_of_an_archive_are_never_followed(tmp_path):
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
def test_a_safetensors_header_that_lies_is_refused(tmp_path, fault):
    shutil.copytree(FIXTURES / "sparsify-topk", tmp_path / "sae")
    (tmp_path / "sae" / "sae.safetensors").write_bytes(safetensors(HEADERS[fault], bytes(16)))
    assert "sae.safetensors: not readable as safetensors" in message(tmp_path / "sae")
    (tmp_path / "sae" / "sae.safetensors").write_bytes(struct.pack("<Q", 2**62) + bytes(64))
    assert "not readable as safetensors" in message(tmp_path / "sae")


def test_nothing_and_something_else_are_told_apart(tmp_path):
    assert "no such file or folder" in message(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    assert "in none of the formats that are read (own, sparsify" in message(tmp_path)
