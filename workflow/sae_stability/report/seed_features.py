"""What the abstract says of features that do not depend on the seed: consensus, seeds stitched, and meta-latents.

All numbers are those of the figures' tables. A sentence without its numbers is not there.
"""

from collections.abc import Iterator

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.selection import rows_where
from sae_stability.report.evidence import Evidence


def of_several_seeds(found: Evidence) -> Iterator[str]:
    """What the features that several seeds find explain, and whether a further seed finds them."""
    for figure in found.of_kind("consensus"):
        yield from _consensus(figure.table)
        yield from _left_out(figure.table)


def of_one_seed(found: Evidence) -> Iterator[str]:
    """What the latents of one seed alone bring to another SAE, and whether meta-latents are more stable."""
    for figure in found.of_kind("insertion"):
        yield from _seed_specific(figure.table)
    for figure in found.of_kind("meta"):
        yield from _meta_latents(figure.table)


def _consensus(table: pd.DataFrame) -> Iterator[str]:
    """How much of what an SAE explains do the features of several seeds explain?"""
    curve = rows_where(table, panel="curve").dropna(subset=["value"])
    n_seeds, cohort = rows_where(table, panel="levels")["x"].max(), phrases.escape(table["cohort"].iloc[0])
    whole, consensus = (rows_where(curve, group=group).sort_values("x") for group in ("seed", "consensus"))
    if rows_where(table, panel="curve", group="consensus").empty:
        yield f"No latent is shared by two seeds of {cohort}, so there is no consensus of seeds."
    if whole.empty or consensus.empty or whole["value"].iloc[0] >= 1:
        return
    explained = 1 - whole["value"].iloc[0]
    for level in consensus.iloc[sorted({0, len(consensus) - 1}, reverse=True)].itertuples():
        by = "all" if level.x == n_seeds else "at least"
        text = (
            f"What {by} {level.x:.0f} seeds of {cohort} found ({phrases.count(int(level.n), 'latent')}, "
            f"L0 {level.l0:.1f}) explains {phrases.percent(1 - level.value)} of the variance of held-out activations, "
            f"a whole SAE (L0 {whole['l0'].iloc[0]:.1f}) {phrases.percent(explained)}: "
            f"**{phrases.percent((1 - level.value) / explained)} of what an SAE explains**"
        )
        yield text + _controls(rows_where(curve, x=level.x)) + "."


def _controls(level: pd.DataFrame) -> str:
    """What as many latents of one seed explain, as a clause."""
    words = {"random": "drawn at random", "frequent": "those that fire most often"}
    rows = [row for row in level.itertuples() if row.group in words]
    told = " and ".join(f"{phrases.percent(1 - row.value)} ({words[row.group]})" for row in rows)
    return f"; as many latents of one seed explain {told}" if told else ""


def _left_out(table: pd.DataFrame) -> Iterator[str]:
    """Is the consensus found again in a seed that had no part in it?"""
    rows = rows_where(table, panel="heldout").dropna(subset=["value"])
    levels = rows_where(rows, group="consensus")["x"]
    if levels.empty:
        return
    at = rows_where(rows, x=levels.max()).set_index("group")["value"]
    floor = f" (random floor {phrases.percent(at['floor'])})" if "floor" in at else ""
    yield (
        f"Of what {levels.max():.0f} seeds of {phrases.escape(table['cohort'].iloc[0])} found, "
        f"{phrases.percent(at['consensus'])} are shared with a seed that had no part in it; of all latents "
        f"of one seed, {phrases.percent(at['seed'])}{floor}."
    )


def _seed_specific(table: pd.DataFrame) -> Iterator[str]:
    """Are latents that only one seed finds novel or redundant in the SAE of another?"""
    latents = rows_where(table, source="trained", panel="latent").dropna(subset=["value"])
    for _, pair in latents[latents["shared"] != ""].groupby("pair"):
        unshared, shared = (rows_where(pair, shared=name) for name in ("unshared", "shared"))
        if unshared.empty:
            continue
        small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
        useful, novel = (unshared["value"] < 0).mean(), (unshared["kind"] == "novel").mean()
        lower = phrases.percent((shared["value"] < 0).mean()) if len(shared) else None
        also = f" (of {len(shared):,} shared ones, {lower})" if lower else ""
        yield (
            f"Of {phrases.count(len(unshared), 'firing latent')} of {large} that {small} does not share, "
            f"{phrases.percent(novel)} have no decoder cosine of {pair['threshold'].iloc[0]:g} or more there, and "
            f"{phrases.percent(useful)} lower its error when each alone is added to it{also}: what only one of the two "
            f"finds is {verdict(useful)}."
        )


def verdict(useful: float) -> str:
    """What it means that a part `useful` of some latents lower the error of another SAE when added alone."""
    if useful == 0.5:
        return "new information as often as redundant"
    return "mostly new information" if useful > 0.5 else "mostly redundant"


def _meta_latents(table: pd.DataFrame) -> Iterator[str]:
    """Are meta-latents more stable than latents?"""
    stability = rows_where(table, panel="stability").dropna(subset=["value"])
    run = rows_where(stability, source="trained")
    of_meta = rows_where(run, group=table["cohort"].iloc[0])
    others = run[run["group"] != table["cohort"].iloc[0]]
    if of_meta.empty or others.empty:
        return
    told = [
        f"of the latents of {phrases.escape(name)} {_all_and_live(rows)}"
        for name, rows in others.groupby("group", sort=False)
    ]
    floors = rows_where(stability, source="floor", detail="all")["value"]
    chance = f" (random floors {phrases.percent_range(floors)})" if len(floors) else ""
    yield (
        f"Meta-latents are {_compared(of_meta, others)}: {_all_and_live(of_meta)} of them are shared between seeds, "
        f"{', '.join(told)}{chance}."
    )


def _all_and_live(rows: pd.DataFrame) -> str:
    every, live = (rows_where(rows, detail=latents)["value"] for latents in ("all", "live"))
    return phrases.percent(every.mean()) + (f" (live {phrases.percent(live.mean())})" if len(live) else "")


def _compared(of_meta: pd.DataFrame, others: pd.DataFrame) -> str:
    """More or less stable: only if every pair says so, beside every other cohort, all latents and live ones."""
    signs = set()
    for (_, latents), rows in others.groupby(["group", "detail"]):
        values, meta = rows["value"], rows_where(of_meta, detail=latents)["value"]
        if len(meta):
            signs.add(int(meta.min() > values.max()) - int(meta.max() < values.min()))
    if signs == {1}:
        return "more stable than latents"
    if signs == {-1}:
        return "less stable than latents"
    return "neither clearly more nor clearly less stable than latents"
