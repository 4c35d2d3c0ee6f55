"""Scores -> what those of a cohort come to. One job an explainer, scorer and cohort."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import score
from sae_stability.pipeline.command import flags

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "score-summary"
"""The verb that makes the results."""


def inputs(pipeline: "Pipeline", explainer: str, scorer: str, cohort: str) -> list[str]:
    """The scores of every SAE of a cohort."""
    return [pipeline.results.scores(explainer, scorer, cohort, seed) for seed in pipeline.study.cohorts[cohort].seeds]


def results(pipeline: "Pipeline") -> dict:
    """The summary of every table of scores, and what it is made from."""
    return {
        names: ([pipeline.results.score_summary(*names)], pipeline.fingerprints.score_summary(*names))
        for names in score.combinations(pipeline.study)
    }


def reads(pipeline: "Pipeline", explainer: str, scorer: str, cohort: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, explainer, scorer, cohort)


def command(pipeline: "Pipeline", explainer: str, scorer: str, cohort: str) -> str:
    """Each SAE's scores under their flag."""
    seeds = pipeline.study.cohorts[cohort].seeds
    files = inputs(pipeline, explainer, scorer, cohort)
    words = [flags(scores=f"{seed}={file}") for seed, file in zip(seeds, files, strict=True)]
    words.append(flags(config_hash=pipeline.fingerprints.score_summary(explainer, scorer, cohort)))
    return " ".join(words)


def targets(pipeline: "Pipeline") -> list[str]:
    """All tables of this stage."""
    return [file for files, _ in results(pipeline).values() for file in files]
