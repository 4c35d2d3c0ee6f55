"""One flipped bit in any file of a study is noticed by whoever reads it, in a line that names the file; or it changes
nothing that is read."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from sae_stability.activations import reader
from sae_stability.activations.matrix import import_matrix
from sae_stability.corpus.blocks import BlockFile
from sae_stability.errors import StudyError
from sae_stability.figures import drawings, summary, tables
from sae_stability.files import read_json, read_table, remembered, verify, write_json
from sae_stability.match.floors import write_floor
from sae_stability.match.overlap_tables import write_overlap
from sae_stability.match.pairs import match_pair
from sae_stability.pipeline.contents import Contents
from sae_stability.sae.convert import convert
from sae_stability.sae.formats import own
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.train import train_chunk

FLIPS = 60


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Every kind of file that a study of a matrix writes, made by the verbs' own functions."""
    root = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    np.save(root / "rows.npy", rng.standard_normal((300, 8), dtype=np.float32))
    sizes = {"heldout_rows": 100, "train_rows": 200, "chunk_rows": 100, "shard_rows": 60}
    for chunk in ("heldout", 0, 1):
        import_matrix(
            matrix=root / "rows.npy", chunk=chunk, out=root / f"activations/{chunk}", config_hash="a", **sizes
        )
    for seed in (0, 1):
        settings = TrainSettings(
            n_latents=16, k=2, batch_size=20, tokens=200, chunk_tokens=100, warmup_steps=2, init_seed=seed
        )
        state, out = root / f"states/{seed}.safetensors", root / f"saes/base/seed-{seed}"
        first = root / "activations/0"
        train_chunk(chunk=first, chunk_index=0, settings=settings, state_out=state, progress=False)
        train_chunk(
            chunk=root / "activations/1",
            chunk_index=1,
            settings=settings,
            first_chunk_manifest=first / "manifest.json",
            previous=state,
            out=out,
            progress=False,
            config_hash="b",
        )
        evaluate(
            sae=[out],
            chunk=root / "activations/heldout",
            out_json=[root / f"evaluation/{seed}.json"],
            out_parquet=[root / f"evaluation/{seed}.parquet"],
            config_hash=["c"],
        )
    convert(checkpoint=root / "saes/base/seed-0", to="sparsify", out=root / "elsewhere")
    convert(checkpoint=root / "elsewhere", out=root / "imported", config_hash="d")
    a, b = (root / f"saes/base/seed-{seed}" for seed in (0, 1))
    alive = {f"latents_{name}": root / f"evaluation/{seed}.parquet" for seed, name in enumerate("ab")}
    match_pair(a=a, b=b, out=root / "match.parquet", config_hash="e", **alive)
    write_floor(n_latents=16, d_model=8, rep=0, out=root / "floor.parquet", config_hash="f")
    write_overlap(
        cohort="base",
        match=[root / "match.parquet"],
        floor=[root / "floor.parquet"],
        latents=[(seed, root / f"evaluation/{seed}.parquet") for seed in (0, 1)],
        sae=[(0, a), (1, b)],
        config_hash="g",
        out=root / "overlap",
    )
    figure = root / "figures/seeds"
    tables.write_table(
        figure="seeds", input=[("base", root / "overlap")], config_hash="h", out=figure.with_suffix(".parquet")
    )
    pictures = {name: figure.with_suffix(f".{name}") for name in ("svg", "pdf", "png")}
    drawings.write_figure(
        figure="seeds",
        table=figure.with_suffix(".parquet"),
        config_hash="i",
        caption=figure.with_suffix(".rst"),
        record=figure.with_suffix(".json"),
        **pictures,
    )
    summary.write_summary(
        study="flips",
        base="base",
        overlap=[("base", root / "overlap")],
        evaluation=[("base", root / "evaluation/0.json")],
        config_hash="j",
        out=root / "summary.rst",
        record=root / "summary.json",
    )
    write_tokens(root)
    Contents(root / "contents.json").of([root / "rows.npy"])
    write_json(root / "checked.json", {"checked": "k"})
    return root


def write_tokens(root: Path) -> None:
    """A token set of a tokenizer made on the spot."""
    from sae_stability.corpus.tokenize import write_token_set
    from sae_stability.models.source import ModelSource
    from tests.tiny import sentences, tiny_gpt_neox

    model = tiny_gpt_neox(root / "model", head=False)
    write_token_set(
        sentences(60),
        ModelSource(str(model)),
        context_length=16,
        packing=True,
        heldout_tokens=100,
        train_tokens=300,
        chunk_tokens=150,
        out=root / "tokens",
    )


