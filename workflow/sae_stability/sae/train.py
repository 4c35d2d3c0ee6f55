"""Training of one SAE on one chunk of activations: the job (cohort, seed, chunk)."""

import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import store
from sae_stability.errors import StudyError
from sae_stability.files import read_json, sha256, write_json, write_table
from sae_stability.sae import checkpoint as own_format
from sae_stability.sae.architectures import architecture
from sae_stability.sae.initial import initial_weights
from sae_stability.sae.normalise import Normalisation
from sae_stability.sae.progress import EventFiles, History
from sae_stability.sae.settings import TrainSettings
from sae_stability.sae.state import load_state, resume, write_state
from sae_stability.sae.step import Step
from sae_stability.sae.watch import Watch
from sae_stability.sae.workers import Workers


def train_chunk(
    *,
    chunk: Path,
    chunk_index: int,
    settings: TrainSettings,
    first_chunk_manifest: Path | None = None,
    previous: Path | None = None,
    out: Path | None = None,
    state_out: Path | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 120.0,
    threads: int = 1,
    device: str = "cpu",
    tensorboard: Path | None = None,
    progress: bool = True,
    config_hash: str = "",
) -> None:
    """Train on chunk `chunk_index` from the state after the chunk before it.

    Chunk by chunk, in one process or many, interrupted or not, and with any number of threads, the same weights come
    out, bit for bit, on the same kind of processor.

    Args:
        chunk: folder of the chunk's activations.
        chunk_index: its number, from 0.
        settings: the SAE and its training.
        first_chunk_manifest: chunk 0's `manifest.json`, which `centre-scale` takes mean and scale from; not needed
            for chunk 0 itself.
        previous: state file after chunk `chunk_index` - 1; None for chunk 0.
        out: SAE folder to write after the last chunk: `sae.safetensors`, `cfg.json`, `metrics.json`,
            `history.parquet`, and `timing.json` (the only one whose bytes differ between runs).
        state_out: state file to write after this chunk.
        checkpoint: file that a killed job resumes from, rewritten every `checkpoint_seconds`, removed at the end.
        threads: CPU threads. device: "cpu" or a torch device.
        tensorboard: folder for TensorBoard event files.
        progress: whether to show a bar on stderr.
        config_hash: recorded in `cfg.json`.

    Raises:
        StudyError: the chunk or state does not fit the settings, or the loss goes wrong (`watch`) or weights stop
            being finite (then nothing is written).
    """
    started = time.perf_counter()
    data = store.Chunk(chunk)
    first_manifest = (
        read_json(first_chunk_manifest) if first_chunk_manifest else read_json(Path(chunk) / "manifest.json")
    )
    _check(chunk, data, chunk_index, settings, previous, out)
    normalisation = Normalisation.from_manifest(settings.normalisation, first_manifest)
    identity = _identity(settings, chunk_index, chunk, first_manifest, previous)
    with Workers(threads) as workers:
        training, history = _start(data, settings, normalisation, chunk_index, previous, device, workers)
        done = resume(checkpoint, training, history, identity)
        if done is None and checkpoint is not None and checkpoint.exists():
            # It may have been taken over in part before it proved damaged.
            training, history = _start(data, settings, normalisation, chunk_index, previous, device, workers)
        loop = _Loop(chunk, chunk_index, settings, training, history, checkpoint, checkpoint_seconds, identity)
        loop.run(done or 0, tensorboard, progress)
        _check_finite(training, f"{chunk}, after its last step")
        if state_out is not None:
            about = {"settings": settings.digest(), "chunk": chunk_index}
            write_state(state_out, training, history, about)
        if out is not None:
            _export(Path(out), training, history, settings, normalisation, first_manifest, config_hash)
            seconds = time.perf_counter() - started
            timing = {"seconds": seconds, "tokens_per_second": loop.speed(), "threads": threads, "device": device}
            write_json(Path(out) / "timing.json", timing)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


class _Loop:
    """The steps of one chunk."""

    def __init__(self, chunk, chunk_index, settings, training, history, checkpoint, checkpoint_seconds, identity):
        self.chunk, self.chunk_index, self.settings = chunk, chunk_index, settings
        self.training, self.history = training, history
        self.checkpoint, self.checkpoint_seconds, self.identity = checkpoint, checkpoint_seconds, identity
        self.steps_run, self.seconds = 0, 0.0

    def run(self, done: int, tensorboard: Path | None, progress: bool) -> None:
        """Take the steps that are left after `done` of them."""
        from tqdm import tqdm

        settings, steps = self.settings, self.settings.chunk_steps(self.chunk_index)
        offset = settings.steps_before(self.chunk_index)
        events = EventFiles(tensorboard)
        watch = Watch(self.chunk, self.chunk_index, settings, self.training, self.history.spikes)
        started = saved = time.perf_counter()
        interval = 0.5 if sys.stderr.isatty() else 10.0
        options = {"unit": "tok", "unit_scale": settings.batch_size, "mininterval": interval, "disable": not progress}
        batches = store.batches(
            self.chunk,
            batch_size=settings.batch_size,
            rows=min(settings.chunk_rows(self.chunk_index), store.Chunk(self.chunk).rows),
            epochs=settings.epochs,
            order_seed=settings.order_seed,
            start=done,
            steps=steps - done,
        )
        with tqdm(total=steps, initial=done, file=sys.stderr, **options) as bar:
            for step, batch in enumerate(batches, start=done):
                result = self.training.step(batch, settings.rate(offset + step))
                if fault := watch.fault(step, result.fvu):
                    raise StudyError(fault)
                if self.history.add(offset + step, batch, result):
                    events.add(self.history.rows[-1])
                bar.set_postfix_str(f"FVU {result.fvu:.4f}, dead {result.dead / settings.n_latents:.1%}", refresh=False)
                bar.update()
                self.steps_run += 1
                if self.checkpoint is not None and time.perf_counter() - saved > self.checkpoint_seconds:
                    self._save(step + 1)
                    saved = time.perf_counter()
        self.seconds = time.perf_counter() - started
        events.close()

    def _save(self, steps_done: int) -> None:
        _check_finite(self.training, f"{self.chunk}, after {steps_done} steps")
        write_state(self.checkpoint, self.training, self.history, {"identity": self.identity, "steps_done": steps_done})

    def speed(self) -> float:
        """Tokens a second of the steps that this process took."""
        return self.steps_run * self.settings.batch_size / self.seconds if self.seconds else 0.0


