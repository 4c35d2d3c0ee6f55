"""Every number of a stitched pair by dense arithmetic: the SAEs run whole, and latents are summed one by one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_table
from sae_stability.sae import formats, load
from sae_stability.sae.weights import Weights
from sae_stability.stitch.between import Between
from sae_stability.stitch.job import stitch
from sae_stability.stitch.stitched import stitched
from tests import pages
from tests.sae.training.chunks import planted_rows, write_chunk
from tests.stitch.conftest import LARGE, SMALL, TABLES, D, Stitched, run


def parts(sae, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(latents, rows, width): what each latent adds on each row; and the reconstruction without latents."""
    latents = sae.encode(x)
    constant = sae.reconstruct(torch.zeros_like(latents), x).double().numpy()
    alone = [
        sae.reconstruct(latents * (torch.arange(sae.n_latents) == i), x).double().numpy() for i in range(sae.n_latents)
    ]
    return np.stack(alone) - constant, constant


class Dense:
    """Mean squared error and L0 of any choice of latents of both SAEs."""

    def __init__(self, pair: Stitched) -> None:
        x = torch.from_numpy(pair.x)
        self.x = pair.x.astype(float)
        self.small, self.large = parts(pair.small, x), parts(pair.large, x)
        self.fired = [(sae.encode(x) != 0).numpy() for sae in (pair.small, pair.large)]

    def mse(self, keep: np.ndarray, add: np.ndarray) -> float:
        share = add.sum() / (keep.sum() + add.sum())
        bias = (1 - share) * self.small[1] + share * self.large[1]
        made = bias + self.small[0][keep].sum(0) + self.large[0][add].sum(0)
        return ((self.x - made) ** 2).mean()

    def l0(self, keep: np.ndarray, add: np.ndarray) -> float:
        return self.fired[0][:, keep].sum(1).mean() + self.fired[1][:, add].sum(1).mean()


@pytest.fixture(scope="module")
def dense(each: Stitched) -> Dense:
    return Dense(each)


ALL, NONE = np.ones(SMALL, bool), np.zeros(LARGE, bool)


def test_insertions_equal_brute_force(each: Stitched, dense: Dense):
    start = dense.mse(ALL, NONE)
    for row in each.insertions.itertuples():
        change = dense.mse(ALL, np.arange(LARGE) == row.latent) - start
        assert row.delta_mse == pytest.approx(change, abs=2e-6)
        assert row.fired == dense.fired[1][:, row.latent].sum()


def test_activations_of_nearest_latents_equal_brute_force(each: Stitched):
    small, large = (sae.encode(torch.from_numpy(each.x)).double().numpy() for sae in (each.small, each.large))
    for sae, latents in ((each.small, small), (each.large, large)):
        x = each.x.astype(float)
        if sae.input_norm == "layer":
            latents *= x.std(1, ddof=1)[:, None]
        elif sae.input_norm == "unit":
            latents *= np.linalg.norm(x, axis=1)[:, None] / x.shape[1] ** 0.5
    for row in each.insertions.itertuples():
        a, b = large[:, row.latent], small[:, row.nearest]
        both = np.linalg.norm(a) * np.linalg.norm(b)
        assert row.activation_cosine == pytest.approx(a @ b / both if both else np.nan, abs=1e-6, nan_ok=True)


def test_reconstruction_latents_added_one_by_one_equal_brute_force(each: Stitched, dense: Dense):
    assert set(each.reconstruction.latent) == set(each.insertions.latent[each.insertions.kind == "reconstruction"])
    for row in each.reconstruction.itertuples():
        add = np.isin(np.arange(LARGE), each.reconstruction.latent[: row.step])
        assert row.mse == pytest.approx(dense.mse(ALL, add), abs=2e-6)
        assert row.l0 == pytest.approx(dense.l0(ALL, add), abs=1e-9)


