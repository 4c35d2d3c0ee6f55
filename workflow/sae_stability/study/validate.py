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
        A line to print: how many cohorts and SAEs the study has.

    Raises:
        StudyError: the first mistake found.
    """
    found = load_study(study)
    check_corpora(found)
    check_hookpoints(found)
    saes = sum(len(cohort.seeds) for cohort in found.cohorts.values())
    return f"{study}: valid; {len(found.cohorts)} cohorts, {saes} SAEs"
