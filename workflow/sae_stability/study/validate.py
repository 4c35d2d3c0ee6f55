"""The verb `validate`: a study's file, then its text, then its hookpoints against the models."""

from pathlib import Path

from sae_stability.study.build import load_study
from sae_stability.study.hookpoints import check_hookpoints
from sae_stability.study.sources import check_corpora


def validate(study: Path = Path("config.yaml")) -> str:
    """Check a study before anything runs.

    Args:
        study: the study's file.

    Returns:
        Lines to print: how many cohorts and SAEs the study has, and what could not be tried.

    Raises:
        StudyError: the first mistake found.
    """
    found = load_study(study)
    check_corpora(found)
    untried = check_hookpoints(found)
    saes = sum(len(cohort.seeds) for cohort in found.cohorts.values())
    return "\n".join([*untried, f"{study}: valid; {len(found.cohorts)} cohorts, {saes} SAEs"])