def _check(
    chunk: Path, data, chunk_index: int, settings: TrainSettings, previous: Path | None, out: Path | None
) -> None:
    if not 0 <= chunk_index < settings.n_chunks:
        raise StudyError(f"chunk {chunk_index}: training has chunks 0 to {settings.n_chunks - 1}")
    if (previous is None) != (chunk_index == 0):
        raise StudyError(
            f"chunk {chunk_index}: the state after chunk {chunk_index - 1} must be given, for chunk 0 none"
        )
    if out is not None and chunk_index != settings.n_chunks - 1:
        raise StudyError(f"chunk {chunk_index}: an SAE is written after the last chunk, {settings.n_chunks - 1}")
    if data.rows < settings.batch_size:
        raise StudyError(f"{chunk}: {data.rows} rows, fewer than one batch of {settings.batch_size}")


def _identity(
    settings: TrainSettings, chunk_index: int, chunk: Path, first_manifest: dict, previous: Path | None
) -> str:
    """Hash of all that decides this job's result: a checkpoint of anything else must not be resumed."""
    parts = [settings.digest(), chunk_index, sha256(Path(chunk) / "manifest.json")]
    parts += [first_manifest["mean"], first_manifest["mean_centred_norm"]]
    parts += [sha256(previous) if previous else None, torch.__version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _start(
    data,
    settings: TrainSettings,
    normalisation: Normalisation,
    chunk_index: int,
    previous: Path | None,
    device: str,
    workers,
) -> tuple[Step, History]:
    """The training at the beginning of the chunk: fresh, or as the chunk before left it."""
    weights = initial_weights(settings.n_latents, data.d_model, settings.init_seed, settings.hookpoint)
    weights["decoder_bias"] = np.zeros(data.d_model, np.float32)
    if chunk_index == 0:
        first = next(iter(_first_batch(data, settings)))
        mean = first.numpy().mean(axis=0, dtype=np.float64)
        weights["decoder_bias"] = ((mean - normalisation.mean) / normalisation.scale).astype(np.float32)
    make_step = architecture(settings.architecture).make_step
    training = make_step(weights, settings, normalisation, torch.device(device), workers)
    history = History(settings)
    if previous is not None:
        about = load_state(previous, training, history)
        expected = {"settings": settings.digest(), "chunk": chunk_index - 1}
        if any(about.get(key) != value for key, value in expected.items()):
            raise StudyError(f"{previous}: state of other settings or another chunk; delete it and run again")
    return training, history


def _first_batch(data, settings: TrainSettings):
    return store.batches(
        data.path,
        batch_size=settings.batch_size,
        rows=min(settings.chunk_rows(0), data.rows),
        epochs=settings.epochs,
        order_seed=settings.order_seed,
        steps=1,
    )


def _check_finite(training: Step, where: str) -> None:
    for name, value in training.weights().items():
        if not torch.isfinite(value).all():
            raise StudyError(f"{where}: {name} holds NaN or infinity; lower learning_rate. Nothing was overwritten")


def _export(
    out: Path,
    training: Step,
    history: History,
    settings: TrainSettings,
    normalisation: Normalisation,
    manifest: dict,
    config_hash: str,
) -> None:
    """Write the SAE folder; `cfg.json` last, so that a folder with it is whole."""
    weights = normalisation.fold({name: value.numpy() for name, value in training.weights().items()})
    table = history.table()
    last = table.iloc[-1]
    metrics = {name: float(last[name]) for name in ("fvu", "auxk", "l0", "dead_fraction")}
    metrics |= {"steps": int(last["step"]), "tokens": int(last["tokens"]), "spikes": history.spikes.count}
    metrics |= {"batches_sha256": history.digest.hex()}
    write_json(out / "metrics.json", metrics)
    write_table(out / "history.parquet", table)
    own_format.save(out, weights, _cfg(settings, normalisation, manifest) | {"config_hash": config_hash})


def _cfg(settings: TrainSettings, normalisation: Normalisation, manifest: dict) -> dict:
    import numba
    import safetensors

    cfg = {"architecture": settings.architecture, "n_latents": settings.n_latents, "d_model": manifest["d_model"]}
    cfg |= {"k": settings.k, "hookpoint": settings.hookpoint, "model": manifest["model"]}
    cfg |= {"revision": manifest.get("revision")}
    cfg |= asdict(settings) | {"effective_learning_rate": settings.peak_learning_rate}
    cfg |= {"schedule": "linear warm-up, linear decay to 0", "normalisation_scale": normalisation.scale}
    versions = {package.__name__: package.__version__ for package in (np, numba, safetensors, torch)}
    return cfg | {"versions": versions}
