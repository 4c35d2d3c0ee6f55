"""SAEs -> their quality on held-out rows. One job evaluates the SAEs of a block, one after the other."""

from typing import TYPE_CHECKING

from sae_stability.models.headers import has_lm_head
from sae_stability.pipeline.blocks import by_block
from sae_stability.pipeline.command import flags, folders, model_flags
from sae_stability.pipeline.cost import Cost, encode, forward, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import sae_memory, sae_threads
from sae_stability.pipeline.results import Results
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Pass

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_LATENT_BYTES = 49  # a row of the table of latents
# The model as it is, with the SAE, with zeros and with the mean in its place: where it has a language-model head.
_MODEL_PASSES = 4
_START_SECONDS = 1.0  # of a job, to compile what counts firings and to write its tables


def jobs(pipeline: "Pipeline") -> dict[tuple[int, ...], list[str]]:
    """Seeds that one job evaluates, and the names of the cohorts that have them to evaluate.

    They are those of a training block that are not evaluated yet: see `batches.jobs_of` for why blocks come first.
    """
    todo = set(pipeline.unfinished["evaluate"])
    left = {
        slug: [tuple(seed for seed in block if (slug, seed) in todo) for block in cohort.blocks]
        for slug, cohort in pipeline.study.cohorts.items()
    }
    return by_block({slug: [seeds for seeds in blocks if seeds] for slug, blocks in left.items()})


def inputs(pipeline: "Pipeline", cohort: Cohort | ExternalCohort, seeds: tuple[int, ...]) -> dict[str, list[str]]:
    """Held-out activations and token blocks, if there are any, and the SAEs."""
    places, pass_ = pipeline.results, cohort.pass_
    at = (pass_, cohort.hook_slug, "heldout")
    return {
        "heldout": [places.manifest(*at), *places.shards(*at)] if pass_ else [],
        "tokens": [places.heldout_tokens(pass_.tokens)] if pass_ and pass_.model else [],
        "saes": [file(cohort.slug, seed) for seed in seeds for file in (places.settings, places.weights)],
    }


def outputs(results: Results, cohort: str, seed: int | str) -> list[str]:
    """The files of an evaluation; the first says what it was made from."""
    return [results.quality(cohort, seed), results.latents(cohort, seed)]


def results(pipeline: "Pipeline") -> dict:
    """The evaluation of every SAE, and what it is made from."""
    return {
        (cohort.slug, seed): (
            outputs(pipeline.results, cohort.slug, seed),
            pipeline.fingerprints.evaluation(cohort, seed),
        )
        for cohort, seed in pipeline.saes
    }


def reads(pipeline: "Pipeline", slug: str, seed: int) -> dict[str, list[str]]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.cohorts[slug], (seed,))


def command(pipeline: "Pipeline", cohort: Cohort | ExternalCohort, seeds: tuple[int, ...]) -> str:
    """The held-out rows and the model for all SAEs of the job, then each SAE among its inputs, and the files for it."""
    files = inputs(pipeline, cohort, seeds)
    words = [flags(device=pipeline.study.device)]
    if cohort.pass_:
        words.append(_heldout_command(pipeline, cohort.pass_, cohort, files))
    for seed, sae in zip(seeds, folders(files["saes"]), strict=True):
        quality, latents = outputs(pipeline.results, cohort.slug, seed)
        words.append(
            flags(
                sae=sae,
                sae_hash=pipeline.fingerprints.sae(cohort, seed),
                config_hash=pipeline.fingerprints.evaluation(cohort, seed),
                out_json=quality,
                out_parquet=latents,
            )
        )
    return " ".join(words)


def memory(cohort: Cohort | ExternalCohort) -> int:
    """What a job takes, in MB."""
    return sae_memory(cohort)


def threads(cohort: Cohort | ExternalCohort) -> int:
    """Cores of a job."""
    return sae_threads(cohort)


def cost(study: Study, rates: Rates) -> Cost:
    """The held-out rows go through each SAE and, where the model has a language-model head, through the model."""
    jobs = tokens = written = read = 0
    forwards = encodes = 0.0
    for cohort in study.cohorts.values():
        seeds = len(cohort.seeds)
        jobs += len(cohort.blocks)
        written += seeds * cohort.n_latents * _LATENT_BYTES
        read += seeds * sae_bytes(cohort)
        if cohort.pass_ is None:
            continue
        rows = seeds * cohort.pass_.heldout_rows
        tokens += rows
        read += rows * row_bytes(cohort.pass_)
        # A hub model is not looked into: its cost is counted rather than left out.
        if cohort.pass_.model and has_lm_head(cohort.pass_.model) is not False:
            forwards += rows * _MODEL_PASSES * forward(cohort.pass_)
        encodes += encode(cohort, rows)
    spent = on_device(rates, jobs, model=forwards, sae=encodes, moved=read, seconds=jobs * _START_SECONDS)
    return Cost("evaluate", jobs, tokens, **spent, read=read, written=written, peak=written)


def _heldout_command(pipeline: "Pipeline", pass_: Pass, cohort: Cohort | ExternalCohort, files: dict) -> str:
    (chunk,), model = folders(files["heldout"]), pass_.model
    heldout = flags(chunk=chunk, activations_hash=pipeline.fingerprints.activations(pass_))
    if model is None:
        return heldout
    spliced = flags(tokens=files["tokens"][0], hookpoint=cohort.hookpoint)
    return f"{heldout} {spliced} {model_flags(model)}"
