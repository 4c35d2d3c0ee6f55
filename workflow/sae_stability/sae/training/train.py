"""Train one SAE, or several that differ only in their init seed, on one chunk of activations."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import clear_workplaces, sha256
from sae_stability.sae.training.controls import controlled
from sae_stability.sae.training.divergence import Watch
from sae_stability.sae.training.event_files import EventFiles
from sae_stability.sae.training.export import export
from sae_stability.sae.training.history import History, PendingSteps
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.job import SaeJob, check_chunk, check_outputs, check_together
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.state import load_state, resume, write_state
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.steps.protocol import Step, StepResult
from sae_stability.sae.training.workers import Workers


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
    """Train on chunk `chunk_index`, starting from the state after the chunk before.

    On the same kind of processor the weights are the same bit for bit: in one process or many, interrupted or not, with
    any number of threads, alone or in a block.

    Args:
        chunk: folder of the chunk's activations.
        chunk_index: its number, from 0.
        settings: hyper-parameters of the SAE and its training.
        first_chunk_manifest: `manifest.json` of chunk 0, from which `centre-scale` takes mean and scale; not needed for
            chunk 0 itself.
        previous: state file after chunk `chunk_index` - 1; None for chunk 0.
        out: SAE folder to write after the last chunk: `sae.safetensors`, `cfg.json`, `metrics.json`,
            `history.parquet`, and `timing.json` (its bytes differ between runs).
        state_out: state file to write after this chunk.
        checkpoint: file that a killed job resumes from; removed at the end.
        checkpoint_seconds: time between checkpoints in seconds; 0 writes one after every step. If writing takes more
            than a twentieth of the time, the interval grows, up to ten times.
        threads: number of CPU threads.
        device: "cpu" or "cuda". "cuda" is PyTorch's current device; Triton's kernels run on no other.
        tensorboard: folder for TensorBoard event files.
        progress: whether to show a bar on stderr.
        config_hash: recorded in `cfg.json`.

    Raises:
        StudyError: the chunk or state does not fit the settings, an output cannot be written, or training diverges
            (`divergence`) or weights are not finite; then nothing is written.
    """
    sae = SaeJob(
        settings=settings,
        previous=previous,
        out=out,
        state_out=state_out,
        checkpoint=checkpoint,
        tensorboard=tensorboard,
        config_hash=config_hash,
    )
    train_block(
        [sae],
        chunk=chunk,
        chunk_index=chunk_index,
        first_chunk_manifest=first_chunk_manifest,
        checkpoint_seconds=checkpoint_seconds,
        threads=threads,
        device=device,
        progress=progress,
    )


def train_block(
    saes: Sequence[SaeJob],
    *,
    chunk: Path,
    chunk_index: int,
    first_chunk_manifest: Path | None = None,
    checkpoint_seconds: float = 120.0,
    threads: int = 1,
    device: str = "cpu",
    progress: bool = True,
) -> None:
    """Train several SAEs that differ only in their init seed, reading each batch once for all of them.

    Each SAE gets the weights that `train_chunk` gives it alone, bit for bit. Each has its own checkpoint, so after an
    interruption it can continue alone or in another block.

    Args:
        saes: the SAEs. All other arguments are as in `train_chunk`.

    Raises:
        StudyError: as in `train_chunk`, naming the init seed. The checkpoints of the other SAEs are updated, and
            nothing else is written. Also if the SAEs differ in more than the init seed.
    """
    started = time.perf_counter()
    check_together(saes)
    data = reader.Chunk(chunk)
    first_manifest = reader.read_manifest(first_chunk_manifest) if first_chunk_manifest else data.manifest
    for sae in saes:
        check_chunk(sae, data, chunk_index)
        check_outputs(sae)
    normalisation = Normalisation.from_manifest(saes[0].settings.normalisation, first_manifest)
    # Train as many SAEs at a time as there are threads. Further threads share the work of each SAE's step.
    at_a_time = min(threads, len(saes)) if device == "cpu" else 1
    with Workers(at_a_time) as sae_workers, Workers(threads if threads > at_a_time else 1) as workers:
        start = _Start(data, chunk_index, first_manifest, normalisation, saes[0].settings, device, workers)
        runs = [_Run(sae, start) for sae in saes]
        loop = _Loop(runs, chunk, chunk_index, checkpoint_seconds, device, sae_workers)
        loop.run(progress)
        for run in runs:
            if run.sae.state_out is not None:
                about = {"settings": run.settings.digest(), "chunk": chunk_index}
                write_state(run.sae.state_out, run.training, run.history, about)
            if run.sae.out is not None:
                run.watch.report_missed_target(run.history.last_l0())
                out, config_hash = Path(run.sae.out), run.sae.config_hash
                seconds = time.perf_counter() - started
                timing = {"seconds": seconds, "tokens_per_second": loop.speed(), "threads": threads, "device": device}
                timing["saes_in_the_job"] = len(runs)
                export(out, run.training, run.history, run.settings, normalisation, first_manifest, config_hash, timing)
    # Checkpoints are removed only once all outputs exist: if a job fails, Snakemake deletes its outputs, and the next
    # attempt resumes from the checkpoints.
    for sae in saes:
        if sae.checkpoint is not None:
            clear_workplaces(sae.checkpoint)
            sae.checkpoint.unlink(missing_ok=True)


class _Run:
    """One SAE during its training on the chunk.

    Attributes:
        done: number of steps of the chunk whose results have been read; all steps after `read_results(now=True)`.
        result: the last result that has been read.
        fault: error that stops this SAE. It is kept and raised later, so that the other SAEs finish the step.
    """

    def __init__(self, sae: SaeJob, start: "_Start") -> None:
        self.sae, self.settings = sae, sae.settings
        self.before = sae.settings.steps_before(start.chunk_index)
        self.identity = start.identity(sae)
        self.training, self.history = start.training(sae)
        done = resume(sae.checkpoint, self.training, self.history, self.identity)
        if done is None and sae.checkpoint is not None and sae.checkpoint.exists():
            # The damaged checkpoint may have been loaded in part.
            self.training, self.history = start.training(sae)
        self.done = done or 0
        self.events = EventFiles(sae.tensorboard)
        self.watch = Watch(start.data.path, start.chunk_index, sae.settings, self.training, self.history.spikes)
        self.pending = PendingSteps()
        self.result: StepResult | None = None
        self.fault: StudyError | None = None

    def take(self, chunk_step: int, batch: torch.Tensor, now: bool) -> None:
        """Take step `chunk_step` of the chunk, unless the checkpoint is past it. `now`: read its result at once."""
        if chunk_step >= self.done:
            rate = self.settings.rate(self.before + chunk_step)
            self.pending.add(chunk_step, batch, self.training.step(batch, rate))
            self.read_results(now)

    def read_results(self, now: bool) -> None:
        """Record the results of pending steps: all if `now`, else only those that need no wait for the device."""
        for taken, ends, result in self.pending.collect(now):
            if fault := self.watch.fault(taken, result.fvu):
                self.fault = StudyError(f"init seed {self.settings.init_seed}: {fault}")
                return
            if self.history.add(self.before + taken, ends, result):
                self.events.add(self.history.rows[-1])
            self.result, self.done = result, taken + 1

    def check_finite(self) -> None:
        """Set `fault` if the weights hold NaN or infinity."""
        if fault := self.watch.weights_fault(self.done - 1):
            self.fault = StudyError(f"init seed {self.settings.init_seed}: {fault}")

    def save(self) -> None:
        """Write the checkpoint, unless there is a fault."""
        self.read_results(now=True)
        if self.sae.checkpoint is None or self.fault:
            return
        self.check_finite()
        if not self.fault:
            about = {"identity": self.identity, "steps_done": self.done}
            write_state(self.sae.checkpoint, self.training, self.history, about)


class _Loop:
    """The training loop on one chunk: each batch is read once and used by every SAE."""

    def __init__(self, runs: list[_Run], chunk, chunk_index, checkpoint_seconds, device, sae_workers: Workers):
        self.runs, self.settings, self.chunk, self.chunk_index = runs, runs[0].settings, chunk, chunk_index
        self.checkpoint_seconds, self.device, self.sae_workers = checkpoint_seconds, device, sae_workers
        self.steps_run, self.seconds = 0, 0.0

    def run(self, progress: bool) -> None:
        """Take the remaining steps."""
        from tqdm import tqdm

        settings, steps = self.settings, self.settings.chunk_steps(self.chunk_index)
        # If the job was killed while writing checkpoints, some SAEs are ahead of others; these skip batches.
        done = min(run.done for run in self.runs)
        started = saved = time.perf_counter()
        pause = self.checkpoint_seconds
        interval = 0.5 if sys.stderr.isatty() else 10.0
        options = {"unit": "tok", "unit_scale": settings.batch_size, "mininterval": interval, "disable": not progress}
        batches = reader.batches(
            self.chunk,
            batch_size=settings.batch_size,
            rows=min(settings.chunk_rows(self.chunk_index), reader.Chunk(self.chunk).rows),
            epochs=settings.epochs,
            order_seed=settings.order_seed,
            start=done,
            steps=steps - done,
            device=self.device,
        )
        with tqdm(total=steps, initial=done, file=sys.stderr, **options) as bar:
            for step, batch in enumerate(batches, start=done):
                due = time.perf_counter() - saved > pause
                self._take(step, batch, now=due or step + 1 == steps)
                bar.set_postfix_str(self._metrics(), refresh=False)
                bar.update()
                self.steps_run += 1
                if due:
                    save_started = time.perf_counter()
                    for run in self.runs:
                        run.save()
                    self._stop_at_fault()
                    saved = time.perf_counter()
                    # Saving a large SAE takes long, because its state is hashed, written and synced to disk.
                    pause = max(self.checkpoint_seconds, min(19 * (saved - save_started), 10 * self.checkpoint_seconds))
        self.seconds = time.perf_counter() - started
        for run in self.runs:
            run.events.close()
            run.check_finite()
        self._stop_at_fault()

    def _take(self, chunk_step: int, batch: torch.Tensor, now: bool) -> None:
        def take(low: int, high: int) -> None:
            for run in self.runs[low:high]:
                run.take(chunk_step, batch, now)

        self.sae_workers.each(len(self.runs), 1, take)
        self._stop_at_fault()

    def _stop_at_fault(self) -> None:
        """Raise the first fault, if there is one, after saving checkpoints of the other SAEs."""
        fault = next((run.fault for run in self.runs if run.fault), None)
        if fault is None:
            return
        for run in self.runs:
            run.save()
        kept = any(run.sae.checkpoint and not run.fault for run in self.runs)
        raise StudyError(f"{fault}; the other SAEs can resume from their checkpoints") if kept else fault

    def _metrics(self) -> str:
        """Text for the progress bar: means over the SAEs."""
        results = [run.result for run in self.runs if run.result]
        if not results:
            return ""
        fvu, dead = (sum(getattr(result, name) for result in results) / len(results) for name in ("fvu", "dead"))
        return f"FVU {fvu:.4f}, dead {dead / self.settings.n_latents:.1%}"

    def speed(self) -> float:
        """Tokens per second of each SAE, over the steps that this process took."""
        return self.steps_run * self.settings.batch_size / self.seconds if self.seconds else 0.0


class _Start:
    """Where the SAEs of a job start on the chunk: initial weights, or the state after the chunk before."""

    def __init__(
        self,
        data: reader.Chunk,
        chunk_index: int,
        first_manifest: dict,
        normalisation: Normalisation,
        settings: TrainSettings,
        device: str,
        workers: Workers,
    ) -> None:
        self.data, self.chunk_index, self.first_manifest = data, chunk_index, first_manifest
        self.normalisation, self.device, self.workers = normalisation, torch.device(device), workers
        self.decoder_bias = np.zeros(data.d_model, np.float32)
        if chunk_index == 0:
            mean = _first_batch(data, settings).numpy().mean(axis=0, dtype=np.float64)
            self.decoder_bias = ((mean - normalisation.mean) / normalisation.scale).astype(np.float32)

    def training(self, sae: SaeJob) -> tuple[Step, History]:
        """The step object of one SAE, and its history so far."""
        settings = sae.settings
        weights = initial_weights(settings.n_latents, self.data.d_model, settings.init_seed, settings.hookpoint)
        weights["decoder_bias"] = self.decoder_bias
        make_step = architecture(settings.architecture).make_step
        training = make_step(weights, settings, self.normalisation, self.device, self.workers)
        training = controlled(training, settings.control)
        history = History(settings)
        if sae.previous is not None:
            about = load_state(sae.previous, training, history)
            expected = {"settings": settings.digest(), "chunk": self.chunk_index - 1}
            if any(about.get(key) != value for key, value in expected.items()):
                path = sae.previous
                raise StudyError(f"{path}: state of other settings or another chunk; delete it and run again")
        return training, history

    def identity(self, sae: SaeJob) -> str:
        """Hash of everything that determines the SAE's result. Only a checkpoint with the same hash is resumed."""
        parts = [sae.settings.digest(), self.chunk_index, sha256(self.data.path / "manifest.json")]
        parts += [self.first_manifest["mean"], self.first_manifest["mean_centred_norm"]]
        parts += [sha256(sae.previous) if sae.previous else None, torch.__version__]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _first_batch(data: reader.Chunk, settings: TrainSettings) -> torch.Tensor:
    batches = reader.batches(
        data.path,
        batch_size=settings.batch_size,
        rows=min(settings.chunk_rows(0), data.rows),
        epochs=settings.epochs,
        order_seed=settings.order_seed,
        steps=1,
    )
    return next(batches)
