"""Sweeps: from varied settings to cohorts."""

import itertools
import re

from sae_stability.errors import StudyError
from sae_stability.study import schema
from sae_stability.study.cohort_seeds import joined
from sae_stability.study.cohorts import cohort_of, trained
from sae_stability.study.parts import Cohort, GivenCohort, Member, Sweep, same_training
from sae_stability.study.schema import look_up


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
    properties = schema.definition("cohort")["properties"]
    unvaried = {"pass", "init_seeds", "order_seeds", "seeds_per_job", "tensorboard"}
    known = [name for name in properties if name not in unvaried]
    if field not in known:
        schema.fail_unknown(where, field, known, "cannot be varied")
    if isinstance(values, dict):
        return {str(k): schema.check(v, properties[field], f"{where}.{k}") for k, v in values.items()}
    checked = [schema.check(v, properties[field], f"{where}[{i}]") for i, v in enumerate(values)]
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