def test_each_sae_with_the_bias_of_the_other_equals_brute_force(each: Stitched, dense: Dense):
    sides = {"small": (dense.small, dense.large), "large": (dense.large, dense.small)}
    for name, (mine, other) in sides.items():
        for which, constant in (("own", mine[1]), ("other", other[1])):
            expected = ((dense.x - constant - mine[0].sum(0)) ** 2).mean()
            assert each.facts["mse_by_bias"][name][which] == pytest.approx(expected, abs=2e-6)


def test_swaps_of_one_component_equal_brute_force(each: Stitched, dense: Dense):
    members = each.components
    assert len(each.swaps) == 3
    for row in each.swaps.itertuples():
        latents = members[members.component == row.component].groupby("side").latent.apply(list)
        keep, add = ~np.isin(np.arange(SMALL), latents["small"]), np.isin(np.arange(LARGE), latents["large"])
        assert (row.n_small, row.n_large) == (1, add.sum())
        assert row.delta_mse == pytest.approx(dense.mse(keep, add) - dense.mse(ALL, NONE), abs=2e-6)
        assert row.delta_l0 == pytest.approx(dense.l0(keep, add) - dense.l0(ALL, NONE), abs=1e-9)


def test_each_step_of_the_path_equals_brute_force_and_the_last_one_is_the_large_sae(each: Stitched, dense: Dense):
    keep, add = ALL.copy(), NONE.copy()
    variance = ((dense.x - dense.x.mean(0)) ** 2).sum()
    for row in each.path.itertuples():
        some = each.components[each.components.component == row.component]
        keep[some[some.side == "small"].latent] = False
        add[some[some.side == "large"].latent] = True
        assert row.n_latents == keep.sum() + add.sum()
        mse = dense.mse(keep, add)
        assert row.mse == pytest.approx(mse, abs=2e-6)
        assert row.fvu == pytest.approx(mse * dense.x.size / variance, abs=2e-6)
        assert row.l0 == pytest.approx(dense.l0(keep, add), abs=1e-9)
    assert add.all()
    assert not keep.any()
    assert list(dict.fromkeys(each.path.phase)) == ["start", "novel", "swap", "unpartnered"]
    last = each.large.forward(torch.from_numpy(each.x)).double().numpy()
    assert row.mse == pytest.approx(((dense.x - last) ** 2).mean(), rel=1e-6)


def test_both_saes_run_whole_give_the_same_reconstruction(each: Stitched, dense: Dense):
    rng = np.random.default_rng(0)
    keep, add = rng.random(SMALL) < 0.5, rng.random(LARGE) < 0.5
    made = Between(each.small, each.large, keep, add, "count").forward(torch.from_numpy(each.x)).double().numpy()
    assert ((dense.x - made) ** 2).mean() == pytest.approx(dense.mse(keep, add), abs=2e-6)


def test_the_stitched_sae_loads_and_has_the_error_of_its_step(each: Stitched):
    loaded = load(each.folder / "sae")
    novel = int((each.insertions.kind == "novel").sum())
    assert loaded.n_latents == SMALL + novel
    step = each.path[each.path.phase == "novel"].iloc[-1]
    if each.small.activation != "topk":  # TopK gets a threshold in the place of k
        assert each.facts["stitched_fvu"] == pytest.approx(step.fvu, rel=1e-5)
        assert each.facts["stitched_l0"] == pytest.approx(step.l0, abs=1e-9)
    assert 0.5 < each.facts["stitched_l0"] / step.l0 < 1.5


def test_all_latents_of_one_sae_are_that_sae(relu: Stitched):
    x = torch.from_numpy(relu.x)
    ends = ((ALL, NONE, relu.small), (~ALL, ~NONE, relu.large))
    for keep, add, same in ends:
        assert torch.equal(stitched(relu.small, relu.large, keep, add).forward(x), same.forward(x))


