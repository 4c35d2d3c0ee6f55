"""The verb `calibrate`: how fast this machine does what a study is made of, for `plan`."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sae_stability.devices import claimed, cores
from sae_stability.errors import one_line
from sae_stability.made import processor
from sae_stability.pipeline.cost import parameters, used_passes
from sae_stability.pipeline.rates import write_rates
from sae_stability.study.build import Study, load_study
from sae_stability.study.parts import Model

# Processes that measure side by side: a core is slower while the others are busy.
_AT_ONCE = 8
_SECONDS = 4.0
_DISK_BYTES = 200 * 10**6
_MATCHED = 2048
_SIZES = (512, 2048, 32, 1024)  # width, latents, k and batch where the study trains nothing
# What jobs load: (first the library and its tables, then PyTorch besides).
_LIBRARY = "import sae_stability.cli, sae_stability.files, numpy, pandas, pyarrow.parquet"
_TORCH = f"{_LIBRARY}, torch"


def calibrate(study: Path = Path("config.yaml"), *, out: Path = Path("rates.json")) -> str:
    """Measure how fast this machine does what a study is made of, in about a minute; `plan --rates` uses it.

    The model is the study's where it lies on this machine, and else a small one of the same width. On a CPU as many
    processes as there are cores, at most 8, measure side by side, as jobs do. Rates are those of one core, from
    processor time, so that other programs hardly change them.

    Args:
        study: the study's file; it gives the device, the model, and the size of SAEs.
        out: file to write, JSON.

    Returns:
        The rates.

    Raises:
        StudyError: the study has a mistake, its device is not there, or the file cannot be written.
    """
    loaded = load_study(study)
    with claimed(loaded.device) as device:
        with one_line(f"calibrate --out {out}", "give a place that can be written"):
            out.parent.mkdir(parents=True, exist_ok=True)
            disk = _disk_rate(out.parent)
        library, torch = (_started(code) for code in (_LIBRARY, _TORCH))
        rates = {"start_seconds": library, "torch_seconds": max(torch - library, 1e-3), "disk_rate": disk}
        rates |= _on_cores(loaded)
        if loaded.device == "cuda":
            name, on_gpu = _on_gpu(loaded, device)
            rates |= on_gpu
        else:
            name = f"a core of {processor()}"
    with one_line(f"calibrate --out {out}", "give a place that can be written"):
        write_rates({"device": name, **rates}, loaded.device, out)
    return "\n".join([f"{name}, written to {out}", *(f"  {key} {rate:.4g}" for key, rate in rates.items())])


def _disk_rate(folder: Path) -> float:
    """Bytes/s of writing a file to the disk and reading it again."""
    block = os.urandom(10**6)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".calibrate-") as file:
        started = time.perf_counter()
        for _ in range(_DISK_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            # Otherwise reading would find the file in memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        while file.read(10**6):
            pass
        return 2 * _DISK_BYTES / (time.perf_counter() - started)


def _started(code: str) -> float:
    """Processor seconds of a Python process that runs this code. The first of two runs is to warm the disk's cache."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(2):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _on_cores(study: Study) -> dict[str, float]:
    """The rates of one core while the others are busy with the same."""
    count = min(cores(), _AT_ONCE)
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [job.result() for job in [pool.submit(_on_a_core, study, _SECONDS) for _ in range(count)]]
    return {name: sum(one[name] for one in found) / count for name in found[0]}


def _on_a_core(study: Study, least: float) -> dict[str, float]:
    """The rates of one core, each from at least so many seconds. Runs in a process of its own."""
    import torch

    torch.set_num_threads(1)
    rates = {"match_seconds": _match_seconds(least)}
    if study.device == "cpu":
        rates |= {
            "model_tflops": _model_rate(study, "cpu", time.process_time, least),
            "sae_tflops": _sae_rate(study, "cpu", time.process_time, least),
        }
    model = _model(study)
    return rates | ({"tokenizer_rate": _tokenizer_rate(model, least)} if model else {})


def _on_gpu(study: Study, device: str) -> tuple[str, dict[str, float]]:
    """The GPU's name, and its rates."""
    import torch

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    rates = {"model_tflops": _model_rate(study, device, clock, _SECONDS)}
    rates["sae_tflops"] = _sae_rate(study, device, clock, _SECONDS)
    return torch.cuda.get_device_name(), rates


def _model(study: Study) -> Model | None:
    """The first model of the study that lies on this machine."""
    models = [pass_.model for pass_ in used_passes(study) if pass_.model]
    return next((model for model in models if model.folder), None)


