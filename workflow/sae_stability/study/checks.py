"""Checks that no schema can make: settings that are right by themselves, but cannot work together."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.training.limits import combination_fault
from sae_stability.study.parts import Cohort, ExternalCohort, Pass, TokenSet, without_seeds


def check_results(folder: str) -> None:
    """The results folder stands in patterns of Snakemake and on command lines, where some characters mean else."""
    taken = [character for character in folder if character in "{}<>$" or not character.isprintable()]
    if taken or folder.startswith("-"):
        reason = f"Snakemake reads {taken[0]!r} as its own sign" if taken else "it begins with a dash, as a flag does"
        raise StudyError(f"results: {folder!r} cannot be used: {reason}; name another folder")


def check_place(*folders: Path) -> None:
    """The folders of the project and the study stand in paths that Snakemake formats, where braces mean wildcards."""
    for folder in folders:
        if set(str(folder)) & set("{}"):
            raise StudyError(f"{folder}: Snakemake cannot run in a folder with braces in its path; rename or move it")


def check_chunks(where: str, unit: str, train: int, chunk: int) -> None:
    """Chunks must be of equal size, so that the names of their files are known beforehand."""
    if chunk > train:
        raise StudyError(f"{where}.chunk_{unit}: {chunk:,} is more than train_{unit} ({train:,})")
    if train % chunk:
        whole = train // chunk
        made = "1 whole chunk" if whole == 1 else f"{whole} whole chunks"
        raise StudyError(
            f"{where}.chunk_{unit}: {chunk:,} does not divide train_{unit} ({train:,}); "
            f"{train - train % chunk:,} {unit} would make {made}"
        )


def check_weights(where: str, given: dict) -> None:
    """A seed is that of random weights, and these have no checksum."""
    if given["weights"] == "trained" and given["seed"] is not None:
        raise StudyError(f"{where}.seed: trained weights have none; leave it out, or write `weights: random` beside it")
    if given["weights"] == "random" and given["sha256"] is not None:
        raise StudyError(f"{where}.sha256: random weights come from no file; leave it out")


def check_context(tokens: TokenSet) -> None:
    """A block must fit into the model's positions."""
    limit = tokens.model.max_positions
    if limit is not None and tokens.context_length > limit:
        raise StudyError(
            f"tokens.{tokens.slug}.context_length: {tokens.context_length:,}, "
            f"but model {tokens.model.slug} has {limit:,} positions; lower it, "
            f"or state models.{tokens.model.slug}.max_positions if the model takes more"
        )


def check_hook_slugs(pass_: Pass) -> None:
    """Two hookpoints of a pass must not share a folder."""
    if len(pass_.hook_slugs) < len(pass_.hookpoints):
        twins = [name for name in pass_.hookpoints if name not in pass_.hook_slugs.values()]
        raise StudyError(f"passes.{pass_.slug}.hookpoints: {twins[0]} and another need the same folder; use two passes")


def matrix_width(where: str, given: dict, rows: int | None, columns: int | None) -> int:
    """Columns of a matrix, from its header or from `d_model`. The two must agree, and there must be enough rows."""
    wanted = given["heldout_rows"] + given["train_rows"]
    if rows is not None and wanted > rows:
        raise StudyError(f"{where}: heldout_rows + train_rows = {wanted:,}, but {given['matrix']} has {rows:,} rows")
    if columns is None and given["d_model"] is None:
        raise StudyError(f"{where}.d_model: missing; write the number of columns of {given['matrix']}")
    if None not in (columns, given["d_model"]) and columns != given["d_model"]:
        raise StudyError(f"{where}.d_model: {given['d_model']:,}, but {given['matrix']} has {columns:,} columns")
    return columns or given["d_model"]


def check_distinct(cohorts: dict[str, Cohort]) -> None:
    """Two declared cohorts must not train the same SAEs: everything would be trained twice."""
    first: dict[Cohort, str] = {}
    for name, cohort in cohorts.items():
        other = first.setdefault(without_seeds(cohort), name)
        if other != name:
            raise StudyError(f"cohorts.{name}: trains the same as cohorts.{other}; keep one, with all seeds")


def check_several(where: str, cohort: Cohort | ExternalCohort, why: str) -> None:
    """What compares SAEs of a cohort needs two of them; `why` says what that is."""
    if len(cohort.seeds) < 2:
        raise StudyError(
            f"{where}: cohort {cohort.slug} has a single SAE, but {why}; give it a second SAE, or use it only in "
            "stitches, in decoder_of and in meta.directions"
        )


def check_compared(cohorts: dict[str, Cohort | ExternalCohort]) -> None:
    """A study's report is about SAEs compared with each other."""
    if all(len(cohort.seeds) < 2 for cohort in cohorts.values()):
        raise StudyError("cohorts: each has a single SAE, but a study compares SAEs; give one of them at least two")


def check_cohort(cohort: Cohort) -> None:
    """A cohort must be trainable on what its pass provides, and its hyper-parameters must go together."""
    where = f"cohorts.{cohort.slug}"
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
    if fault := combination_fault(cohort.training):
        raise StudyError(f"{where}.{fault}")
