"""Entries on a CPU: the right ones, and the same bits for any number of threads."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_stability.sae.training.kernels import dense_latents, torch_ops
from sae_stability.sae.training.kernels.cpu_ops import CpuOperations
from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.workers import Workers
from tests.sae.training.steps.test_gradients import settings_for, start

ARCHITECTURES = ("batchtopk", "matryoshka", "relu", "gated", "jumprelu")
PENALISED = ARCHITECTURES[2:]
LISTS = ("starts", "counts", "rows", "latents", "pre", "order", "offsets")


def scores(seed: int, rows: int, n_latents: int, scale: float) -> torch.Tensor:
    """(rows, n_latents) float32 with some ties, some zeros."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, n_latents)) * scale
    return torch.from_numpy(np.where(random.random(values.shape) < 0.3, values.round(1), values).astype(np.float32))


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name).to(getattr(a, name))) for name in LISTS)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 9),
    n_latents=st.integers(1, 150),
    share=st.floats(0, 1.1),
    scales=st.lists(st.sampled_from([0.01, 0.5, 1.0, 1.1, 30.0]), min_size=3, max_size=3),
)
def test_the_largest_of_a_batch_do_not_depend_on_the_batches_before(seed, rows, n_latents, share, scales):
    plain = Operations(torch.device("cpu"))
    with Workers(2) as workers:
        ours = CpuOperations(workers)
        for i, scale in enumerate(scales):
            pre = scores(seed + i, rows, n_latents, scale)
            count = round(share * pre.numel())
            found = ours.largest_of_all(pre, count)
            assert same(plain.largest_of_all(pre, count), found)
            assert len(found.pre) <= count


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 9), n_latents=st.integers(1, 300), floor=st.floats(-1, 4))
def test_entries_are_the_latents_above_the_floor(seed, rows, n_latents, floor):
    pre = scores(seed, rows, n_latents, 1.0)
    floors = torch.linspace(floor, floor + 1, n_latents)
    with Workers(2) as workers:
        ours = CpuOperations(workers).above(pre, floors)
    theirs = Operations(torch.device("cpu")).above(pre, floors)
    assert type(ours) is type(theirs)
    dense = int((pre > floors).sum()) > torch_ops.DENSE_FROM * pre.numel()
    assert isinstance(ours, DenseEntries) == dense
    if dense:
        assert all(torch.equal(entries.pre, torch.where(pre > floors, pre, 0)) for entries in (ours, theirs))
    else:
        assert same(theirs, ours)


@pytest.mark.parametrize(
    ("name", "dense"),
    [*((name, False) for name in ARCHITECTURES), *((name, True) for name in PENALISED)],
)
def test_threads_do_not_change_a_bit(name, dense, monkeypatch):
    monkeypatch.setattr(torch_ops, "DENSE_FROM", 0 if dense else 2)
    monkeypatch.setattr(dense_latents, "ROWS", 64)
    training = replace(settings_for(700, 20, 300, 1 / 32 if name == "batchtopk" else 0.0), architecture=name)
    nothing, random = Normalisation(np.zeros(40, np.float32), 1.0), np.random.default_rng(0)
    batches = [torch.from_numpy(random.normal(size=(300, 40)).astype(np.float32)) for _ in range(4)]
    weights = {n: value.astype(np.float32) for n, value in start(700, 40).items()}
    states = []
    for threads in (1, 2, 5):
        with Workers(threads) as workers:
            step = architecture(name).make_step(weights, training, nothing, torch.device("cpu"), workers)
            for batch in batches:
                step.step(batch, 1e-3)
            states.append(step.state())
    for other in states[1:]:
        assert all(torch.equal(value, other[n]) for n, value in states[0].items())


def test_results_come_in_order_and_a_single_item_runs_in_the_calling_thread():
    """A single item may itself use the pool; in one of the pool's threads it would wait for the pool forever."""
    with Workers(3) as workers:
        assert list(workers.in_order(lambda i: i * i, iter(range(20)))) == [i * i for i in range(20)]
        assert list(workers.in_order(lambda _: threading.get_ident(), [0])) == [threading.get_ident()]
