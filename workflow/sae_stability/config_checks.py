"""What a schema cannot say: combinations of settings that cannot work, refused in a sentence."""

import re
from collections import Counter

from sae_stability.errors import StudyError
from sae_stability.sae.architectures import OPTIONAL, useless_setting
from sae_stability.study import Cohort, GivenCohort, Pass, Sweep, TokenSet, same_training

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


def check_chunks(where: str, unit: str, train: int, chunk: int) -> None:
    """Chunks must be equal, so that the files of every chunk are known before it is written."""
    if chunk > train:
        raise StudyError(f"{where}.chunk_{unit}: {chunk:,} is more than train_{unit} ({train:,})")
    if train % chunk:
        whole = train // chunk
        made = "1 whole chunk" if whole == 1 else f"{whole} whole chunks"
        raise StudyError(
            f"{where}.chunk_{unit}: {chunk:,} does not divide train_{unit} ({train:,}); "
            f"{train - train % chunk:,} {unit} would make {made}"
        )


def check_context(tokens: TokenSet) -> None:
    """A block must fit the model."""
    limit = tokens.model.max_positions
    if limit is not None and tokens.context_length > limit:
        raise StudyError(
            f"tokens.{tokens.slug}.context_length: {tokens.context_length:,}, "
            f"but model {tokens.model.slug} has {limit:,} positions"
        )


def check_hook_slugs(pass_: Pass) -> None:
    """Two hookpoints of a pass must not share a folder."""
    if len(pass_.hook_slugs) < len(pass_.hookpoints):
        twins = [name for name in pass_.hookpoints if name not in pass_.hook_slugs.values()]
        raise StudyError(f"passes.{pass_.slug}.hookpoints: {twins[0]} needs the folder of another; use two passes")


def matrix_width(where: str, given: dict, rows: int | None, columns: int | None) -> int:
    """Columns of a given matrix, from its header or from d_model; the two must agree, and the rows must suffice."""
    wanted = given["heldout_rows"] + given["train_rows"]
    if rows is not None and wanted > rows:
        raise StudyError(f"{where}: heldout_rows + train_rows = {wanted:,}, but {given['matrix']} has {rows:,} rows")
    if columns is None and given["d_model"] is None:
        raise StudyError(f"{where}.d_model: missing; write the number of columns of {given['matrix']}")
    if None not in (columns, given["d_model"]) and columns != given["d_model"]:
        raise StudyError(f"{where}.d_model: {given['d_model']:,}, but {given['matrix']} has {columns:,} columns")
    return columns or given["d_model"]


def check_distinct(cohorts: dict[str, Cohort]) -> None:
    """Two declared cohorts that train alike are one cohort, and comparing them would train everything twice."""
    names = list(cohorts)
    for i, name in enumerate(names):
        for other in names[:i]:
            if same_training(cohorts[name], cohorts[other]):
                raise StudyError(f"cohorts.{name}: trains the same as cohorts.{other}; keep one, with all seeds")


def check_cohort(cohort: Cohort) -> None:
    """A cohort must be trainable on what its pass provides."""
    where = f"cohorts.{cohort.slug}"
    if cohort.k > cohort.n_latents:
        raise StudyError(f"{where}.k: {cohort.k:,} is more than n_latents ({cohort.n_latents:,})")
    if cohort.groups is not None and cohort.groups > cohort.n_latents:
        raise StudyError(f"{where}.groups: {cohort.groups:,} is more than n_latents ({cohort.n_latents:,})")
    if fault := useless_setting(cohort.architecture, cohort.training):
        raise StudyError(f"{where}.{fault}")
    available = cohort.pass_.train_rows * cohort.epochs
    if cohort.tokens > available:
        raise StudyError(
            f"{where}.tokens: {cohort.tokens:,}, but pass {cohort.pass_.slug} gives {cohort.pass_.train_rows:,} tokens "
            f"x {cohort.epochs} epochs = {available:,}; raise train_tokens or epochs, or ask for less"
        )
    rows = min(cohort.pass_.chunk_rows, cohort.budget.rows)
    if cohort.batch_size > rows:
        raise StudyError(
            f"{where}.batch_size: {cohort.batch_size:,}, but a chunk gives only {rows:,} different activations, and no "
            "batch may hold one twice; lower it, or raise chunk_tokens or tokens"
        )
    if cohort.warmup_steps >= cohort.steps:
        raise StudyError(
            f"{where}.warmup_steps: {cohort.warmup_steps:,}, but {cohort.tokens:,} tokens in batches of "
            f"{cohort.batch_size:,} are only {cohort.steps:,} steps"
        )


def check_swept(where: str, kind: str, sweep: Sweep, cohorts: dict[str, Cohort | GivenCohort]) -> None:
    """A figure over a setting needs a sweep that varies it, or a group of declared cohorts that differ in it.

    Positions go by name, so any group will do for them; layers go by the number in the hookpoint.
    """
    if kind in ("randomness", "architecture"):
        check = _check_randomness if kind == "randomness" else _check_architecture
        check(where, sweep, [cohorts[name] for name in dict.fromkeys(member.cohort for member in sweep.members)])
        return
    field = SWEPT[kind]
    without = [member.cohort for member in sweep.members if getattr(cohorts[member.cohort], field, None) is None]
    if without and kind != "position":
        raise StudyError(
            f"{where}: figure {kind} goes by {field}, which cohort {without[0]} of given SAEs does not state"
        )
    values = list(dict.fromkeys(getattr(cohorts[member.cohort], field) for member in sweep.members))
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


def _check_randomness(where: str, sweep: Sweep, cohorts: list[Cohort | GivenCohort]) -> None:
    """What the init seed and the order seed do can be told from cohorts that are alike in everything else."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, GivenCohort)]
    if sweep.fields:
        found = f"varies {' and '.join(sweep.fields)}"
    elif given:
        found = f"has cohort {given[0]} of given SAEs"
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


def _check_architecture(where: str, sweep: Sweep, cohorts: list[Cohort | GivenCohort]) -> None:
    """Architectures can be compared where the cohorts are alike in all but their own settings and sparsity."""
    given = [cohort.slug for cohort in cohorts if isinstance(cohort, GivenCohort)]
    places = {} if given else {(cohort.architecture, cohort.k): cohort.slug for cohort in cohorts}
    if given:
        found = f"has cohort {given[0]} of given SAEs"
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


def _check_places(where: str, kind: str, sweep: Sweep, cohorts: dict[str, Cohort | GivenCohort]) -> None:
    """Two cohorts at one place would be drawn as one curve, and their mean taken for a result."""
    if kind == "position":
        return  # places are names, and names differ
    taken: dict[tuple, str] = {}
    for name in dict.fromkeys(member.cohort for member in sweep.members):
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
