"""What controls leave of the claims about a cohort, in words, from the table of the figure `controls`."""

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
    """One paragraph: for each claim, the base beside its controls, and which controls do as well."""
    return (
        "**What the controls leave of each claim.** A claim stands only as far as the base does better than every "
        f"control. {'. '.join(claims(table))}. {BY_CONSTRUCTION} A control that reconstructs or scores as well as the "
        "base shows that this number does not speak for the learned directions."
    )


def claims(table: pd.DataFrame) -> list[str]:
    """For each claim a clause: the base and its controls with their numbers, and which controls do as well."""
    trained = rows_where(table, source="trained")
    base = str(trained.loc[trained["x"].idxmin(), "value"])
    found = [
        _claim(rows_where(trained, statistic=statistic, latents=latents), base, name)
        for statistic, latents, name in _CLAIMS
    ]
    scores = rows_where(trained, statistic="balanced_accuracy")
    for scorer in dict.fromkeys(scores["scorer"]):
        rows = rows_where(scores, scorer=scorer)
        found.append(_claim(rows, base, f"Score {phrases.escape(scorer)} (balanced accuracy, chance 50%)"))
    return found if len(scores) else [*found, "Scores: not measured"]


def _claim(rows: pd.DataFrame, base: str, name: str) -> str:
    """The base's mean and the controls', and which controls the base does not exceed beyond the spread."""
    rows = rows.dropna(subset=["fraction"])
    groups = {str(value): some for value, some in rows.groupby("value", sort=False)}
    own = groups.pop(base, None)
    if own is None:
        return f"{name}: not measured in the base"
    if not groups:
        return f"{name}: not measured in any control"
    told = ", ".join(f"{phrases.escape(value)} {_mean(some)}" for value, some in groups.items())
    as_good = [phrases.escape(value) for value, some in groups.items() if not _all_better(own, some)]
    verdict = f"no better than {', '.join(as_good)}" if as_good else "better than every control"
    return f"{name}: {phrases.escape(base)} {_mean(own)}; {told}: {verdict}"


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
