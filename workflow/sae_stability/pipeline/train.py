"""Activations -> SAEs, chunk by chunk, a block of seeds of one cohort to a job."""

from typing import TYPE_CHECKING

from sae_stability.pipeline.blocks import by_block
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates, rates_of
from sae_stability.pipeline.resources import sae_memory, sae_threads, time_limit
from sae_stability.pipeline.results import Results
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

# Weights and Adam's two averages, in float32.
_STATE_COPIES = 3


def jobs(pipeline: "Pipeline") -> dict[tuple[int, ...], list[str]]:
    """Every block of seeds that is not finished, and the names of the cohorts that train it."""
    return by_block(pipeline.blocks)


def inputs(pipeline: "Pipeline", cohort: Cohort, block: tuple[int, ...], chunk: int) -> dict[str, str | list[str]]:
    """The chunk that a job trains on, the manifest of the first chunk, and the states after the chunk before."""
    results, at = pipeline.results, (cohort.pass_, cohort.hook_slug)
    found = {
        "manifest": results.manifest(*at, chunk),
        # The mean and the scale of the first chunk hold for all; its shards may be gone by now.
        "first": results.manifest(*at, 0),
        "shards": results.shards(*at, chunk),
    }
    if chunk:
        found["previous"] = states(results, cohort.slug, block, chunk - 1)
    return found


def states(results: Results, cohort: str, block: tuple[int, ...], chunk: int | str) -> list[str]:
    """The states of a block's SAEs after a chunk."""
    return [results.state(block, cohort, seed, chunk) for seed in block]


def outputs(results: Results, cohort: str, seed: int | str) -> list[str]:
    """The files of a finished SAE; the first says what it was made from."""
    files = (results.settings, results.weights, results.metrics, results.history)
    return [file(cohort, seed) for file in files]


def results(pipeline: "Pipeline") -> dict:
    """Every SAE that is trained here, and what it is made from."""
    return {
        (slug, seed): (outputs(pipeline.results, slug, seed), pipeline.fingerprints.sae(cohort, seed))
        for slug, cohort in pipeline.study.trained.items()
        for seed in cohort.seeds
    }


def reads(pipeline: "Pipeline", slug: str, _seed: int) -> list[str]:
    """The chunks that an SAE is trained on."""
    cohort = pipeline.study.cohorts[slug]
    at = (cohort.pass_, cohort.hook_slug)
    return [pipeline.results.manifest(*at, chunk) for chunk in range(cohort.chunks)]


def command(pipeline: "Pipeline", cohort: Cohort, block: tuple[int, ...], chunk: int) -> str:
    """Settings of all SAEs of the job, then of each."""
    shared = flags(
        chunk_index=chunk,
        activations_hash=pipeline.fingerprints.activations(cohort.pass_),
        device=pipeline.study.device,
        order_seed=cohort.sae_seeds[block[0]][1],
        **cohort.training,
    )
    return " ".join([shared, *(_sae_command(pipeline, cohort, block, seed, chunk) for seed in block)])


def memory(cohort: Cohort, saes: int = 1) -> int:
    """What a job on so many SAEs takes, in MB."""
    # All but TopK: pre-activations of a batch, and while many latents fire, gradients of up to ten parts of it.
    step = 0 if cohort.architecture == "topk" else saes * cohort.batch_size + 20 * cohort.d_model
    return sae_memory(cohort, saes) + 4 * cohort.n_latents * step // 10**6


def threads(cohort: Cohort, saes: int) -> int:
    """Cores of a job on so many SAEs."""
    return sae_threads(cohort, saes)


def minutes(study: Study, cohort: Cohort, saes: int) -> int:
    """How long a job on so many SAEs may take: on one chunk, at the rates that the study states or assumed ones."""
    work = on_device(rates_of(study), 1, sae=_operations(cohort, saes) / cohort.chunks)
    return time_limit(work.get("gpu_hours", 0) + work.get("cpu_hours", 0))


def cost(study: Study, rates: Rates) -> Cost:
    """One job a block of seeds and chunk."""
    jobs = tokens = written = peak = read = 0
    operations = longest = hours = 0.0
    for cohort in study.trained.values():
        seeds, sae, blocks = len(cohort.seeds), sae_bytes(cohort), len(cohort.blocks)
        seen = seeds * cohort.steps * cohort.batch_size
        # A state is written after every chunk but the last, read by the next job, and deleted once that is done.
        states = seeds * (cohort.chunks - 1) * _STATE_COPIES * sae
        # The SAEs of a block read each row together.
        rows = blocks * min(cohort.budget.rows, cohort.chunks * cohort.pass_.chunk_rows) * row_bytes(cohort.pass_)
        work = _operations(cohort, seeds)
        spent = on_device(rates, blocks * cohort.chunks, sae=work, moved=rows + 2 * states + seeds * sae)
        spent_hours = spent["gpu_hours" if rates.gpu else "cpu_hours"]
        jobs += blocks * cohort.chunks
        tokens += seen
        read += rows + states
        written += seeds * sae + states
        peak += seeds * (sae + min(cohort.chunks - 1, 2) * _STATE_COPIES * sae)
        operations += work
        hours += spent_hours
        longest = max(longest, spent_hours * max(map(len, cohort.blocks)) / seeds)
    spent = {"gpu_hours" if rates.gpu else "cpu_hours": hours}
    return Cost("train", jobs, tokens, operations, **spent, chain_hours=longest, read=read, written=written, peak=peak)


def _operations(cohort: Cohort, saes: int) -> float:
    """Of a training: 2 n d a token for the encoder, and 8 k d for the decoder and the gradients."""
    tokens = saes * cohort.steps * cohort.batch_size
    return tokens * (2.0 * cohort.n_latents + 8 * cohort.k) * cohort.d_model


def _sae_command(pipeline: "Pipeline", cohort: Cohort, block: tuple[int, ...], seed: int, chunk: int) -> str:
    places, slug, last = pipeline.results, cohort.slug, chunk == cohort.chunks - 1
    made_from = pipeline.fingerprints.sae(cohort, seed)
    return flags(
        init_seed=cohort.sae_seeds[seed][0],
        config_hash=made_from,
        previous=places.state(block, slug, seed, chunk - 1) if chunk else None,
        checkpoint=places.checkpoint(slug, seed, made_from, chunk),
        tensorboard=places.tensorboard(slug, seed) if cohort.tensorboard else None,
        out=places.sae(slug, seed) if last else None,
        state_out=None if last else places.state(block, slug, seed, chunk),
    )
