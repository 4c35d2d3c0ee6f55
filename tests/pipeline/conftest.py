"""Pipelines of small studies: objects alone, without Snakemake."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, fingerprints, modules
from sae_stability.study.build import Study
from tests.pipeline.planted import Planted, forget
from tests.study_config import small_config


@pytest.fixture
def pipeline_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pipeline]:
    """Makes a pipeline of a study whose results lie in `results` of a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def make(config: dict | None = None) -> Pipeline:
        return Pipeline(Study.from_config({**(config or small_config()), "results": "results"}))

    return make


@pytest.fixture
def pipeline(pipeline_of) -> Pipeline:
    """The pipeline of `small_config`: cohorts `base` (seeds 0, 1, 2) and `size-32` (0, 1), four chunks."""
    return pipeline_of()


@pytest.fixture(autouse=True)
def edited(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Verbs and modules whose code counts as edited; the real hash has tests of its own, and takes a second."""
    names: set[str] = set()

    def code_hash(verb: str, *loaded: str) -> str:
        return " ".join([verb, *loaded, *(f"edited {name}" for name in (verb, *loaded) if name in names)])

    monkeypatch.setattr(fingerprints, "code_hash", code_hash)
    return names


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    """A package `planted`, which the code hash reads instead of this project's."""
    monkeypatch.setattr(modules, "PACKAGE", tmp_path / "planted")
    forget()
    yield Planted(tmp_path / "planted")
    forget()


@pytest.fixture
def matrix_config(tmp_path: Path) -> dict:
    """A study on a matrix of 600 rows, 7 wide: one cohort of seeds 0 and 1, two chunks."""
    import numpy as np

    np.save(tmp_path / "rows.npy", np.zeros((600, 7), np.float32))
    return {
        "study": "own",
        "passes": {"own": {"matrix": "rows.npy", "heldout_rows": 100, "train_rows": 500, "chunk_rows": 250}},
        "cohorts": {"base": {"n_latents": 8, "k": 2, "batch_size": 10, "warmup_steps": 0, "init_seeds": [0, 1]}},
    }


@pytest.fixture
def external_pipeline(pipeline_of, tmp_path: Path) -> Pipeline:
    """SAEs made elsewhere, 16 latents of width 8: cohort `local` of two formats, and `hub`."""
    import numpy as np

    from sae_stability.sae import formats
    from sae_stability.sae.weights import Weights

    for seed, format in enumerate(("sparsify", "saelens")):
        rows = np.random.default_rng(seed).normal(size=(16, 8)).astype(np.float32)
        weights = Weights(rows, rows, np.zeros(16, np.float32), np.zeros(8, np.float32), activation="topk", k=4)
        formats.write(tmp_path / "checkpoints" / format, weights, format)
    hub = [{"repo": "some/saes", "folder": f"layer/{number}", "revision": "abc"} for number in (0, 1)]
    return pipeline_of(
        {
            "study": "external",
            "cohorts": {
                "local": {"saes": ["checkpoints/sparsify", "checkpoints/saelens"]},
                "hub": {"saes": hub, "n_latents": 16, "d_model": 8},
            },
        }
    )