def test_counts_and_the_prediction(relu: Stitched):
    facts, insertions = relu.facts, relu.insertions
    assert [facts["novel"], facts["reconstruction"], facts["small_without_partner"]] == [10, 4, 3]
    assert facts["census"] == [[0, 1, 10], [1, 0, 3], [1, 1, 2], [1, 2, 1]]
    assert facts["largest_component"] == [1, 2]
    assert facts["live"]["census"] == facts["census"]  # all latents fire
    lower = insertions.delta_mse < 0
    pairs = insertions.max_cosine[lower].to_numpy()[:, None] - insertions.max_cosine[~lower].to_numpy()
    assert facts["auc"] == pytest.approx((pairs < 0).mean())
    below = insertions.max_cosine < facts["youden_threshold"]
    assert facts["youden_j"] == pytest.approx(below[lower].mean() - below[~lower].mean())


@pytest.mark.parametrize(
    ("threshold", "census"),
    [(0.9, [[1, 1, 5]]), (1.01, [[0, 1, 5], [1, 0, 5]]), (-1.01, [[5, 5, 1]])],
    ids=["permuted copy", "above 1", "below -1"],
)
def test_an_sae_and_a_permuted_copy(tmp_path: Path, threshold: float, census: list):
    rng = np.random.default_rng(0)
    rows = np.linalg.qr(rng.standard_normal((D, D)))[0][:5].astype(np.float32)
    bias = rng.standard_normal(D).astype(np.float32)
    for name, some in (("small", rows), ("large", rows[rng.permutation(5)])):
        formats.write(tmp_path / name, Weights(some, some, np.zeros(5, np.float32), bias, "relu"), "own")
    chunk = write_chunk(tmp_path / "heldout", planted_rows(rows, 200, active=2, seed=1))
    saes = [("0", tmp_path / "small"), ("1", tmp_path / "large")]
    stitch(sae=saes, chunk=chunk, out=[("0-1", tmp_path / "out")], threshold=threshold)
    assert read_json(tmp_path / "out" / "stitch.json")["census"] == census
    tables = {name: read_table(tmp_path / "out" / f"{name}.parquet")[0] for name in ("swaps", "path", "insertions")}
    assert (tables["insertions"].kind == "novel").all() == (threshold > 1), "an exact duplicate is not novel"
    assert np.allclose(tables["insertions"].max_cosine, 1)
    assert np.allclose(tables["swaps"].delta_mse, 0, atol=1e-6)
    assert np.allclose(tables["swaps"].delta_l0, 0)
    assert len(tables["swaps"]) == sum(count for small, large, count in census if small and large)
    assert tables["path"].mse.iloc[-1] == pytest.approx(tables["path"].mse.iloc[0], rel=1e-5)


def test_dead_latents_do_not_count_among_the_live(tmp_path: Path):
    """Of two small latents that are composed in a large one, one never fires; nor does a novel latent."""
    small, large = np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[1:]
    large[0, 0] = 1
    for name, rows, dead in (("small", small, 0), ("large", large, 2)):
        bias = np.where(np.arange(len(rows)) == dead, -100, 0).astype(np.float32)
        formats.write(tmp_path / name, Weights(rows, rows, bias, np.zeros(4, np.float32), "relu"), "own")
    chunk = write_chunk(tmp_path / "heldout", np.abs(planted_rows(np.eye(4, dtype=np.float32), 50, active=2, seed=0)))
    saes = [("0", tmp_path / "small"), ("1", tmp_path / "large")]
    stitch(sae=saes, chunk=chunk, out=[("0-1", tmp_path / "out")])
    facts = read_json(tmp_path / "out" / "stitch.json")
    assert facts["census"] == [[0, 1, 2], [2, 1, 1]]
    assert facts["live"]["census"] == [[0, 1, 1], [1, 1, 1]]


