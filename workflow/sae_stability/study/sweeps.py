"""Sweeps: from varied settings to the cohorts that have them."""

import itertools
import re
import unicodedata

from sae_stability.errors import StudyError
from sae_stability.fingerprint import key
from sae_stability.study import schema
from sae_stability.study.cohort_seeds import with_seeds_of
from sae_stability.study.cohorts import cohort_of, trained
from sae_stability.study.counts import check_points
from sae_stability.study.parts import Cohort, ExternalCohort, Pass, Point, Sweep, without_seeds
from sae_stability.study.schema import look_up

Cohorts = dict[str, Cohort | ExternalCohort]


def add_sweep(slug: str, given: dict, configs: dict[str, dict], passes: dict[str, Pass], cohorts: Cohorts) -> Sweep:
    """A sweep from settings with defaults filled in; the cohorts that it adds go into `cohorts`.

    Args:
        slug: the sweep's name.
        given: its settings.
        configs: the settings of the declared cohorts.
        passes: the study's passes.
        cohorts: the cohorts so far; changed in place.

    Raises:
        StudyError: a cohort or a setting that does not exist, a value that cannot be, or a name that is taken.
    """
    if "cohorts" in given:
        return _group(slug, given["cohorts"], configs)
    where = f"sweeps.{slug}"
    base = look_up(f"{where}.cohort", given["cohort"], configs)
    if "saes" in base:
        raise StudyError(
            f"{where}.cohort: the SAEs of {given['cohort']} were made elsewhere, so their settings cannot be varied; "
            "compare cohorts with cohorts:"
        )
    varied = {field: _varied(f"{where}.vary.{field}", field, values) for field, values in given["vary"].items()}
    seeds = {key: given[key] or base[key] for key in ("init_seeds", "order_seeds")}
    if "order_seed" in varied and seeds["order_seeds"]:
        raise StudyError(f"{where}.vary.order_seed: cannot be varied where there are order_seeds")
    check_points(where, {field: len(values) for field, values in varied.items()})
    known = {without_seeds(cohort): name for name, cohort in trained(cohorts).items()}
    points = []
    for combination in itertools.product(*(values.items() for values in varied.values())):
        labels = dict(zip(varied, (label for label, _ in combination), strict=True))
        values = dict(zip(varied, (value for _, value in combination), strict=True))
        settings = {**base, **values, **seeds}
        if "hookpoint" in values:
            settings["pass"] = None
        cohort = cohort_of(_name(slug, labels), settings, passes, where, preferred=cohorts[given["cohort"]].pass_)
        points.append(Point(_add(cohort, cohorts, known, where), labels))
    return Sweep(slug, given["cohort"], tuple(varied), tuple(points))


def _group(slug: str, given: dict[str, str], configs: dict[str, dict]) -> Sweep:
    """A sweep that compares declared cohorts, label -> cohort."""
    for label, name in given.items():
        look_up(f"sweeps.{slug}.cohorts.{label}", name, configs)
        if list(given.values()).count(name) > 1:
            raise StudyError(f"sweeps.{slug}.cohorts.{label}: {name} is there twice, and would be counted twice")
    return Sweep(slug, None, (), tuple(Point(name, {"cohort": str(label)}) for label, name in given.items()))


def _varied(where: str, field: str, values: list | dict) -> dict[str, object]:
    """Label -> value of one varied setting. Each value is checked like the setting itself."""
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


def _add(cohort: Cohort, cohorts: Cohorts, known: dict[Cohort, str], where: str) -> str:
    """Add a sweep's cohort and return its name. Where one trains the same already, that one gets these seeds too.

    `known` has the name of every trained cohort by what it trains; changed in place, as `cohorts` is.
    """
    training = without_seeds(cohort)
    if name := known.get(training):
        cohorts[name] = with_seeds_of(cohorts[name], cohort, where)
        return name
    if cohort.slug in cohorts:
        raise StudyError(
            f"{where}: makes a cohort called {cohort.slug}, but there is another of that name; rename one of the two"
        )
    cohorts[cohort.slug] = cohort
    known[training] = cohort.slug
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
    """A label as a part of a file name. Where letters are lost that are not Latin, a hash tells the label apart."""
    plain = unicodedata.normalize("NFKD", label.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"[\u0300-\u036f]", "", plain)).strip("-")
    lost = any(character.isalnum() and not character.isascii() for character in plain)
    return "-".join(filter(None, (slug, key(label)[:8]))) if lost or not slug else slug
