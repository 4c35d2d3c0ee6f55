"""Match files: their contents, and the errors for damaged SAEs."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_metadata, read_table
from sae_stability.match import pairs as pairs_module
from sae_stability.match.floors import write_floor, write_floors
from sae_stability.match.pairs import match_pair
from sae_stability.pipeline.batches import batches
from sae_stability.sae import formats
from sae_stability.sae.convert import convert
from sae_stability.sae.info import describe

from .studies import write_sae


def paths(tmp_path, n_b=20):
    generator = np.random.default_rng(0)
    alive = np.arange(n_b) > 0
    a = write_sae(tmp_path, 1, *generator.standard_normal((2, 20, 8)))
    b = write_sae(tmp_path, 2, *generator.standard_normal((2, n_b, 8)), alive)
    return {"a": a[0], "b": b[0], "latents_a": a[1], "latents_b": b[1], "out": tmp_path / "1-2.parquet"}


def test_a_match_file_holds_both_assignments_and_their_certificates(tmp_path):
    call = paths(tmp_path)
    match_pair(**call)
    table, metadata = read_table(call["out"])
    assert metadata["a"] == {"cohort": "base", "seed": 1, "config_hash": None}
    for side in ("encoder", "decoder"):
        assert sorted(table[f"counterpart_{side}"]) == list(range(20))
        assert metadata[side]["objective"] == pytest.approx(table[f"cosine_{side}"].sum())
        assert 0 <= metadata[side]["gap"] <= 20e-6
        assert (table[f"best_{side}_cosine"] >= table[f"cosine_{side}"]).all()
        reverse = table[f"reverse_best_{side}_cosine"].to_numpy()
        assert (reverse[table[f"counterpart_{side}"]] >= table[f"cosine_{side}"]).all()
    assert table["alive"].all()
    assert table["alive_b"].tolist() == [False] + [True] * 19


def test_a_match_file_has_the_same_bytes_each_time_and_the_timing_stands_beside_it(tmp_path):
    call = paths(tmp_path)
    for name in ("first", "second"):
        match_pair(**call | {"out": tmp_path / f"{name}.parquet"})
        spent = read_json(tmp_path / f"{name}.timing.json")
        assert all(spent[side]["seconds"] > 0 and spent[side]["peak_bytes"] > 0 for side in ("encoder", "decoder"))
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "second.parquet").read_bytes()


def test_pairs_matched_together_equal_pairs_matched_alone(tmp_path):
    generator = np.random.default_rng(0)
    saes = [write_sae(tmp_path, seed, *generator.standard_normal((2, 20, 8))) for seed in (1, 2, 3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    together = [tmp_path / f"together-{a}-{b}.parquet" for a, b in pairs]
    pairs_module.match_pairs(
        a=[saes[a][0] for a, _ in pairs],
        b=[saes[b][0] for _, b in pairs],
        latents_a=[saes[a][1] for a, _ in pairs],
        latents_b=[saes[b][1] for _, b in pairs],
        config_hash=[f"{a}{b}" for a, b in pairs],
        out=together,
    )
    for (a, b), path in zip(pairs, together, strict=True):
        alone = tmp_path / "alone.parquet"
        match_pair(a=saes[a][0], b=saes[b][0], latents_a=saes[a][1], latents_b=saes[b][1], out=alone)
        assert read_table(path)[0].equals(read_table(alone)[0])
        assert read_metadata(path)["config_hash"] == f"{a}{b}"


def test_an_sae_is_read_once_for_several_pairs_within_the_memory_limit(tmp_path, monkeypatch):
    folders = [write_sae(tmp_path, seed, *np.ones((2, 20, 8)))[0] for seed in (1, 2, 3)]
    cache = pairs_module.SaeCache()
    first = [cache(folder) for folder in folders]
    assert [cache(folder) for folder in folders] == first
    monkeypatch.setattr(pairs_module, "KEPT_BYTES", cache.size - 1)
    assert cache(folders[0]) is first[0]
    assert cache(folders[2]) is first[2]
    assert cache(folders[1]) is not first[1], "the least recently used SAE was dropped"


def test_lists_of_unequal_length_are_refused_before_anything_is_written(tmp_path):
    call = paths(tmp_path)
    with pytest.raises(StudyError, match="--b is given 2 times for 1 pairs; give it once for each"):
        pairs_module.match_pairs(a=[call["a"]], b=[call["b"]] * 2, out=[call["out"]])
    with pytest.raises(StudyError, match="--out is given 1 times for 2 repeats"):
        write_floors(n_latents=4, d_model=2, rep=[0, 1], out=[call["out"]])
    assert not call["out"].exists()


def test_small_pairs_share_a_job_and_large_ones_do_not():
    assert [len(some) for some in batches(range(10), 384, 384)] == [10]
    assert [len(some) for some in batches(range(36), 32_768, 768)] == [12, 12, 12]
    assert [len(some) for some in batches(range(3), 147_456, 4096)] == [1, 1, 1]
    assert sum(map(len, batches(range(1000), 8, 8))) == 1000


def test_row_norms_do_not_matter(tmp_path):
    call = paths(tmp_path)
    match_pair(**call)
    before = read_table(call["out"])[0]
    generator = np.random.default_rng(0)
    encoder, decoder = generator.standard_normal((2, 20, 8))
    norms = generator.uniform(0.1, 10, (20, 1))
    write_sae(tmp_path, 1, encoder / norms, decoder * norms)
    match_pair(**call)
    after = read_table(call["out"])[0]
    for side in ("encoder", "decoder"):
        assert (after[f"counterpart_{side}"] == before[f"counterpart_{side}"]).all()
        np.testing.assert_allclose(after[f"cosine_{side}"], before[f"cosine_{side}"], atol=1e-6)


def test_saes_of_unequal_size_leave_latents_unmatched(tmp_path):
    call = paths(tmp_path, n_b=15)
    match_pair(**call)
    table = read_table(call["out"])[0]
    assert (table["counterpart_decoder"] == -1).sum() == 5
    assert table["cosine_decoder"].isna().sum() == 5
    assert "reverse_best_decoder" not in table


def test_repeats_of_a_floor_differ_and_each_is_reproducible(tmp_path):
    for rep, name in ((0, "first"), (0, "second"), (1, "other")):
        write_floor(n_latents=30, d_model=8, rep=rep, out=tmp_path / f"{name}.parquet")
    first, second, other = (read_table(tmp_path / f"{name}.parquet")[0] for name in ("first", "second", "other"))
    assert first.equals(second)
    assert not first.equals(other)
    assert not (first["counterpart_encoder"] == first["counterpart_decoder"]).all()


def test_a_missing_sae_is_named(tmp_path):
    call = paths(tmp_path)
    (call["a"] / "sae.safetensors").unlink()
    with pytest.raises(StudyError, match=r"seed-1/sae\.safetensors: no such file"):
        match_pair(**call)


def test_a_truncated_sae_is_named(tmp_path):
    call = paths(tmp_path)
    file = call["b"] / "sae.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StudyError, match=r"seed-2/sae\.safetensors: not readable as safetensors"):
        match_pair(**call)


WRONG = {
    "no decoder": lambda tensors: tensors.pop("decoder"),
    "another shape": lambda tensors: tensors.update(decoder=np.ones((20, 9), np.float32)),
    "float16": lambda tensors: tensors.update(decoder=tensors["decoder"].astype(np.float16)),
    "int32": lambda tensors: tensors.update(decoder=np.ones((20, 8), np.int32)),
    "NaN": lambda tensors: tensors["encoder_bias"].fill(np.nan),
    "no bias": lambda tensors: tensors.pop("encoder_bias"),
    "large": lambda tensors: tensors["encoder"].fill(1e30),
    "large bias": lambda tensors: tensors["decoder_bias"].fill(1e30),
    "zeros": lambda tensors: tensors["decoder"].fill(0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_load_refuses_is_refused_in_the_same_line(tmp_path, wrong):
    call = paths(tmp_path)
    folder = call["a"]
    tensors = dict(load_file(folder / "sae.safetensors"))
    WRONG[wrong](tensors)
    save_file(tensors, folder / "sae.safetensors")
    cfg = {"architecture": "topk", "n_latents": 20, "d_model": 8, "k": 1}  # as a person would write it
    (folder / "cfg.json").write_text(json.dumps(cfg))
    lines = set()
    for verb in (
        lambda: sae.load(folder),
        lambda: match_pair(**call),
        lambda: describe(folder),
        lambda: convert(checkpoint=folder, to="sparsify", out=tmp_path / "out"),
        lambda: sae.arrays(folder),
    ):
        with pytest.raises(StudyError) as error:
            verb()
        lines.add(str(error.value))
    assert len(lines) == 1
    assert "seed-1" in lines.pop()


def test_an_evaluation_of_another_sae_is_named(tmp_path):
    call = paths(tmp_path, n_b=15)
    with pytest.raises(StudyError, match=r"seed-2\.parquet: 15 rows for an SAE of 20 latents"):
        match_pair(**call | {"latents_a": call["latents_b"]})


def test_reading_the_project_s_own_format_imports_no_other_format(tmp_path, monkeypatch):
    folder, _ = write_sae(tmp_path, 0, np.eye(3), np.eye(3))
    monkeypatch.setattr(formats, "_module", lambda name: pytest.fail(f"looked at {name}"))
    assert {side: rows.shape for side, rows in pairs_module.dictionaries(folder).items()} == {
        "encoder": (3, 3),
        "decoder": (3, 3),
    }
    # The same when the file is missing.
    (folder / "sae.safetensors").unlink()
    with pytest.raises(StudyError, match="no such file"):
        pairs_module.dictionaries(folder)
