"""Figures of a study: what each draws, and whether its sweep can be drawn so."""

import re
from collections import Counter

from sae_stability.errors import StudyError
from sae_stability.sae.architectures import OPTIONAL
from sae_stability.study import schema
from sae_stability.study.parts import Cohort, ExternalCohort, Figure, Point, Sweep
from sae_stability.study.schema import look_up

# What the sweep of each kind of figure has to vary, and places its cohorts by.
SWEPT = {
    "size": "n_latents",
    "k": "k",
    "tokens": "tokens",
    "layer": "hookpoint",
    "position": "hookpoint",
    "randomness": "varied",
    "architecture": "architecture",
}


# What may differ between the cohorts of a figure over architectures: sparsity, and what each has its own of.
OF_ARCHITECTURES = ("architecture", "k", "learning_rate", *OPTIONAL)


def figure_of(slug: str, given: dict, cohorts: dict, sweeps: dict) -> Figure:
    """A figure from filled settings, its kind checked against what it draws."""
    where = f"figures.draw.{slug}"
    what = "cohort" if "cohort" in given else "sweep"
    kinds = schema.definition(f"{what}_figure")["properties"]["figure"]["enum"]
    kind = given["figure"] or slug
    if kind not in kinds:
        words = f"no figure of a {what} by that name (name the kind with `figure:`)"
        schema.fail_unknown(where, kind, [name for name in kinds if name], words)
    entry = look_up(f"{where}.{what}", given[what], cohorts if what == "cohort" else sweeps)
    if what == "cohort":
        inputs = ((entry.slug, entry.slug),)
    else:
        check_swept(where, kind, entry, cohorts)
        inputs = tuple((_place(kind, member, cohorts[member.cohort]), member.cohort) for member in entry.points)
    return Figure(slug, kind, given.get("cohort"), given.get("sweep"), inputs)


def _place(kind: str, member: Point, cohort: Cohort | ExternalCohort) -> str:
    """What a figure places a sweep's cohort by: a number, a hookpoint with its layer number, or a name."""
    return member.label if kind == "position" else str(getattr(cohort, SWEPT[kind]))


def check_swept(where: str, kind: str, sweep: Sweep, cohorts: dict[str, Cohort | ExternalCohort]) -> None:
    """A figure over a setting needs a sweep that varies it, or a group of declared cohorts that differ in it.

    Positions go by name, so any group will do for them; layers go by the number in the hookpoint.
    """
    if kind in ("randomness", "architecture"):
        check = _check_randomness if kind == "randomness" else _check_architecture
        check(where, sweep, [cohorts[name] for name in dict.fromkeys(member.cohort for member in sweep.points)])
        return
    field = SWEPT[kind]
    without = [member.cohort for member in sweep.points if getattr(cohorts[member.cohort], field, None) is None]
    if without and kind != "position":
        raise StudyError(
            f"{where}: figure {kind} goes by {field}, which cohort {without[0]} of external SAEs does not state"
        )
    values = list(dict.fromkeys(getattr(cohorts[member.cohort], field) for member in sweep.points))
    if sweep.fields and field not in sweep.fields:
        found = f"varies {' and '.join(sweep.fields)}"
    elif not sweep.fields and kind != "position" and len(values) == 1:
        found = f"has {field} {values[0]} in all of its cohorts"
    elif kind == "layer" and (bare := [value for value in values if not any(map(str.isdigit, value))]):
        found = f"has {bare[0]}, with no layer number in it"
    else:
        return _check_places(where, kind, sweep, cohorts)
    raise StudyError(
        f"{where}: figure {kind} goes by {field}, but sweep {sweep.slug} {found}; name another sweep, "
        "or another kind with `figure:`"
    )


def _check_randomness(where: str, sweep: Sweep, cohorts: list[Cohort | ExternalCohort]) -> None:
    """What the init seed and the order seed do can be told from cohorts that are alike in everything else."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, ExternalCohort)]
    if sweep.fields:
        found = f"varies {' and '.join(sweep.fields)}"
    elif given:
        found = f"has cohort {given[0]} of external SAEs"
    elif unlike := _settings_that_differ(cohorts):
        found = f"has cohorts that differ in {' and '.join(unlike)}"
    elif missing := [kind for kind in ("init", "order") if kind not in [cohort.varied for cohort in cohorts]]:
        found = f"has no cohort in which the {missing[0]} seed alone varies"
    elif len({cohort.varied for cohort in cohorts}) < len(cohorts):
        found = "has two cohorts in which the same varies"
    else:
        return
    raise StudyError(
        f"{where}: figure randomness compares a cohort of several init_seeds with one of several order_seeds, alike in "
        f"everything else, but sweep {sweep.slug} {found}; name another sweep, or another kind with `figure:`"
    )


def _check_architecture(where: str, sweep: Sweep, cohorts: list[Cohort | ExternalCohort]) -> None:
    """Architectures can be compared where the cohorts are alike in all but their own settings and sparsity."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, ExternalCohort)]
    places = {} if given else {(cohort.architecture, cohort.k): cohort.slug for cohort in cohorts}
    if given:
        found = f"has cohort {given[0]} of external SAEs"
    elif unlike := [name for name in _settings_that_differ(cohorts) if name not in OF_ARCHITECTURES]:
        found = f"has cohorts that differ in {' and '.join(unlike)}"
    elif len({cohort.varied for cohort in cohorts}) > 1:
        found = "has cohorts in which different seeds vary"
    elif len({architecture for architecture, _ in places}) == 1:
        found = f"has architecture {cohorts[0].architecture} in all of its cohorts"
    elif twins := [cohort for cohort in cohorts if cohort.slug not in places.values()]:
        twin = twins[0]
        other = places[twin.architecture, twin.k]
        found = f"has {twin.slug} and {other} with architecture {twin.architecture} and k {twin.k}"
    elif sum(count > 1 for count in Counter(architecture for architecture, _ in places).values()) < 2:
        found = "has not two architectures with several k each, so that there is no line to compare on"
    else:
        return
    raise StudyError(
        f"{where}: figure architecture compares cohorts of several architectures at several k, alike in all but "
        f"learning_rate and what each has its own of, but sweep {sweep.slug} {found}; name another sweep, or another "
        "kind with `figure:`"
    )


def _settings_that_differ(cohorts: list[Cohort]) -> list[str]:
    settings = [{"pass": cohort.pass_.slug, **cohort.training} for cohort in cohorts]
    return [name for name in settings[0] if any(other[name] != settings[0][name] for other in settings)]


def _check_places(where: str, kind: str, sweep: Sweep, cohorts: dict[str, Cohort | ExternalCohort]) -> None:
    """Two cohorts at one place would be drawn as one curve, and their mean taken for a result."""
    if kind == "position":
        return  # places are names, and names differ
    taken: dict[tuple, str] = {}
    for name in dict.fromkeys(member.cohort for member in sweep.points):
        value = getattr(cohorts[name], SWEPT[kind])
        place = (re.search(r"\d+", value)[0], cohorts[name].n_latents) if kind == "layer" else (value,)
        if other := taken.get(place):
            at = f"layer {place[0]} with {place[1]:,} latents" if kind == "layer" else f"{SWEPT[kind]} {value:,}"
            allowed = "hookpoint, or hookpoint and n_latents" if kind == "layer" else SWEPT[kind]
            raise StudyError(
                f"{where}: figure {kind} needs one cohort a place, but sweep {sweep.slug} has {other} and {name} at "
                f"{at}; vary {allowed} alone, with a sweep and a figure for each value of another setting"
            )
        taken[place] = name
