"""Explanations and contexts -> how well explanations predict where latents fire, a cohort and scorer in one job."""

from typing import TYPE_CHECKING

from sae_stability.interpret.limits import WITHOUT_EXPLANATION
from sae_stability.pipeline import explain, judges
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_START_SECONDS = 1.5  # of a job, to read contexts and pools
_SUMMARY_SECONDS = 1.2  # of the job that sums the scores up

Job = tuple[str, str, str, list[int]]
"""Explainer, scorer, cohort and the seeds to score."""


def jobs(pipeline: "Pipeline") -> list[Job]:
    """The seeds that have still to be scored, by explainer, scorer and cohort."""
    todo = pipeline.unfinished["score"]
    found = [
        (*names, [seed for seed in pipeline.study.cohorts[names[2]].seeds if (*names, seed) in todo])
        for names in combinations(pipeline.study)
    ]
    return [job for job in found if job[3]]


def inputs(pipeline: "Pipeline", job: Job) -> list[str]:
    """Contexts and pools of all SAEs of the cohort, the first one's matches, and the SAEs with their explanations."""
    explainer, _, name, seeds = job
    places, cohort = pipeline.results, pipeline.study.cohorts[name]
    files = [file(name, seed) for seed in cohort.seeds for file in (places.contexts, places.pool)]
    files += [*explain.matches(pipeline, cohort, list(cohort.seeds)).values()]
    files += [file(name, seed) for seed in seeds for file in (places.settings, places.weights)]
    if explainer != WITHOUT_EXPLANATION:
        files += [places.explanations(explainer, name, seed) for seed in seeds]
    return files


def outputs(pipeline: "Pipeline", job: Job) -> list[str]:
    """The table of each SAE."""
    return [pipeline.results.scores(*job[:3], seed) for seed in job[3]]


def judge(study: Study, job: Job) -> str:
    """The judge that a job asks."""
    return study.interpret.scorers[job[1]].judge


def results(pipeline: "Pipeline") -> dict:
    """Every table of scores, and what it is made from."""
    return {
        (*names, seed): ([pipeline.results.scores(*names, seed)], pipeline.fingerprints.scores(*names, seed))
        for names in combinations(pipeline.study)
        for seed in pipeline.study.cohorts[names[2]].seeds
    }


def reads(pipeline: "Pipeline", explainer: str, scorer: str, cohort: str, seed: int) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, (explainer, scorer, cohort, [seed]))


def command(pipeline: "Pipeline", job: Job) -> str:
    """The judge, the samples, and the files of each SAE."""
    explainer, scorer, name, seeds = job
    study, places, cohort = pipeline.study, pipeline.results, pipeline.study.cohorts[name]
    asked, interpret = study.interpret.scorers[scorer], study.interpret
    words = [flags(kind=asked.kind), judges.command(study, places, asked.judge), explain.sample(study)]
    words.append(flags(scored_windows=interpret.scored_windows, draws=interpret.draws))
    for seed in cohort.seeds:
        words.append(flags(contexts=f"{seed}={places.contexts(name, seed)}", pool=f"{seed}={places.pool(name, seed)}"))
    words += [
        flags(match=f"{seed}={file}") for seed, file in explain.matches(pipeline, cohort, list(cohort.seeds)).items()
    ]
    for seed in seeds:
        said = None
        if explainer != WITHOUT_EXPLANATION:
            said = f"{seed}={places.explanations(explainer, name, seed)}"
        words.append(flags(sae=f"{seed}={places.sae(name, seed)}", explanations=said))
        out = f"{seed}={places.scores(*job[:3], seed)}"
        words.append(flags(out=out, config_hash=pipeline.fingerprints.scores(*job[:3], seed)))
    return " ".join(words)


def cost(study: Study, rates: Rates) -> Cost | None:
    """One job an explainer, scorer and cohort, and one that sums its scores up."""
    found = combinations(study)
    if not found:
        return None
    asked = [judges.scoring(study, scorer, study.cohorts[cohort]) for _, scorer, cohort in found]
    seconds = len(found) * (_START_SECONDS + _SUMMARY_SECONDS)
    return Cost("score", 2 * len(found), **judges.spent(rates, 2 * len(found), asked, seconds))


def combinations(study: Study) -> list[tuple[str, str, str]]:
    """Every explainer with every scorer and cohort."""
    return [(*names, cohort) for names in study.interpret.scores for cohort in study.interpret.cohorts]
