import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_stability.activations import reader
from sae_stability.activations.writer import ChunkWriter, shuffled_order
from sae_stability.errors import StudyError
from sae_stability.files import read_json, write_json

ROWS, WIDTH, SHARDS = 103, 3, 4


def make(folder, rows=ROWS, shards=SHARDS, dtype="float32"):
    """A chunk whose row i is (i, -i, 1) with token_index i."""
    order = shuffled_order(0, 0, shards)
    index = np.arange(rows)
    writer = ChunkWriter(
        folder, WIDTH, dtype, order, np.bincount(order.shard(index), minlength=shards), {"hookpoint": "made up"}
    )
    values = torch.arange(rows, dtype=torch.float32)
    writer.add(torch.stack([values, -values, torch.ones(rows)], dim=1), index)
    writer.finish({})
    return folder


@pytest.fixture(scope="module")
def chunk(tmp_path_factory):
    return make(tmp_path_factory.mktemp("store") / "chunk-0000")


def taken(chunk, **options) -> list[list[int]]:
    """Row numbers of each batch."""
    return [batch[:, 0].int().tolist() for batch in reader.batches(chunk, **options)]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def test_rows_come_in_stored_order_with_their_index(chunk):
    parts = list(reader.rows(chunk))
    assert [len(index) for _, index in parts] == reader.Chunk(chunk).shard_rows
    assert all(torch.equal(activations[:, 0].long(), index) for activations, index in parts)
    assert sorted(torch.cat([index for _, index in parts]).tolist()) == list(range(ROWS))


def test_an_epoch_takes_every_row_once(chunk):
    assert sorted(flat(taken(chunk, batch_size=1))) == list(range(ROWS))
    assert sorted(flat(taken(chunk, batch_size=1, epochs=2))) == sorted([*range(ROWS)] * 2)


def test_batches_are_whole_float32_and_go_on_over_epochs(chunk):
    batches = list(reader.batches(chunk, batch_size=10, epochs=3))
    assert len(batches) == ROWS * 3 // 10
    assert {(tuple(batch.shape), batch.dtype) for batch in batches} == {((10, WIDTH), torch.float32)}
    assert sorted(flat(taken(chunk, batch_size=10, epochs=3))[:ROWS]) == list(range(ROWS))


def test_epochs_differ_and_shards_are_mixed_in_order(chunk):
    rows = flat(taken(chunk, batch_size=1, epochs=2))
    assert rows[:ROWS] != rows[ROWS:]
    assert rows[:ROWS] != torch.cat([index for _, index in reader.rows(chunk)]).tolist()


def test_the_order_seed_changes_the_order_only(chunk):
    first, again, other = (taken(chunk, batch_size=1, order_seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_steps_go_on_into_further_epochs(chunk):
    batches = taken(chunk, batch_size=10, epochs=1, steps=25)
    assert len(batches) == 25
    assert batches[:10] == taken(chunk, batch_size=10)
    assert batches == taken(chunk, batch_size=10, epochs=3)[:25]


def test_only_the_first_rows_are_taken_on_request(chunk):
    stored = torch.cat([index for _, index in reader.rows(chunk)]).tolist()
    assert sorted(flat(taken(chunk, batch_size=1, rows=60))) == sorted(stored[:60])


@settings(max_examples=60, deadline=None)
@given(
    batch_size=st.integers(1, 40),
    rows=st.integers(1, ROWS),
    steps=st.integers(0, 12),
    start=st.integers(0, 12),
    order_seed=st.integers(0, 3),
)
def test_resuming_goes_on_as_if_nothing_had_happened(chunk, batch_size, rows, steps, start, order_seed):
    options = {"batch_size": batch_size, "rows": rows, "order_seed": order_seed}
    whole = taken(chunk, **options, steps=start + steps)
    assert taken(chunk, **options, steps=steps, start=start) == whole[start:]


def test_resuming_does_not_read_what_it_skips(tmp_path):
    folder = make(tmp_path / "chunk-0000")
    whole = taken(folder, batch_size=10)
    last = {index for batch in whole[-1:] for index in batch}
    for number, (_, index) in enumerate(reader.rows(folder)):
        if not last & set(index.tolist()):
            (folder / f"shard-{number:04d}.safetensors").unlink()
    assert taken(folder, batch_size=10, start=len(whole) - 1) == whole[-1:]


def test_threads_do_not_change_a_bit(chunk):
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(torch.cat(list(reader.batches(chunk, batch_size=7, epochs=2))))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("room", "free", "cores", "most"),
    [(0, 400, 16, 2), (3, 400, 16, 4), (100, 400, 5, 6), (100, 400, 64, 17), (100, 8, 16, 3)],
)
def test_a_gpu_reads_more_shards_ahead_while_they_are_small(tmp_path, monkeypatch, room, free, cores, most):
    folder = make(tmp_path / "chunk-0000", rows=400, shards=16)
    shard = max(reader.Chunk(folder).shard_rows) * WIDTH * 4
    monkeypatch.setattr(reader, "_DEVICE_BYTES", room * shard)
    monkeypatch.setattr(reader, "cores", lambda: cores)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * shard, 0))
    monkeypatch.setattr(reader, "_moved", lambda tensor, device: tensor.clone())  # there is no device here
    alive, counts = weakref.WeakSet(), []
    read = reader._read

    def counted(*arguments):
        activations, order = read(*arguments)
        alive.add(activations)
        counts.append(len(alive))
        return activations, order

    monkeypatch.setattr(reader, "_read", counted)
    batches = []
    for batch in reader.batches(folder, batch_size=8, epochs=2, device="cuda"):
        while len(counts) < most:  # so many reads are under way before the first batch
            time.sleep(0.01)
        batches.append(batch[:, 0].int().tolist())
    assert max(counts) == most
    assert batches == taken(folder, batch_size=8, epochs=2)


