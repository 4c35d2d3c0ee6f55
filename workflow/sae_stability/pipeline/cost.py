"""What a stage costs, and what the costs of several stages are counted from."""

import dataclasses

from sae_stability.models.headers import model_parameters
from sae_stability.pipeline.batches import batches
from sae_stability.pipeline.rates import Rates
from sae_stability.study import disk
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Model, Pass

_MATCH_BYTES = 132  # 16 columns of 8 bytes and 4 flags for each latent
_START_SECONDS = 2.2  # of a job that matches, besides its start: compiled kernels are loaded


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one stage.

    `operations` are floating-point operations. Hours are those of GPUs, and of processor cores for jobs that hold no
    GPU. `chain_hours` are those of the longest chain of jobs that must run one after the other, 0 where each job
    stands alone. `read`, `written` and `downloaded` (from the hub) are bytes over the whole run; `peak` is the most
    that lies on the disk at one time. `calls` go to explainers behind an HTTP server and cost `money`.
    """

    name: str
    jobs: int
    tokens: int = 0
    operations: float = 0.0
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    chain_hours: float = 0.0
    read: int = 0
    written: int = 0
    peak: int = 0
    downloaded: int = 0
    calls: int = 0
    money: float = 0.0


def used_passes(study: Study) -> list[Pass]:
    """The passes that some cohort is trained or evaluated on."""
    read = {cohort.pass_ for cohort in study.cohorts.values()}
    return [pass_ for pass_ in study.passes.values() if pass_ in read]


def parameters(model: Model) -> int | None:
    """A model's number of parameters, as stated or from its files; None where neither tells."""
    return model.parameters or model_parameters(model)


def forward(pass_: Pass) -> float:
    """Operations a token of the model's forward pass; 0 for a matrix, and for a model of unknown size."""
    return 2.0 * (parameters(pass_.model) or 0) if pass_.model else 0.0


def encode(cohort: Cohort | ExternalCohort, rows: int) -> float:
    """Operations of encoding so many rows."""
    return 2.0 * rows * cohort.n_latents * cohort.d_model


def model_bytes(model: Model) -> int:
    """The files of a model that lies on the hub; 0 for one that lies here or whose size is unknown."""
    width = 4 if model.dtype == "float32" else 2
    return 0 if model.folder else width * (parameters(model) or 0)


def row_bytes(pass_: Pass) -> int:
    """What a row of one hookpoint of a pass takes on disk."""
    return disk.row_bytes(pass_.d_model, pass_.dtype)


def sae_bytes(cohort: Cohort | ExternalCohort) -> int:
    """The weights of one SAE, in bytes."""
    return 4 * (2 * cohort.n_latents * cohort.d_model + cohort.n_latents + cohort.d_model)


def on_device(
    rates: Rates, jobs: int, *, model: float = 0.0, sae: float = 0.0, moved: int = 0, seconds: float = 0.0
) -> dict[str, float]:
    """Operations and hours of jobs on the study's device, as fields of a `Cost`.

    Args:
        rates: how fast the machine is.
        jobs: how many times a process starts and loads PyTorch.
        model: operations of the model.
        sae: operations of SAEs.
        moved: bytes read and written. A job computes meanwhile, so the slower of the two counts.
        seconds: core seconds of other work, on the machine of `rates.slowness` 1.
    """
    computing = model / (rates.model_tflops * 1e12) + sae / (rates.sae_tflops * 1e12)
    starting = jobs * (rates.start_seconds + rates.torch_seconds) + seconds * rates.slowness
    hours = (max(computing, moved / rates.disk_rate) + starting) / 3600
    return {"operations": model + sae, "gpu_hours" if rates.gpu else "cpu_hours": hours}


def on_cores(rates: Rates, jobs: int, seconds: float = 0.0, torch: bool = False) -> dict[str, float]:
    """Hours of jobs that need no GPU, as a field of a `Cost`.

    Args:
        rates: how fast the machine is.
        jobs: how many times a process starts.
        seconds: core seconds of all jobs after that, on the machine of `rates.slowness` 1.
        torch: whether a job loads PyTorch.
    """
    starting = jobs * (rates.start_seconds + torch * rates.torch_seconds)
    return {"cpu_hours": (starting + seconds * rates.slowness) / 3600}


def assignments(name: str, groups: list[tuple[int, int, int]], rates: Rates) -> Cost:
    """The cost of matching groups of pairs of one shape, (n_latents, d_model, pairs).

    A pair takes three exact assignments (encoder, decoder, decoder by absolute cosine), each `match_seconds` at 8,192
    latents and growing with the square.
    """
    jobs = sum(len(batches(range(pairs), n, d)) for n, d, pairs in groups)
    written = sum(pairs * n * _MATCH_BYTES for n, _, pairs in groups)
    operations = sum(pairs * 3 * 2.0 * n * n * d for n, d, pairs in groups)
    seconds = sum(pairs * 3 * rates.match_seconds * (n / 8192) ** 2 for n, _, pairs in groups)
    started = on_cores(rates, jobs, _START_SECONDS * jobs)["cpu_hours"]
    return Cost(name, jobs, operations=operations, cpu_hours=started + seconds / 3600, written=written, peak=written)
