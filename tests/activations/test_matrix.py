import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from sae_stability.activations.matrix import import_matrix
from sae_stability.activations.reader import Chunk, rows
from sae_stability.errors import StudyError

MATRIX = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)


def npy(folder, matrix=MATRIX):
    np.save(folder / "matrix.npy", matrix)
    return folder / "matrix.npy"


def safetensors(folder, matrix=MATRIX):
    save_file({"x": torch.from_numpy(matrix), "other": torch.zeros(1)}, folder / "matrix.safetensors")
    return folder / "matrix.safetensors"


def columns(folder, matrix=MATRIX):
    table = pa.table({f"c{number}": matrix[:, number] for number in range(matrix.shape[1])})
    pq.write_table(table, folder / "matrix.parquet", row_group_size=7)
    return folder / "matrix.parquet"


def lists(folder, matrix=MATRIX):
    table = pa.table({"x": list(matrix)})
    pq.write_table(table, folder / "matrix.parquet", row_group_size=7)
    return folder / "matrix.parquet"


def with_names(folder):
    table = pa.table({"name": ["a"] * len(MATRIX), "x": list(MATRIX)})
    pq.write_table(table, folder / "matrix.parquet")
    return folder / "matrix.parquet"


MAKERS = {
    "npy": (npy, {}),
    "safetensors": (safetensors, {"tensor": "x"}),
    "parquet columns": (columns, {}),
    "parquet lists": (lists, {}),
}


def take(path, out, chunk, **changes):
    arguments = {
        "matrix": path,
        "tensor": None,
        "chunk": chunk,
        "heldout_rows": 20,
        "train_rows": 70,
        "chunk_rows": 40,
        "shard_rows": 15,
        "dtype": "float32",
        "shuffle_seed": 0,
        "out": out,
        "config_hash": "abc",
    }
    return import_matrix(**{**arguments, **changes})


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_matrix_becomes_held_out_rows_and_chunks(tmp_path, kind):
    maker, options = MAKERS[kind]
    path = maker(tmp_path)
    expected = {"heldout": range(20), 0: range(20, 60), 1: range(60, 90)}
    for chunk, numbers in expected.items():
        out = tmp_path / f"chunk-{chunk}"
        take(path, out, chunk, **options)
        activations, index = (torch.cat(part) for part in zip(*rows(out), strict=True))
        assert sorted(index.tolist()) == list(numbers)
        assert np.array_equal(activations.numpy(), MATRIX[index.numpy()])
        assert (index.tolist() == list(numbers)) == (chunk == "heldout")
        assert len(Chunk(out).shard_rows) == {"heldout": 2, 0: 3, 1: 3}[chunk]


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(tmp_path, kind, value):
    maker, options = MAKERS[kind]
    matrix = MATRIX.copy()
    matrix[33, 2] = value
    path = maker(tmp_path, matrix)
    take(path, tmp_path / "fine", "heldout", **options)
    with pytest.raises(StudyError, match=r"matrix\.\w+, row 33: .*NaN or infinity; leave such rows out"):
        take(path, tmp_path / "out", 0, **options)
    assert not list(tmp_path.glob("out/*"))


def test_integers_and_doubles_are_numbers_too(tmp_path):
    for matrix in (np.arange(300).reshape(100, 3), MATRIX.astype(np.float64), MATRIX.astype(np.float16)):
        take(npy(tmp_path, matrix), tmp_path / "out", "heldout")
        activations = next(rows(tmp_path / "out"))[0]
        assert np.array_equal(activations.numpy(), matrix[:15].astype(np.float32)[: len(activations)])


def test_a_pickle_is_never_loaded(tmp_path):
    path = tmp_path / "matrix.npy"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(StudyError, match="not readable as npy"):
        take(path, tmp_path / "out", 0)
    np.save(path, np.array([{"a": 1}] * 100, dtype=object), allow_pickle=True)
    with pytest.raises(StudyError, match="not readable as npy"):
        take(path, tmp_path / "out", 0)


@pytest.mark.parametrize(
    ("maker", "options", "message"),
    [
        (npy, {"train_rows": 81}, "100 rows, but 20 held-out and 81 training rows are asked for"),
        (npy, {"chunk": 2}, "chunk 2 is empty"),
        (safetensors, {"tensor": "y"}, "no tensor 'y'; allowed: other, x|no tensor 'y'; allowed: x, other"),
        (safetensors, {"tensor": "other"}, r"has the shape \(1,\); allowed: \(rows, width\)"),
        (safetensors, {}, r"holds several tensors \((other, x|x, other)\); name one with `tensor`"),
        (with_names, {}, "column 'name' holds string, not numbers; leave it out of the file"),
    ],
)
def test_a_wrong_matrix_is_named(tmp_path, maker, options, message):
    arguments = {"chunk": 0, **options}
    with pytest.raises(StudyError, match=message):
        take(maker(tmp_path), tmp_path / "out", **arguments)


def test_files_that_are_missing_or_unknown_are_named(tmp_path):
    with pytest.raises(StudyError, match="no such file"):
        take(tmp_path / "none.npy", tmp_path / "out", 0)
    (tmp_path / "a.csv").touch()
    with pytest.raises(StudyError, match=r"allowed endings: \.npy, \.safetensors, \.parquet"):
        take(tmp_path / "a.csv", tmp_path / "out", 0)


def test_lists_of_unequal_length_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [[1.0, 2.0]] * 98 + [[1.0], [1.0, 2.0, 3.0]]}), tmp_path / "a.parquet")
    with pytest.raises(StudyError, match="lists of unequal length"):
        take(tmp_path / "a.parquet", tmp_path / "out", 1, train_rows=80)


def test_the_number_of_threads_changes_no_byte(tmp_path):
    path = npy(tmp_path, np.random.default_rng(1).normal(size=(5000, 64)).astype(np.float32))
    sizes = {"train_rows": 4900, "chunk_rows": 4900, "shard_rows": 2000, "dtype": "float16"}
    made = []
    for threads in (1, 4):
        take(path, tmp_path / str(threads), 0, threads=threads, **sizes)
        made.append({file.name: file.read_bytes() for file in (tmp_path / str(threads)).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 4
