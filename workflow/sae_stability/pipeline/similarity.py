"""Explanations and matches -> are the explanations of matched latents alike? One job an explainer and cohort."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import explain, judges
from sae_stability.pipeline.command import flags

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "explanation-similarity"
"""The verb that makes the results."""


def inputs(pipeline: "Pipeline", explainer: str, cohort: str) -> dict[str, list[str]]:
    """The explanations of every SAE of a cohort, and the first one's matches."""
    found = pipeline.study.cohorts[cohort]
    return {
        "explanations": [pipeline.results.explanations(explainer, cohort, seed) for seed in found.seeds],
        "matches": list(explain.matches(pipeline, found, list(found.seeds)).values()),
    }


def results(pipeline: "Pipeline") -> dict:
    """The table of every explainer and cohort, and what it is made from; none where no judge compares sentences."""
    interpret = pipeline.study.interpret
    if not interpret.similarity:
        return {}
    return {
        (explainer, cohort): (
            [pipeline.results.similarity(explainer, cohort)],
            pipeline.fingerprints.similarity(explainer, cohort),
        )
        for explainer in interpret.explainers
        for cohort in interpret.cohorts
        if len(pipeline.study.cohorts[cohort].seeds) > 1
    }


def reads(pipeline: "Pipeline", explainer: str, cohort: str) -> dict[str, list[str]]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, explainer, cohort)


def command(pipeline: "Pipeline", explainer: str, cohort: str) -> str:
    """The judge, and each input under its flag."""
    study, found = pipeline.study, pipeline.study.cohorts[cohort]
    words = [judges.command(study, pipeline.results, study.interpret.similarity)]
    for seed in found.seeds:
        words.append(flags(explanations=f"{seed}={pipeline.results.explanations(explainer, cohort, seed)}"))
    matches = explain.matches(pipeline, found, list(found.seeds))
    words += [flags(match=f"{seed}={file}") for seed, file in matches.items()]
    words.append(flags(config_hash=pipeline.fingerprints.similarity(explainer, cohort)))
    return " ".join(words)


def targets(pipeline: "Pipeline") -> list[str]:
    """All tables of this stage."""
    return [file for files, _ in results(pipeline).values() for file in files]
