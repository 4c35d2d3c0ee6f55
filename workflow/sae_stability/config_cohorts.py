"""From settings to cohorts: finding the pass, filling in what follows from it, expanding sweeps."""

import itertools
import re

from sae_stability import config_schema
from sae_stability.config_schema import look_up
from sae_stability.config_seeds import joined, seeds_of
from sae_stability.errors import StudyError
from sae_stability.study import Cohort, GivenCohort, Member, Pass, Sweep, same_training


def cohort_of(slug: str, given: dict, passes: dict, where: str, near: Pass | None = None) -> Cohort:
    """A cohort from filled settings; `near` is the pass to prefer where several hold the hookpoint."""
    for key in ("n_latents", "k"):
        if key not in given:
            raise StudyError(f"{where}.{key}: missing; give it here or under cohort_defaults")
    pass_ = pass_of(given, passes, where, near)
    own = {
        "hookpoint": given["hookpoint"] or pass_.hookpoints[0],
        "tokens": given["tokens"] or pass_.train_rows * given["epochs"],
        **seeds_of(given, where),
    }
    settings = {key: value for key, value in given.items() if key not in ("pass", "order_seed")}
    return Cohort(slug=slug, pass_=pass_, **{**settings, **own})


def pass_of(given: dict, passes: dict, where: str, near: Pass | None) -> Pass:
    """The pass that holds a cohort's hookpoint."""
    hookpoint = given["hookpoint"]
    if given["pass"] is not None:
        pass_ = look_up(f"{where}.pass", given["pass"], passes)
        if hookpoint is not None and hookpoint not in pass_.hookpoints:
            what = f"not in pass {pass_.slug}"
            config_schema.fail_unknown(f"{where}.hookpoint: {hookpoint}", hookpoint, pass_.hookpoints, what)
        found = [pass_]
    elif hookpoint is None:
        found = list(passes.values())
    else:
        found = [p for p in passes.values() if hookpoint in p.hookpoints]
    if not found:
        known = dict.fromkeys(name for p in passes.values() for name in p.hookpoints)
        config_schema.fail_unknown(f"{where}.hookpoint: {hookpoint}", hookpoint, known, "in no pass")
    if near and len(found) > 1:
        found = [p for p in found if p == near] or [p for p in found if p.tokens == near.tokens] or found
    if len(found) > 1:
        names = ", ".join(p.slug for p in found)
        raise StudyError(f"{where}.pass: missing, and several passes would do ({names}); name one")
    if hookpoint is None and len(found[0].hookpoints) > 1:
        names = ", ".join(found[0].hookpoints)
        raise StudyError(f"{where}.hookpoint: missing, and pass {found[0].slug} has several ({names}); name one")
    return found[0]


def trained(cohorts: dict[str, Cohort | GivenCohort]) -> dict[str, Cohort]:
    """Those of the cohorts that are trained here."""
    return {slug: cohort for slug, cohort in cohorts.items() if isinstance(cohort, Cohort)}


def add_sweep(slug: str, given: dict, configs: dict, passes: dict, cohorts: dict[str, Cohort | GivenCohort]) -> Sweep:
    """A sweep; the cohorts that it adds go into `cohorts`."""
    if "cohorts" in given:
        for label, name in given["cohorts"].items():
            look_up(f"sweeps.{slug}.cohorts.{label}", name, configs)
            if list(given["cohorts"].values()).count(name) > 1:
                raise StudyError(f"sweeps.{slug}.cohorts.{label}: {name} is there twice, and would be counted twice")
        members = tuple(Member(name, {"cohort": str(label)}) for label, name in given["cohorts"].items())
        return Sweep(slug, None, (), members)
    base = look_up(f"sweeps.{slug}.cohort", given["cohort"], configs)
    if "saes" in base:
        raise StudyError(
            f"sweeps.{slug}.cohort: {given['cohort']} is of given SAEs, which cannot be varied; use cohorts:"
        )
    varied = {field: _varied(f"sweeps.{slug}.vary.{field}", field, values) for field, values in given["vary"].items()}
    seeds = {key: given[key] or base[key] for key in ("init_seeds", "order_seeds")}
    if "order_seed" in varied and seeds["order_seeds"]:
        raise StudyError(f"sweeps.{slug}.vary.order_seed: cannot be varied where there are order_seeds")
    members = []
    for combination in itertools.product(*(values.items() for values in varied.values())):
        labels = dict(zip(varied, (label for label, _ in combination), strict=True))
        values = dict(zip(varied, (value for _, value in combination), strict=True))
        settings = {**base, **values, **seeds}
        if "hookpoint" in values:
            settings["pass"] = None
        name = _name(slug, labels)
        cohort = cohort_of(name, settings, passes, f"sweeps.{slug}", near=cohorts[given["cohort"]].pass_)
        members.append(Member(_add(cohort, cohorts, f"sweeps.{slug}"), labels))
    return Sweep(slug, given["cohort"], tuple(varied), tuple(members))


def _varied(where: str, field: str, values: list | dict) -> dict[str, object]:
    """Label -> value of one varied setting, each value checked like the setting itself."""
    properties = config_schema.definition("cohort")["properties"]
    unvaried = {"pass", "init_seeds", "order_seeds", "seeds_per_job", "tensorboard"}
    known = [name for name in properties if name not in unvaried]
    if field not in known:
        config_schema.fail_unknown(where, field, known, "cannot be varied")
    if isinstance(values, dict):
        return {str(k): config_schema.check(v, properties[field], f"{where}.{k}") for k, v in values.items()}
    checked = [config_schema.check(v, properties[field], f"{where}[{i}]") for i, v in enumerate(values)]
    labels = [
        _short(value) if field == "tokens" else f"{value:g}" if isinstance(value, float) else str(value)
        for value in checked
    ]
    return dict(zip(labels, checked, strict=True))


def _add(cohort: Cohort, cohorts: dict[str, Cohort | GivenCohort], where: str) -> str:
    """Add a sweep's cohort and return its name; one that trains the same already is used instead, with these seeds too.

    A declared cohort keeps its own seeds if it has at least these.
    """
    for name, other in trained(cohorts).items():
        if same_training(cohort, other):
            cohorts[name] = joined(other, cohort, where)
            return name
    if cohort.slug in cohorts:
        raise StudyError(f"{where}: makes a cohort called {cohort.slug}, and there is another; rename one of the two")
    cohorts[cohort.slug] = cohort
    return cohort.slug


def _short(tokens: int) -> str:
    """A token count in a few characters: 600k, 1.2M, 8B."""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= unit:
            return f"{tokens / unit:g}{name}"
    return str(tokens)


def _name(sweep: str, labels: dict[str, str]) -> str:
    """Name of a sweep's cohort: size-768; a label that starts with the sweep's name does not repeat it: layer-3."""
    name = "-".join(map(_slugify, labels.values()))
    return name if name.startswith(f"{sweep}-") else f"{sweep}-{name}"


def _slugify(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
