"""Contexts -> explanations of a sample of latents, those of a cohort in one job."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import judges
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_START_SECONDS = 1.0  # of a job, to read contexts and choose latents
_COMPARED_SECONDS = 40.0  # of a job that compares explanations, for intervals and embeddings

Job = tuple[str, str, list[int]]
"""Explainer, cohort and the seeds to explain."""


def jobs(pipeline: "Pipeline") -> list[Job]:
    """The seeds that each explainer has still to explain, cohort by cohort."""
    todo = pipeline.unfinished["explain"]
    found = [(explainer, cohort.slug, _left(todo, explainer, cohort)) for explainer, cohort in _all(pipeline.study)]
    return [job for job in found if job[2]]


def inputs(pipeline: "Pipeline", job: Job) -> list[str]:
    """The contexts of the SAEs and of the first one, and the first one's matches."""
    cohort = pipeline.study.cohorts[job[1]]
    return list(dict.fromkeys([*_contexts(pipeline, cohort, job[2]), *matches(pipeline, cohort, job[2]).values()]))


def outputs(pipeline: "Pipeline", job: Job) -> list[str]:
    """The table of each SAE."""
    explainer, cohort, seeds = job
    return [pipeline.results.explanations(explainer, cohort, seed) for seed in seeds]


def results(pipeline: "Pipeline") -> dict:
    """Every table of explanations, and what it is made from."""
    return {
        (explainer, cohort.slug, seed): (
            [pipeline.results.explanations(explainer, cohort.slug, seed)],
            pipeline.fingerprints.explanations(explainer, cohort, seed),
        )
        for explainer, cohort in _all(pipeline.study)
        for seed in cohort.seeds
    }


def reads(pipeline: "Pipeline", explainer: str, cohort: str, seed: int) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, (explainer, cohort, [seed]))


def command(pipeline: "Pipeline", job: Job) -> str:
    """The judge, the sample, and the files of each SAE."""
    explainer, name, seeds = job
    study, places, cohort = pipeline.study, pipeline.results, pipeline.study.cohorts[name]
    words = [judges.command(study, places, explainer), flags(explainer=explainer), sample(study)]
    firsts = dict.fromkeys((cohort.seeds[0], *seeds))
    words += [flags(contexts=f"{seed}={places.contexts(name, seed)}") for seed in firsts]
    words += [flags(match=f"{seed}={file}") for seed, file in matches(pipeline, cohort, seeds).items()]
    for seed in seeds:
        made_from = pipeline.fingerprints.explanations(explainer, cohort, seed)
        words.append(flags(out=f"{seed}={places.explanations(explainer, name, seed)}", config_hash=made_from))
    return " ".join(words)


def sample(study: Study) -> str:
    """The settings of the sample of latents and of what explains them."""
    interpret = study.interpret
    return flags(latents=interpret.latents, shown_windows=interpret.shown_windows, seed=interpret.seed)


def matches(pipeline: "Pipeline", cohort: Cohort | ExternalCohort, seeds: list[int]) -> dict[int, str]:
    """The first SAE's match with each of these others."""
    first = cohort.seeds[0]
    return {seed: pipeline.results.match(cohort.slug, first, seed) for seed in seeds if seed != first}


def targets(pipeline: "Pipeline") -> list[str]:
    """All that this stage makes."""
    study, places = pipeline.study, pipeline.results
    return [places.explanations(explainer, c.slug, seed) for explainer, c in _all(study) for seed in c.seeds]


def memory(pipeline: "Pipeline", cohort: str, judge: str) -> int:
    """What a job takes, in MB."""
    # A table of contexts takes about 20 kB a latent. What a model takes is not known before it is loaded.
    model = 4 * 10**9 if judges.computes(pipeline.study, judge) else 0
    return megabytes(20_000 * pipeline.study.cohorts[cohort].n_latents, model)


def cost(study: Study, rates: Rates) -> Cost | None:
    """One job an explainer and cohort, and one that compares the explanations of matched latents."""
    found = _all(study)
    if not found:
        return None
    asked = [judges.explaining(study, explainer, cohort) for explainer, cohort in found]
    compared = [one for one in found if study.interpret.similarity and len(one[1].seeds) > 1]
    jobs = len(found) + len(compared)
    seconds = len(found) * _START_SECONDS + len(compared) * _COMPARED_SECONDS
    return Cost("explain", jobs, **judges.spent(rates, jobs, asked, seconds))


def _all(study: Study) -> list[tuple[str, Cohort | ExternalCohort]]:
    """Every explainer with every cohort."""
    interpret = study.interpret
    return [(explainer, study.cohorts[name]) for explainer in interpret.explainers for name in interpret.cohorts]


def _left(todo: list, explainer: str, cohort: Cohort | ExternalCohort) -> list[int]:
    return [seed for seed in cohort.seeds if (explainer, cohort.slug, seed) in todo]


def _contexts(pipeline: "Pipeline", cohort: Cohort | ExternalCohort, seeds: list[int]) -> list[str]:
    return [pipeline.results.contexts(cohort.slug, seed) for seed in (cohort.seeds[0], *seeds)]
