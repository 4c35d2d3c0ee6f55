"""SAEs of a cohort and their matches -> groups over seeds and the consensus SAEs, where a figure asks for it."""

from typing import TYPE_CHECKING

from sae_stability.figures.registry import FIGURES
from sae_stability.models.headers import has_lm_head
from sae_stability.pipeline.activations import HELDOUT
from sae_stability.pipeline.command import flags, model_flags
from sae_stability.pipeline.cost import Cost, encode, forward, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads, shard_bytes
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

TABLES = ("curve", "heldout", "levels", "triples")
"""What a figure reads."""

_LATENT_BYTES = 90  # a latent in the tables, and in its SAE's JSON
_CONTROLS = 2  # of each level and seed
_MODEL_PASSES = 4


def cohorts(study: Study) -> list[Cohort | ExternalCohort]:
    """The cohorts that some figure of the consensus draws."""
    drawn = [figure for figure in study.figures.values() if "consensus" in FIGURES[figure.figure].extra]
    return [study.cohorts[slug] for slug in dict.fromkeys(slug for figure in drawn for _, slug in figure.inputs)]


def inputs(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> list[str]:
    """The SAEs, their evaluations and matches, and the held-out rows and tokens, if there are any."""
    places, pass_ = pipeline.results, cohort.pass_
    files = [make(cohort.slug, seed) for seed in cohort.seeds for make in (places.settings, places.weights)]
    files += [make(cohort.slug, seed) for seed in cohort.seeds for make in (places.quality, places.latents)]
    files += [places.match(cohort.slug, *pair) for pair in cohort.pairs]
    if pass_:
        at = (pass_, cohort.hook_slug, HELDOUT)
        files += [places.manifest(*at), *places.shards(*at)]
    return files + ([places.heldout_tokens(pass_.tokens)] if pass_ and pass_.model else [])


def outputs(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> list[str]:
    """The tables; the SAEs lie beside them. The first says what all were made from."""
    places = pipeline.results
    tables = [places.consensus(cohort.slug, f"{name}.parquet") for name in ("groups", *TABLES)]
    beside = [f"seed-{seed}.{ending}" for seed in cohort.seeds for ending in ("parquet", "json")]
    return tables + [places.consensus(cohort.slug, name) for name in beside]


def results(pipeline: "Pipeline") -> dict:
    """The tables of every cohort, and what they are made from."""
    return {
        cohort.slug: (outputs(pipeline, cohort), pipeline.fingerprints.consensus(cohort))
        for cohort in cohorts(pipeline.study)
    }


def reads(pipeline: "Pipeline", slug: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.cohorts[slug])


def command(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> str:
    """The matches, each SAE with its evaluation, and the rows and the model to measure on."""
    places, marks, study, pass_ = pipeline.results, pipeline.fingerprints, pipeline.study, cohort.pass_
    words = [flags(threshold=study.threshold, device=study.device, config_hash=marks.consensus(cohort))]
    for seed in cohort.seeds:
        files = {"sae": places.sae(cohort.slug, seed), "sae_hash": marks.sae(cohort, seed)}
        files |= {"latents": places.latents(cohort.slug, seed), "metrics": places.quality(cohort.slug, seed)}
        words.append(flags(**{flag: f"{seed}={value}" for flag, value in files.items()}))
    words += [flags(match=places.match(cohort.slug, *pair)) for pair in cohort.pairs]
    if pass_:
        chunk = places.activations(pass_, cohort.hook_slug, HELDOUT)
        words.append(flags(chunk=chunk, activations_hash=marks.activations(pass_)))
        if pass_.model:
            words.append(flags(tokens=places.heldout_tokens(pass_.tokens), hookpoint=cohort.hookpoint))
            words.append(model_flags(pass_.model))
    return " ".join(words)


def memory(cohort: Cohort | ExternalCohort) -> int:
    """What a job takes, in MB: each SAE in its own and in double precision, and one that is made from them."""
    rows = shard_bytes(cohort.pass_) if cohort.pass_ else 0
    return megabytes(4 * 2 * 4 * cohort.n_latents * cohort.d_model * (len(cohort.seeds) + 1), 3 * rows, 10**9)


def threads(cohort: Cohort | ExternalCohort) -> int:
    """Cores of a job."""
    return sae_threads(cohort)


def cost(study: Study, rates: Rates) -> Cost | None:
    """The held-out rows go through the consensus and the controls of each level, and through the model.

    None where no figure asks.
    """
    found = cohorts(study)
    if not found:
        return None
    tokens = read = 0
    forwards = encodes = 0.0
    for cohort in found:
        read += len(cohort.seeds) * sae_bytes(cohort)
        if cohort.pass_ is None:
            continue
        rows = cohort.pass_.heldout_rows * (1 + _CONTROLS * len(cohort.seeds)) * (len(cohort.seeds) - 1)
        tokens += rows
        read += rows * row_bytes(cohort.pass_)
        encodes += encode(cohort, rows)
        if cohort.pass_.model and has_lm_head(cohort.pass_.model) is not False:
            forwards += rows * _MODEL_PASSES * forward(cohort.pass_)
    written = sum(len(cohort.seeds) * cohort.n_latents * (_LATENT_BYTES + 8 * cohort.d_model) for cohort in found)
    spent = on_device(rates, len(found), model=forwards, sae=encodes, moved=read)
    return Cost("consensus", len(found), tokens, **spent, read=read, written=written, peak=written)
