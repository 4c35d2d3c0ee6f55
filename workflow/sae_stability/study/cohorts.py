"""Cohorts that are trained: from settings to a cohort, with its pass and the settings that follow from the pass."""

from sae_stability.errors import StudyError
from sae_stability.study import schema
from sae_stability.study.cohort_seeds import seeds_of
from sae_stability.study.parts import Cohort, ExternalCohort, Pass
from sae_stability.study.schema import look_up


def cohort_of(slug: str, given: dict, passes: dict[str, Pass], where: str, preferred: Pass | None = None) -> Cohort:
    """A cohort from settings with defaults filled in.

    Args:
        slug: the cohort's name.
        given: its settings.
        passes: the study's passes.
        where: dotted path of the settings, for errors.
        preferred: the pass to take where several hold the hookpoint.

    Raises:
        StudyError: a size is missing, the seeds do not go together, or `pass_of` finds no pass.
    """
    for key in ("n_latents", "k"):
        if key not in given:
            raise StudyError(f"{where}.{key}: missing; give it here or under cohort_defaults")
    pass_ = pass_of(given, passes, where, preferred)
    own = {
        "hookpoint": given["hookpoint"] or pass_.hookpoints[0],
        "tokens": given["tokens"] or pass_.train_rows * given["epochs"],
        **seeds_of(given, where),
    }
    settings = {key: value for key, value in given.items() if key not in ("pass", "order_seed")}
    return Cohort(slug=slug, pass_=pass_, **{**settings, **own})


def pass_of(given: dict, passes: dict[str, Pass], where: str, preferred: Pass | None = None) -> Pass:
    """The pass that holds a cohort's hookpoint; arguments as for `cohort_of`.

    Raises:
        StudyError: no pass holds it, or several do.
    """
    hookpoint = given["hookpoint"]
    if given["pass"] is not None:
        pass_ = look_up(f"{where}.pass", given["pass"], passes)
        if hookpoint is not None and hookpoint not in pass_.hookpoints:
            what = f"not in pass {pass_.slug}"
            schema.fail_unknown(f"{where}.hookpoint: {hookpoint}", hookpoint, pass_.hookpoints, what)
        found = [pass_]
    elif hookpoint is None:
        found = list(passes.values())
    else:
        found = [p for p in passes.values() if hookpoint in p.hookpoints]
    if not found:
        known = dict.fromkeys(name for p in passes.values() for name in p.hookpoints)
        schema.fail_unknown(f"{where}.hookpoint: {hookpoint}", hookpoint, known, "in no pass")
    if preferred and len(found) > 1:
        same_text = [p for p in found if p.tokens == preferred.tokens]
        found = [p for p in found if p == preferred] or same_text or found
    if len(found) > 1:
        names = ", ".join(p.slug for p in found)
        raise StudyError(f"{where}.pass: missing, and several passes would do ({names}); name one")
    if hookpoint is None and len(found[0].hookpoints) > 1:
        names = ", ".join(found[0].hookpoints)
        raise StudyError(f"{where}.hookpoint: missing, and pass {found[0].slug} has several ({names}); name one")
    return found[0]


def trained(cohorts: dict[str, Cohort | ExternalCohort]) -> dict[str, Cohort]:
    """The cohorts that are trained, without the external ones."""
    return {slug: cohort for slug, cohort in cohorts.items() if isinstance(cohort, Cohort)}
