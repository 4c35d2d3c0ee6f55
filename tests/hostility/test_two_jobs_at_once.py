"""Two jobs that make the same results at the same time, as an orphaned job and its rerun: both succeed, and what is
there in the end is what one job alone makes."""

import contextlib
import multiprocessing
from pathlib import Path

import numpy as np


def make(root: Path, barrier=None) -> None:
    """Activations, an SAE in two chunks, its evaluation and a match; each step begins when every job is there."""
    from sae_stability.activations.matrix import import_matrix
    from sae_stability.match.pairs import match_pair
    from sae_stability.sae.quality.evaluate import evaluate
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.train import train_chunk

    def together() -> None:
        if barrier is not None:
            barrier.wait(300)

    for chunk in ("heldout", 0, 1):
        together()
        import_matrix(
            matrix=root.parent / "rows.npy",
            chunk=chunk,
            heldout_rows=400,
            train_rows=1000,
            chunk_rows=500,
            shard_rows=50,
            out=root / f"activations/{chunk}",
        )
    settings = TrainSettings(n_latents=32, k=2, batch_size=20, tokens=1000, chunk_tokens=500, warmup_steps=2)
    for chunk in (0, 1):
        together()
        train_chunk(
            chunk=root / f"activations/{chunk}",
            chunk_index=chunk,
            settings=settings,
            first_chunk_manifest=root / "activations/0/manifest.json",
            previous=root / "state.safetensors" if chunk else None,
            state_out=None if chunk else root / "state.safetensors",
            out=root / "sae" if chunk else None,
            checkpoint=root / f"checkpoint-{chunk}.safetensors",
            checkpoint_seconds=0,
            progress=False,
        )
    together()
    evaluate(
        sae=[root / "sae"],
        chunk=root / "activations/heldout",
        out_json=[root / "evaluation.json"],
        out_parquet=[root / "evaluation.parquet"],
    )
    together()
    with contextlib.chdir(root):  # the file names the SAEs as they are given
        match_pair(a=Path("sae"), b=Path("sae"), out=Path("match.parquet"))


def test_two_jobs_at_once_leave_what_one_alone_makes(tmp_path: Path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.standard_normal((1400, 16), dtype=np.float32))
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    jobs = [spawn.Process(target=make, args=(tmp_path / "both", barrier)) for _ in range(2)]
    for job in jobs:
        job.start()
    make(tmp_path / "one")
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    # They hold the time that a job took.
    changing = {"timing.json", "match.timing.json"}
    assert files(tmp_path / "both").keys() == files(tmp_path / "one").keys()
    for name, content in files(tmp_path / "one").items():
        assert Path(name).name in changing or files(tmp_path / "both")[name] == content, name


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_two_downloads_of_the_same_are_content(tmp_path: Path, monkeypatch):
    """The other job puts its files there after this one has downloaded and before it moves its own."""
    from sae_stability.sae import hub

    (tmp_path / "out").mkdir()

    def download(_repo, _revision, names, folder: Path, *, other: bool = False) -> None:
        (folder / names[0]).parent.mkdir(parents=True)
        (folder / names[0]).write_text("{}")
        if not other:
            monkeypatch.setattr(hub, "_download", lambda *words: download(*words, other=True))
            rename = Path.rename

            def late(path: Path, target: Path) -> None:
                if path.name == "download":
                    monkeypatch.setattr(Path, "rename", rename)
                    hub.fetch(repo="someone/saes", folder="one", out=tmp_path / "out")
                rename(path, target)

            monkeypatch.setattr(Path, "rename", late)

    monkeypatch.setattr(hub, "_download", download)
    found = hub.fetch(repo="someone/saes", folder="one", out=tmp_path / "out")
    assert [path.name for path in found.iterdir()] == ["cfg.json"]
