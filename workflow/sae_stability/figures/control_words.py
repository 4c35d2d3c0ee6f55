"""What controls leave of the claims about a cohort, in words, from the table of the figure `controls`."""

from typing import NamedTuple

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.selection import rows_where

# Statistic, latents that count, and the claim.
_CLAIMS = (
    ("shared", "all", "Sharing"),
    ("shared", "live", "Sharing among live latents"),
    ("fvu", "all", "Reconstruction (FVU, lower is better)"),
)

BY_CONSTRUCTION = (
    "Rows that are held at random values differ from seed to seed, so a frozen or untrained SAE shares nothing by "
    "construction: of sharing, only a soft-frozen decoder and cohorts of another model or text are tests."
)


def what_is_left(table: pd.DataFrame) -> str:
    """One paragraph: for each claim, which controls do as well as the base."""
    return (
        "**What the controls leave of each claim.** A claim stands only as far as the base does better than every "
        f"control. {'. '.join(verdicts(table))}. {BY_CONSTRUCTION} A control that reconstructs or scores as well as "
        "the base shows that this number does not speak for the learned directions."
    )


def verdicts(table: pd.DataFrame) -> list[str]:
    """For each claim a clause: the base's number, and which controls do as well."""
    found = [_verdict(claim) for claim in _claims(table)]
    return found if any(claim.is_score for claim in _claims(table)) else [*found, "Scores: not measured"]


def beside_controls(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The base and its controls, a row each, with a column for each claim; in bold what does as well as the base.

    Returns:
        The heading, and the rows.
    """
    claims = _claims(table)
    trained = rows_where(table, source="trained").sort_values("x", kind="stable")
    rows = [
        [phrases.escape(cohort), *(_cell(claim, cohort) for claim in claims)]
        for cohort in dict.fromkeys(map(str, trained["value"]))
    ]
    return ["cohort", *(claim.name for claim in claims)], rows


class _Claim(NamedTuple):
    """A claim about a cohort, and what speaks for it: the values of the base and of each control.

    `own` is None where the base was not measured.
    """

    name: str
    is_score: bool
    base: str
    own: pd.DataFrame | None
    controls: dict[str, pd.DataFrame]

    @property
    def as_good(self) -> list[str]:
        """The controls that the base does not exceed beyond the spread."""
        if self.own is None:
            return []
        return [name for name, rows in self.controls.items() if not _all_better(self.own, rows)]


def _claims(table: pd.DataFrame) -> list[_Claim]:
    trained = rows_where(table, source="trained")
    base = str(trained.loc[trained["x"].idxmin(), "value"])
    some = [
        (name, False, rows_where(trained, statistic=statistic, latents=latents)) for statistic, latents, name in _CLAIMS
    ]
    scores = rows_where(trained, statistic="balanced_accuracy")
    for scorer in dict.fromkeys(scores["scorer"]):
        some.append((f"Score {phrases.escape(scorer)} (chance 50%)", True, rows_where(scores, scorer=scorer)))
    found = []
    for name, is_score, rows in some:
        known = rows.dropna(subset=["fraction"])
        groups = {str(value): part for value, part in known.groupby("value", sort=False)}
        found.append(_Claim(name, is_score, base, groups.pop(base, None), groups))
    return found


def _verdict(claim: _Claim) -> str:
    if claim.own is None:
        return f"{claim.name}: not measured in the base"
    own = f"{claim.name}: {phrases.escape(claim.base)} {_mean(claim.own)}"
    if not claim.controls:
        return f"{own}, not measured in any control"
    if not claim.as_good:
        return f"{own}, better than every control"
    return f"{own}, no better than {', '.join(map(phrases.escape, claim.as_good))}"


def _cell(claim: _Claim, cohort: str) -> str:
    rows = claim.own if cohort == claim.base else claim.controls.get(cohort)
    if rows is None:
        return phrases.NOT_MEASURED
    return f"**{_mean(rows)}**" if cohort in claim.as_good else _mean(rows)


def _all_better(own: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Whether every value of the one cohort is better than every value of the other; of FVU, a lower one is."""
    if own["statistic"].iloc[0] == "fvu":
        return own["fraction"].max() < others["fraction"].min()
    return own["fraction"].min() > others["fraction"].max()


def _mean(rows: pd.DataFrame) -> str:
    """Mean, range and number of values."""
    values, number = rows["fraction"], f"n = {len(rows)}"
    form = "{:.3f}".format if rows["statistic"].iloc[0] == "fvu" else phrases.percent
    low, high = form(values.min()), form(values.max())
    return f"{form(values.mean())} ({number})" if low == high else f"{form(values.mean())} ({low} to {high}, {number})"