def of_table(path: Path, _root: Path):
    return read_table(path)


def of_sae(path: Path, _root: Path):
    weights = own.read(path.parent)
    return weights.tensors, weights.settings


def of_chunk(path: Path, _root: Path):
    chunk = reader.Chunk(path.parent)
    shards = [[tensor.numpy() for tensor in chunk.shard(number)] for number in range(len(chunk.shard_rows))]
    return chunk.manifest["mean"], chunk.scale, shards


def of_tokens(path: Path, _root: Path):
    return [
        [getattr(blocks, name) for name in ("tokens", "document_id", "position", "special")]
        for chunk in ("heldout", 0, 1)
        for _, blocks in BlockFile(path.parent, chunk).read()
    ]


def of_record(path: Path, _root: Path) -> None:
    """What the report does before it shows anything."""
    verify(file=[path.with_suffix(".json"), *path.parent.glob(f"{path.stem}.parquet")])


def of_state(path: Path, root: Path):
    settings = TrainSettings(
        n_latents=16, k=2, batch_size=20, tokens=200, chunk_tokens=100, warmup_steps=2, init_seed=0
    )
    train_chunk(
        chunk=root / "activations/1",
        chunk_index=1,
        settings=settings,
        first_chunk_manifest=root / "activations/0/manifest.json",
        previous=path,
        out=path.with_name("sae"),
        progress=False,
    )
    return own.arrays(path.with_name("sae"))


def of_memory(path: Path, root: Path):
    """A damaged memory is nothing more than forgotten."""
    assert remembered(path).get("files") in (None, remembered(root / path.name)["files"])
    return Contents(path).of([root / "rows.npy"])


READ: dict[str, Callable] = {
    "match.parquet": of_table,
    "floor.parquet": of_table,
    "evaluation/0.parquet": of_table,
    "evaluation/0.json": lambda path, _: read_json(path),
    "overlap/pairs.parquet": of_table,
    "overlap/latents.parquet": of_table,
    "saes/base/seed-0/history.parquet": of_table,
    "saes/base/seed-0/metrics.json": lambda path, _: read_json(path),
    "saes/base/seed-0/sae.safetensors": of_sae,
    "saes/base/seed-0/cfg.json": of_sae,
    "imported/sae.safetensors": of_sae,
    "imported/cfg.json": of_sae,
    "activations/heldout/manifest.json": of_chunk,
    "activations/heldout/shard-0001.safetensors": of_chunk,
    "tokens/manifest.json": of_tokens,
    "tokens/chunk-0000.parquet": of_tokens,
    "states/0.safetensors": of_state,
    "figures/seeds.parquet": of_table,
    "figures/seeds.csv": of_record,
    "figures/seeds.svg": of_record,
    "figures/seeds.pdf": of_record,
    "figures/seeds.png": of_record,
    "figures/seeds.rst": of_record,
    "figures/seeds.json": of_record,
    "summary.rst": of_record,
    "summary.json": of_record,
    "contents.json": of_memory,
    "checked.json": lambda path, _: remembered(path).get("checked") in (None, "k"),
}


@pytest.mark.parametrize("name", READ)
def test_a_flipped_bit_is_noticed_and_named_or_changes_nothing(results: Path, tmp_path: Path, name: str):
    folder = shutil.copytree((results / name).parent, tmp_path / "copy", ignore=_other_folders(results / name))
    path = folder / Path(name).name
    good, expected = path.read_bytes(), READ[name](path, results)
    chance = random.Random(name)
    noticed = 0
    for _ in range(FLIPS if "states" not in name else 8):
        bit = chance.randrange(8 * len(good))
        spoilt = bytearray(good)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            found = READ[name](path, results)
        except StudyError as error:
            noticed += 1
            text = str(error)
            assert str(folder) in text
            assert len(text.splitlines()) == 1
            assert "delete" in text
        else:
            same(found, expected)
        path.write_bytes(good)
    assert noticed or name in ("contents.json", "checked.json")


def _other_folders(file: Path):
    """Of the folder of results, the files alone: what a reader needs lies in one folder."""
    return lambda where, names: [name for name in names if Path(where, name).is_dir()]


def same(found, expected) -> None:
    """Whether two results of a reader are equal, to the bit."""
    if hasattr(expected, "columns"):
        assert_frame_equal(found, expected, check_exact=True)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        for key in expected:  # more keys are no harm
            same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected
