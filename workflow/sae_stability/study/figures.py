"""The figures of a study: what each draws, and whether its sweep can be drawn that way."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from sae_stability.errors import StudyError
from sae_stability.figures import registry
from sae_stability.figures.registry import FigureKind
from sae_stability.sae.architectures import OPTIONAL
from sae_stability.study import schema
from sae_stability.study.checks import check_several
from sae_stability.study.interpret import Interpret
from sae_stability.study.parts import Cohort, ExternalCohort, Figure, Point, Sweep
from sae_stability.study.schema import look_up

Cohorts = list[Cohort | ExternalCohort]

# What may differ between the cohorts of a figure of architectures: sparsity, and settings that only some of them have.
MAY_DIFFER = ("architecture", "k", "learning_rate", *OPTIONAL)


def figure_of(
    slug: str, given: dict, cohorts: dict, sweeps: dict, firing: Sequence[str] = (), stitches: Mapping = {}
) -> Figure:
    """A figure from its settings, with defaults filled in.

    Args:
        slug: its name.
        given: its settings.
        cohorts: those of the study, by name.
        sweeps: those of the study, by name.
        firing: the cohorts whose latents' firing is measured.
        stitches: the study's chains of stitched SAEs, by name.

    Raises:
        StudyError: no such kind of figure, no such cohort, sweep or chain, a sweep that this kind cannot draw, or a
            cohort that lacks what this kind needs.
    """
    where = f"figures.draw.{slug}"
    draws = next(name for name in ("cohort", "sweep", "stitch") if name in given)
    name = given["figure"] or slug
    allowed = registry.names(draws)
    if name not in allowed:
        schema.fail_unknown(where, name, allowed, f"no figure of a {draws} by that name (or give `figure:`)")
    kind = registry.FIGURES[name]
    entry = look_up(f"{where}.{draws}", given[draws], {"cohort": cohorts, "sweep": sweeps, "stitch": stitches}[draws])
    if draws == "stitch":
        return Figure(slug, name, None, None, (), stitch=entry.slug)
    if draws == "cohort":
        if "substitution" in kind.extra and entry.pass_ is None:
            raise StudyError(f"{where}: cohort {entry.slug} has no activations to measure on; give it a pass")
        if "consensus" in kind.extra and len(entry.seeds) < 3:
            raise StudyError(f"{where}: cohort {entry.slug} has {len(entry.seeds)} seeds; a consensus needs at least 3")
        if {"meta", "depths"} & set(kind.extra) and not (entry.pass_ and entry.pass_.decoder_of):
            raise StudyError(
                f"{where}: figure {kind.name} draws meta-SAEs, but cohort {entry.slug} reads no decoder rows; name a "
                "cohort whose pass has decoder_of"
            )
        check_several(where, entry, f"figure {kind.name} compares SAEs")
        _check_measured(where, kind, entry, firing)
        inputs = ((entry.slug, entry.slug),)
    else:
        compared = [cohorts[cohort] for cohort in dict.fromkeys(point.cohort for point in entry.points)]
        for cohort in compared:
            check_several(where, cohort, f"figure {kind.name} compares SAEs")
        CHECKS[kind.check](where, kind, entry, compared)
        inputs = tuple((_label(kind, point, cohorts[point.cohort]), point.cohort) for point in entry.points)
    return Figure(slug, name, given.get("cohort"), given.get("sweep"), inputs)


def _check_measured(where: str, kind: FigureKind, cohort: Cohort | ExternalCohort, firing: Sequence[str]) -> None:
    """A figure of what latents fire on needs a cohort for which that is measured."""
    if {"firing", "cofiring"} & set(kind.extra) and cohort.slug not in firing:
        raise StudyError(
            f"{where}: figure {kind.name} needs what the latents of cohort {cohort.slug} fire on; add {cohort.slug} to "
            "firing.cohorts"
        )


def check_interpreted(figure: Figure, interpret: Interpret, cohorts: dict) -> None:
    """Check that what a figure of explanations or scores reads is made.

    Raises:
        StudyError: it is not.
    """
    where, wanted = f"figures.draw.{figure.slug}", registry.FIGURES[figure.figure].extra
    if not {"explained", "similarity"} & set(wanted):
        return
    needs = f"{where}: figure {figure.figure} needs explanations of the latents of cohort {figure.cohort}"
    if figure.cohort not in interpret.cohorts:
        raise StudyError(f"{needs}; add {figure.cohort} to interpret.cohorts, and to firing.cohorts if it is not there")
    if interpret.drawn is None:
        raise StudyError(f"{needs}, with scores; name a judge in interpret.explainers and a scorer of kind detection")
    if len(cohorts[figure.cohort].seeds) < 2:
        raise StudyError(
            f"{where}: figure {figure.figure} compares SAEs; give cohort {figure.cohort} two seeds or more"
        )
    if "similarity" in wanted and interpret.similarity is None:
        raise StudyError(f"{needs}, compared; name a judge of kind embedding in interpret.similarity")


def _label(kind: FigureKind, point: Point, cohort: Cohort | ExternalCohort) -> str:
    return point.label if kind.labels == "name" else str(getattr(cohort, kind.swept))


def _check_values(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """Every cohort must have its own value of the swept field, or two would be drawn as one and averaged."""
    values = _different_values(where, kind, sweep, cohorts)
    _check_places(
        where,
        kind,
        sweep,
        places={slug: (value, f"{kind.swept} {value:,}") for slug, value in values.items()},
        vary=kind.swept,
    )


def _check_layers(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """Every hookpoint must hold a layer number, and every layer may have one cohort of each size."""
    hookpoints = _different_values(where, kind, sweep, cohorts)
    layers = {slug: re.search(r"\d+", hookpoint) for slug, hookpoint in hookpoints.items()}
    if without := [slug for slug, layer in layers.items() if layer is None]:
        _refuse(where, kind, sweep, _goes_by(kind), f"has {hookpoints[without[0]]}, with no layer number in it")
    places = {}
    for cohort in cohorts:
        layer = layers[cohort.slug][0]
        places[cohort.slug] = (layer, cohort.n_latents), f"layer {layer} with {cohort.n_latents:,} latents"
    _check_places(where, kind, sweep, places, vary="hookpoint, or hookpoint and n_latents")


def _check_names(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """Names always differ, so any group of cohorts will do; a sweep of settings must vary the right one."""
    _check_fields(where, kind, sweep)


def _different_values(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> dict[str, object]:
    """The swept field of every cohort, by the cohort's name; at least two must differ."""
    values = {cohort.slug: getattr(cohort, kind.swept, None) for cohort in cohorts}
    if without := [slug for slug, value in values.items() if value is None]:
        raise StudyError(
            f"{where}: figure {kind.name} {_goes_by(kind)}, which cohort {without[0]} of external SAEs does not state"
        )
    _check_fields(where, kind, sweep)
    if not sweep.fields and len(set(values.values())) == 1:
        found = f"has {kind.swept} {next(iter(values.values()))} in all of its cohorts"
        _refuse(where, kind, sweep, _goes_by(kind), found)
    return values


def _check_fields(where: str, kind: FigureKind, sweep: Sweep) -> None:
    """A sweep of settings must vary the field that the figure goes by."""
    if sweep.fields and kind.swept not in sweep.fields:
        _refuse(where, kind, sweep, _goes_by(kind), f"varies {' and '.join(sweep.fields)}")


def _check_places(where: str, kind: FigureKind, sweep: Sweep, places: dict[str, tuple[object, str]], vary: str) -> None:
    """Refuse two cohorts at one place.

    Args:
        where: the figure's place in the study.
        kind: the kind of figure.
        sweep: what it draws.
        places: cohort -> (its place on the axis, the place in words).
        vary: the settings that such a sweep may vary, in words.
    """
    taken: dict[object, str] = {}
    for slug, (place, words) in places.items():
        if other := taken.get(place):
            raise StudyError(
                f"{where}: figure {kind.name} needs one cohort a place, but sweep {sweep.slug} has {other} and {slug} "
                f"at {words}; vary {vary} alone, with a sweep and a figure for each value of another setting"
            )
        taken[place] = slug


def _check_randomness(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """The effects of init seed and order seed can be told apart where the cohorts differ in nothing else."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, ExternalCohort)]
    if sweep.fields:
        found = f"varies {' and '.join(sweep.fields)}"
    elif given:
        found = f"has cohort {given[0]} of external SAEs"
    elif unlike := _settings_that_differ(cohorts):
        found = f"has cohorts that differ in {' and '.join(unlike)}"
    elif missing := [seed for seed in ("init", "order") if seed not in [cohort.varied for cohort in cohorts]]:
        found = f"has no cohort in which the {missing[0]} seed alone varies"
    elif len({cohort.varied for cohort in cohorts}) < len(cohorts):
        found = "has two cohorts in which the same seeds vary"
    else:
        return
    needs = "compares a cohort of several init_seeds with one of several order_seeds, alike in everything else"
    _refuse(where, kind, sweep, needs, found)


def _check_architectures(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """Architectures can be compared where the cohorts differ only in `MAY_DIFFER`, at several k for two of them."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, ExternalCohort)]
    at = {} if given else {(cohort.architecture, cohort.k): cohort.slug for cohort in cohorts}
    cohorts_of = Counter(architecture for architecture, _ in at)
    if given:
        found = f"has cohort {given[0]} of external SAEs"
    elif unlike := [name for name in _settings_that_differ(cohorts) if name not in MAY_DIFFER]:
        found = f"has cohorts that differ in {' and '.join(unlike)}"
    elif len({cohort.varied for cohort in cohorts}) > 1:
        found = "has cohorts in which different seeds vary"
    elif len(cohorts_of) == 1:
        found = f"has architecture {cohorts[0].architecture} in all of its cohorts"
    elif twins := [cohort for cohort in cohorts if cohort.slug not in at.values()]:
        twin = twins[0]
        other = at[twin.architecture, twin.k]
        found = f"has {twin.slug} and {other} with architecture {twin.architecture} and k {twin.k}"
    elif sum(count > 1 for count in cohorts_of.values()) < 2:
        found = "has fewer than two architectures with several k each"
    else:
        return
    needs = "compares cohorts of several architectures at several k, alike in all but learning_rate and settings that "
    _refuse(where, kind, sweep, f"{needs}only some architectures have", found)


def _settings_that_differ(cohorts: list[Cohort]) -> list[str]:
    settings = [{"pass": cohort.pass_.slug, **cohort.training} for cohort in cohorts]
    return [name for name in settings[0] if any(other[name] != settings[0][name] for other in settings)]


def _goes_by(kind: FigureKind) -> str:
    return f"goes by {kind.swept}"


def _refuse(where: str, kind: FigureKind, sweep: Sweep, needs: str, found: str) -> None:
    raise StudyError(
        f"{where}: figure {kind.name} {needs}, but sweep {sweep.slug} {found}; name another sweep, or another kind "
        "with `figure:`"
    )


def _check_controls(where: str, kind: FigureKind, sweep: Sweep, cohorts: Cohorts) -> None:
    """The first cohort is the base. Every other one is a control, or reads another model or other text."""
    base, *others = cohorts
    alike = [c.slug for c in others if getattr(c, "control", None) is None and c.pass_ == base.pass_]
    if getattr(base, "control", None):
        found = f"begins with {base.slug}, a control itself"
    elif not others:
        found = f"has {base.slug} alone"
    elif alike:
        found = f"has {alike[0]}, which sets no `control` and reads the same as {base.slug}"
    else:
        return
    needs = "holds its first cohort against controls: cohorts with `control`, or of another pass"
    _refuse(where, kind, sweep, needs, found)


CHECKS = {
    "values": _check_values,
    "layers": _check_layers,
    "names": _check_names,
    "randomness": _check_randomness,
    "architectures": _check_architectures,
    "controls": _check_controls,
}
"""The checks that a kind of figure may name, each called with (where, kind, sweep, its cohorts)."""
