"""The verb `validate`: a study's file, then its text, then its hookpoints and tokenizers against the models."""

from pathlib import Path

from sae_stability.study.build import load_study
from sae_stability.study.fonts import without_font
from sae_stability.study.hookpoints import check_hookpoints
from sae_stability.study.sources import check_corpora
from sae_stability.study.tokenizers import check_tokenizers


def validate(study: Path = Path("config.yaml")) -> str:
    """Check a study before anything runs.

    Args:
        study: the study's file.

    Returns:
        Lines to print: what could not be tried or cannot be drawn; how many cohorts and SAEs the study has.

    Raises:
        StudyError: the first mistake found.
    """
    found = load_study(study)
    check_corpora(found)
    notes = [*check_hookpoints(found), *without_font(found)]
    check_tokenizers(found)
    saes = sum(len(cohort.seeds) for cohort in found.cohorts.values())
    return "\n".join([*notes, f"{study}: valid; {len(found.cohorts)} cohorts, {saes} SAEs"])
