"""How fast a machine works: what `plan` turns counted work into hours with."""

import dataclasses
import json
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.files import write_plain_json
from sae_stability.study.build import Study

# Processor seconds that a job takes to start on the machine whose seconds the stages' own constants are.
_REFERENCE_START = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of one worker: a GPU with the cores beside it, or one core where the study's device is cpu."""

    device: str
    """What the rates are for."""
    gpu: bool
    """Whether model and SAEs run on a GPU."""
    model_tflops: float
    """The model's forward pass, 10^12 operations/s."""
    sae_tflops: float
    """Training and evaluation of SAEs, 10^12 operations/s."""
    tokenizer_rate: float
    """Tokens/s of tokenising, on one core."""
    match_seconds: float
    """Core seconds of one exact assignment at 8,192 latents; they grow with the square of the latents."""
    start_seconds: float
    """Core seconds until a job has started and loaded the library."""
    torch_seconds: float
    """Core seconds that loading PyTorch takes besides."""
    disk_rate: float
    """Bytes/s read from and written to the disk of the results."""
    cores: int
    """Cores of a worker."""
    chunks_in_flight: int = 2
    """Chunks of a pass on disk at once where its shards are not kept."""
    sources: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    """Where each rate comes from: "measured", "stated" (in the study) or "assumed"."""

    @property
    def slowness(self) -> float:
        """How much longer Python takes here than where the stages' constants were measured."""
        return self.start_seconds / _REFERENCE_START

    @property
    def of_a_core(self) -> "Rates":
        """The rates for jobs that use no GPU even where there is one."""
        return dataclasses.replace(self, gpu=False, sae_tflops=_CPU["sae_tflops"]) if self.gpu else self


_CPU = {
    "device": "a CPU core",
    "model_tflops": 0.08,
    "sae_tflops": 0.015,
    "tokenizer_rate": 100_000,
    "match_seconds": 2,
    "start_seconds": 1,
    "torch_seconds": 3,
    "disk_rate": 500e6,
    "cores": 1,
}
_ASSUMED = {
    "cpu": _CPU,
    "cuda": _CPU
    | {
        "device": "one H100-class GPU",
        "model_tflops": 200,
        "sae_tflops": 100,
        "tokenizer_rate": 500_000,
        "disk_rate": 2e9,
        "cores": 8,
    },
}
MEASURED = (
    "model_tflops",
    "sae_tflops",
    "tokenizer_rate",
    "match_seconds",
    "start_seconds",
    "torch_seconds",
    "disk_rate",
)
"""The rates that `calibrate` may measure."""


def rates_of(study: Study, file: Path | None = None) -> Rates:
    """The rates for a study: measured ones first, then those that the study states, then assumed ones.

    Args:
        study: the study; its `device` decides what is assumed.
        file: what `calibrate` wrote.

    Raises:
        StudyError: the file is not what `calibrate` writes, or is for another device.
    """
    stated = {name: rate for name, rate in study.plan.items() if rate is not None}
    measured = _read(file, study.device) if file else {}
    assumed = {**_ASSUMED[study.device], "gpu": study.device == "cuda"}
    sources = dict.fromkeys((*assumed, "chunks_in_flight"), "assumed")
    sources |= dict.fromkeys(stated, "stated") | dict.fromkeys(measured, "measured")
    return Rates(**{**assumed, **stated, **measured}, sources=sources)


def write_rates(rates: dict, device: str, out: Path) -> None:
    """Write measured rates for `rates_of`; `device` is cpu or cuda."""
    write_plain_json(out, {"for": device, **rates})


def _read(file: Path, device: str) -> dict:
    try:
        found = json.loads(file.read_text())
        made_for = found.pop("for")
        name = found.pop("device")
        numbers = {key: float(number) for key, number in found.items()}
        good = isinstance(name, str) and numbers.keys() <= set(MEASURED)
        good = good and all(0 < number < float("inf") for number in numbers.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise StudyError(f"--rates {file}: not a file of rates; `sae-stability calibrate --out {file}` writes one")
    if made_for != device:
        raise StudyError(
            f"--rates {file}: measured for device {made_for}, but the study's device is {device}; "
            "calibrate with the study"
        )
    return {"device": name, **numbers}