def _model_rate(study: Study, device: str, clock: Callable[[], float], least: float) -> float:
    """10^12 operations/s of a forward pass, counted as `plan` counts it: 2 a parameter and token."""
    import torch

    from sae_stability.activations.forward import suitable_tokens
    from sae_stability.models.loading import load_model
    from sae_stability.models.vocabulary import known_tokens

    source = _model(study)
    model, length = (load_model(source, device), _context(study)) if source else (_stand_in(study, device), 512)
    size = (source and parameters(source)) or sum(one.numel() for one in model.parameters())
    shape = (max(1, suitable_tokens(device) // length), length)
    tokens = torch.randint(known_tokens(model) or 1000, shape, device=device)
    with torch.inference_mode():
        seconds = _repeated(lambda: model(tokens), clock, least)
    return 2 * size * tokens.numel() / seconds / 1e12


def _stand_in(study: Study, device: str):
    """A small model with random weights, as wide as the study's."""
    import transformers

    from sae_stability.models.dtypes import torch_dtype

    pass_ = next((pass_ for pass_ in used_passes(study) if pass_.model), None)
    width, dtype = (pass_.d_model, pass_.model.dtype) if pass_ else (512, "float32")
    heads = max(1, width // 64)
    config = transformers.GPT2Config(vocab_size=1024, n_embd=64 * heads, n_head=heads, n_layer=4, use_cache=False)
    return transformers.GPT2Model(config).to(device, torch_dtype(dtype)).eval()


def _context(study: Study) -> int:
    return next(pass_.tokens.context_length for pass_ in used_passes(study) if pass_.tokens)


def _sae_rate(study: Study, device: str, clock: Callable[[], float], least: float) -> float:
    """10^12 operations/s of training an SAE of the first cohort's size, counted as `plan` counts it."""
    import numpy as np

    from sae_stability.sae.training.in_memory import train

    cohort = next(iter(study.trained.values()), None)
    width, latents, k, batch = (cohort.d_model, cohort.n_latents, cohort.k, cohort.batch_size) if cohort else _SIZES
    # On a core, a large SAE would not do enough steps in the time.
    latents, batch = (latents, batch) if device != "cpu" else (min(latents, 4096), min(batch, 1024))
    rows = np.random.default_rng(0).normal(size=(4 * batch, width)).astype(np.float32)

    def steps(epochs: int) -> float:
        started = clock()
        train(rows, n_latents=latents, k=min(k, latents), batch_size=batch, epochs=epochs, threads=1, device=device)
        return clock() - started

    # The first training compiles its kernels. What a training takes besides its steps is a part of the shortest one.
    steps(1)
    shortest, epochs = steps(1), 8
    while (seconds := steps(epochs) - shortest) < least:
        epochs = int(epochs * min(16, max(2, 1.2 * least / max(seconds, 1e-3))))
    return 4 * batch * (epochs - 1) * (2 * latents + 8 * k) * width / seconds / 1e12


def _match_seconds(least: float) -> float:
    """Core seconds of an exact assignment, scaled to 8,192 latents as `plan` scales it."""
    import numpy as np

    from sae_stability.match.assignment import match_rows

    random = np.random.default_rng(0)
    rows = random.normal(size=(_MATCHED, 512)).astype(np.float32)
    others = (rows + 0.5 * random.normal(size=rows.shape)).astype(np.float32)
    match_rows(rows[:128], others[:128], threads=1)
    seconds = _repeated(lambda: match_rows(rows, others, threads=1), time.process_time, least)
    return seconds * (8192 / _MATCHED) ** 2


def _tokenizer_rate(model: Model, least: float) -> float:
    """Tokens/s, on the text of this package."""
    from sae_stability.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    text = "".join(file.read_text() for file in sorted(Path(__file__).parent.glob("*.py")))
    # Short documents: a tokenizer warns of texts that are too long for its model.
    texts = [text[start : start + 800] for start in range(0, len(text), 800)]
    count = sum(len(tokenizer(text)["input_ids"]) for text in texts)
    return count / _repeated(lambda: [tokenizer(text) for text in texts], time.process_time, least)


def _repeated(run: Callable[[], object], clock: Callable[[], float], least: float) -> float:
    """Seconds of one run, as a mean over as many as take `least` seconds; the first is not counted."""
    run()
    started, runs = clock(), 0
    while not runs or clock() - started < least:
        run()
        runs += 1
    return (clock() - started) / runs