def test_orders(relu: Stitched, tmp_path: Path):
    by_gain = run(tmp_path / "gain", "relu", order="gain")
    latents = by_gain.components.set_index("component").latent
    novel = latents[by_gain.path[by_gain.path.phase == "novel"].component].to_numpy()
    assert by_gain.insertions.delta_mse[novel].is_monotonic_increasing
    swapped = by_gain.path[by_gain.path.phase == "swap"].component
    assert by_gain.swaps.set_index("component").delta_mse[swapped].is_monotonic_increasing
    by_cosine = run(tmp_path / "cosine", "relu", order="cosine")
    novel = latents[by_cosine.path[by_cosine.path.phase == "novel"].component].to_numpy()
    assert by_cosine.insertions.max_cosine[novel].is_monotonic_increasing
    other = run(tmp_path / "seed", "relu", order_seed=1)
    assert not other.path.component.equals(relu.path.component)
    assert other.path.mse.iloc[-1] == pytest.approx(relu.path.mse.iloc[-1], rel=1e-7)


@pytest.mark.parametrize(("bias", "share"), [("small", 0), ("large", 1)])
def test_a_named_bias(tmp_path: Path, bias: str, share: int):
    pair = run(tmp_path, "relu", bias=bias)
    dense = Dense(pair)
    made = dense.large[0].sum(0) + (dense.large if share else dense.small)[1]
    assert pair.path.mse.iloc[-1] == pytest.approx(((dense.x - made) ** 2).mean(), rel=1e-6)
    # A latent is judged by what it does, and not by what the bias does.
    constant = (dense.large if share else dense.small)[1]
    before = dense.x - constant - dense.small[0].sum(0)
    assert pair.path.mse.iloc[0] == pytest.approx((before**2).mean(), rel=1e-6)
    changes = [((before - alone) ** 2).mean() - (before**2).mean() for alone in dense.large[0]]
    assert np.allclose(pair.insertions.delta_mse, changes, atol=2e-6)
    whole = stitched(pair.small, pair.large, ALL, NONE, bias=bias).forward(torch.from_numpy(pair.x))
    assert np.allclose(whole, pair.x - before, atol=1e-5)


def test_equal_bytes_with_any_number_of_threads(relu: Stitched, tmp_path: Path):
    saes = [("0", relu.folder.parent / "small"), ("1", relu.folder.parent / "large")]
    chunk = relu.folder.parent / "heldout"
    stitch(sae=saes, chunk=chunk, out=[("0-1", tmp_path)], threads=1)
    for name in ("insertions", "path", "swaps", "reconstruction"):
        assert read_table(tmp_path / f"{name}.parquet")[0].equals(getattr(relu, name))


@pytest.mark.parametrize(("name", "message"), [("0-2", "no SAE is called 2"), ("5", "a pair is written SMALL-LARGE")])
def test_a_pair_that_is_not_given(relu: Stitched, tmp_path: Path, name: str, message: str):
    saes = [("0", relu.folder.parent / "small"), ("1", relu.folder.parent / "large")]
    with pytest.raises(StudyError, match=message):
        stitch(sae=saes, chunk=relu.folder.parent / "heldout", out=[(name, tmp_path)])


def test_other_preprocessing_is_refused(relu: Stitched, tmp_path: Path):
    run(tmp_path, "layer")
    saes = [("0", relu.folder.parent / "small"), ("1", tmp_path / "large")]
    with pytest.raises(StudyError, match="normalised as 'none' and as 'layer'"):
        stitch(sae=saes, chunk=tmp_path / "heldout", out=[("0-1", tmp_path / "no")])


def test_the_pages_name_every_column_and_key(relu: Stitched):
    section = pages.section(pages.FORMATS, "Stitch: `stitch/NAME/N/`")
    listed = pages.columns_of_each(section, "file")
    assert listed == {f"{name}.parquet": set(getattr(relu, name).columns) for name in TABLES}
    assert relu.facts.keys() - set(re.findall(r"`(\w+)`", section)) <= {"digest"}
