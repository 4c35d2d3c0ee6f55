"""Which cohorts firing is measured for, and on what."""

from sae_stability.errors import StudyError
from sae_stability.study.checks import check_several
from sae_stability.study.parts import Cohort, ExternalCohort, Firing, Pass
from sae_stability.study.schema import look_up


def firing_of(given: dict, cohorts: dict[str, Cohort | ExternalCohort]) -> Firing:
    """The settings of firing, with defaults filled in, for a study with these cohorts.

    Raises:
        StudyError: no such cohort, one without activations or of a single SAE, or a matrix with too few held-out rows.
    """
    for name in given["cohorts"]:
        cohort = look_up("firing.cohorts", name, cohorts)
        if cohort.pass_ is None:
            raise StudyError(f"firing.cohorts: {name} has no activations to fire on; give it a pass")
        check_several("firing.cohorts", cohort, "firing is compared over seeds")
        _check_tokens(given["tokens"], cohort.pass_)
    return Firing(tuple(given["cohorts"]), given["tokens"], given["contexts"])


def uses_model(firing: Firing, pass_: Pass) -> bool:
    """Whether more tokens are asked for than a pass has stored, so that further text must be run through the model."""
    return firing.tokens is not None and firing.tokens > pass_.heldout_rows


def _check_tokens(tokens: int | None, pass_: Pass) -> None:
    if pass_.tokens is None and tokens is not None and tokens > pass_.heldout_rows:
        found, mend = ("is a matrix with", ", or raise its heldout_rows") if pass_.matrix else ("has", "")
        raise StudyError(
            f"firing.tokens: {tokens:,}, but pass {pass_.slug} {found} {pass_.heldout_rows:,} held-out rows; "
            f"ask for fewer{mend}"
        )
