"""Explanations and meta-SAEs -> do the parts of a latent tell which explanation is its own? One job a cohort."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import judges, meta
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline


def taken_apart(study: Study, cohort: Cohort) -> tuple[str, int] | None:
    """Cohort and seed of the first explained SAE that a cohort of meta-SAEs takes apart; None without such a test."""
    interpret = study.interpret
    if interpret.choice is None or not interpret.explainers:
        return None
    return next((sae for sae in cohort.pass_.decoder_of if sae[0] in interpret.cohorts), None)


def jobs(pipeline: "Pipeline") -> list[str]:
    """The cohorts whose choices have still to be made."""
    return pipeline.unfinished["choice"]


def inputs(pipeline: "Pipeline", cohort: Cohort) -> list[str]:
    """The explanations, the SAE that is taken apart, and the meta-SAEs."""
    places, study = pipeline.results, pipeline.study
    of = taken_apart(study, cohort)
    saes = [of, *((cohort.slug, seed) for seed in cohort.seeds)]
    files = [file(*sae) for sae in saes for file in (places.settings, places.weights)]
    return [places.explanations(study.interpret.explainers[0], *of), *files]


def results(pipeline: "Pipeline") -> dict:
    """The table of every such cohort that a figure draws, and what it is made from."""
    return {
        cohort.slug: ([pipeline.results.choice(cohort.slug)], pipeline.fingerprints.choice(cohort))
        for cohort in meta.cohorts(pipeline.study)
        if taken_apart(pipeline.study, cohort) is not None
    }


def reads(pipeline: "Pipeline", slug: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.cohorts[slug])


def command(pipeline: "Pipeline", cohort: Cohort) -> str:
    """The judge, the explanations, the SAEs and the table."""
    places, marks, study = pipeline.results, pipeline.fingerprints, pipeline.study
    of, seed = taken_apart(study, cohort)
    words = [judges.command(study, places, study.interpret.choice)]
    explained = places.explanations(study.interpret.explainers[0], of, seed)
    words.append(flags(explanations=explained, draw_seed=study.interpret.seed))
    words.append(flags(sae=places.sae(of, seed), sae_hash=marks.sae(study.cohorts[of], seed)))
    for number in cohort.seeds:
        words.append(flags(meta=f"{number}={places.sae(cohort.slug, number)}"))
        words.append(flags(meta_hash=f"{number}={marks.sae(cohort, number)}"))
    words.append(flags(config_hash=marks.choice(cohort), out=places.choice(cohort.slug)))
    return " ".join(words)


def cost(study: Study, rates: Rates) -> Cost | None:
    """One job a cohort. None where nothing is chosen."""
    asked = [judges.choosing(study, cohort) for cohort in meta.cohorts(study) if taken_apart(study, cohort) is not None]
    return Cost("choice", len(asked), **judges.spent(rates, len(asked), asked, 0)) if asked else None