def test_at_most_two_shards_are_alive(tmp_path, monkeypatch):
    folder = make(tmp_path / "chunk-0000", rows=400, shards=20)
    alive: list[weakref.ref] = []
    most = 0
    read = reader.Chunk.shard

    def counted(self, number):
        nonlocal most
        activations, index = read(self, number)
        alive.append(weakref.ref(activations))
        most = max(most, sum(reference() is not None for reference in alive))
        return activations, index

    monkeypatch.setattr(reader.Chunk, "shard", counted)
    batches = reader.batches(folder, batch_size=3, epochs=2)
    next(batches)
    # While the first shard is being taken, and the next batch made of it, the thread reads the second, and then waits.
    while len(alive) < 2:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(alive) == most == 2
    for _ in batches:
        pass
    assert len(alive) == 40
    assert most == 2


def test_an_empty_shard_is_no_obstacle(tmp_path):
    folder = make(tmp_path / "chunk-0000", rows=3, shards=9)
    assert 0 in reader.Chunk(folder).shard_rows
    assert sorted(flat(taken(folder, batch_size=1, epochs=2))) == [0, 0, 1, 1, 2, 2]


def test_half_precision_is_read_back_as_float32(tmp_path):
    folder = make(tmp_path / "chunk-0000", dtype="bfloat16")
    activations = torch.cat([activations for activations, _ in reader.rows(folder)])
    assert activations.dtype == torch.float32
    assert sorted(activations[:, 0].tolist()) == sorted(torch.arange(ROWS).bfloat16().float().tolist())


def test_too_many_rows_are_refused(chunk):
    with pytest.raises(StudyError, match=f"104 rows are asked for, but it has {ROWS}"):
        taken(chunk, batch_size=1, rows=ROWS + 1)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "replace"])
def test_a_damaged_shard_is_named(tmp_path, damage):
    folder = make(tmp_path / "chunk-0000")
    path = folder / "shard-0002.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    if damage == "flip":
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-50])
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes((folder / "shard-0001.safetensors").read_bytes())
    with pytest.raises(StudyError, match=r"shard-0002\.safetensors.*; delete .*chunk-0000 and run again"):
        taken(folder, batch_size=1)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "3", "null"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    folder = make(tmp_path / "chunk-0000")
    (folder / "manifest.json").write_text(content)
    with pytest.raises(StudyError, match=r"manifest\.json.*delete"):
        reader.Chunk(folder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rows": ROWS + 1}, "rows is not the sum"),
        ({"rows": None}, "rows is missing or cannot be"),
        ({"mean": None}, "mean is missing or cannot be"),
        ({"mean": ["a", "b", "c"]}, "mean is missing or cannot be"),
        ({"mean": [0.0]}, "mean is not d_model numbers"),
        ({"mean_centred_norm": "long"}, "mean_centred_norm is"),
        ({"shards": 3}, "shards is"),
        ({"shards": [3]}, r"shards\.name is"),
        ({"d_model": 0, "mean": []}, "d_model is missing or cannot be"),
        ({"dropped": None}, r"dropped\.sink is"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_named(tmp_path, change, found):
    folder = make(tmp_path / "chunk-0000")
    path = folder / "manifest.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(StudyError, match=rf"manifest\.json is damaged: {found}.*; delete .*chunk-0000 and run again"):
        reader.Chunk(folder)


def test_a_shard_that_is_deleted_while_a_job_reads_is_named(tmp_path):
    chunk = make(tmp_path / "chunk-0000")
    stream = reader.rows(chunk)
    next(stream)
    for shard in sorted(chunk.glob("shard-*"))[-1:]:
        shard.unlink()
    with pytest.raises(StudyError, match=rf"shard-.* is missing; delete {chunk} and run again"):
        list(stream)
