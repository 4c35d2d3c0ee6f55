"""The figure `consensus`: FVU of what at least m seeds found, and whether a seed that was left out has it again."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

LABELS = {"consensus": "consensus", "frequent": "most frequent of one seed", "random": "random of one seed"}
HELDOUT = {"members": "its members (below)", "seed": "all of one seed (below)"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Above, FVU by level with the controls; below, the fraction shared with a seed that was left out."""
    picture = styles.figure(style, 4.8)
    above, below = picture.subplots(2, 1, sharex=True)
    colours = dict(zip((*LABELS, *HELDOUT), style["palette"], strict=False))
    handles = []
    for group, label in LABELS.items():
        handles.append(_line(above, _of(table, "curve", group), label, colours[group]))
    for row in _of(table, "curve", "seed").itertuples():
        above.axhline(row.value, linewidth=0.9, linestyle="--", color=styles.NEUTRAL)
        handles.append(styles.mark("whole SAE", color=styles.NEUTRAL, linestyle="--"))
    for group, label in HELDOUT.items():
        handles.append(_line(below, _of(table, "heldout", group), label, colours[group]))
    _line(below, _of(table, "heldout", "consensus"), "consensus", colours["consensus"])
    if len(floor := _of(table, "heldout", "floor")):
        handles.append(_line(below, floor, "random floor (below)", styles.FLOOR))
    levels = sorted(rows_where(table, panel="curve").query("x > 0")["x"].unique())
    below.set(xlabel="seeds that found a latent, at least", ylabel="shared with a seed left out")
    below.set_xticks(levels, [f"{level:.0f}" for level in levels])
    styles.fraction_axis(below.yaxis)
    above.set(ylabel="FVU", ylim=(0, None))
    styles.key(picture, handles, columns=2)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    curve = rows_where(table, panel="curve")
    levels = [_level(curve, m) for m in sorted(curve.query("group == 'consensus'")["x"].unique())]
    whole = _of(table, "curve", "seed")
    sizes = zip(whole["n"], whole["value"], strict=True)
    levels_and_whole = [*levels, *(f"a whole SAE has n = {n:,.0f} and FVU {_number(fvu)}" for n, fvu in sizes)]
    sentences = [
        f"How much is explained by what several seeds of cohort {phrases.escape(table['cohort'].iloc[0])} found: the "
        "consensus SAE of level m has one latent, the mean direction, for each group of mutually shared latents of at "
        "least m seeds.",
        *([f"{'; '.join(levels_and_whole)}."] if levels_and_whole else []),
        "Controls are as many latents of one seed, live ones drawn at random or those that fire most often, on average "
        "over the seeds (band: smallest to largest)"
        + ("; all select equally many a row." if curve.query("x > 0")["k"].notna().any() else ".")
        if levels
        else "No latent is shared by two seeds here, so n = 0 and there is no random control and no live one.",
    ]
    sentences += [*_heldout(table), *_found_in_all(table), *_agreement(table)]
    return " ".join([*sentences, phrases.definition(table["threshold"].iloc[0])])


def _level(curve: pd.DataFrame, m: int) -> str:
    at = curve[curve["x"] == m].set_index("group")
    text = f"m = {m:.0f}: n = {at['n']['consensus']:,.0f} latents, FVU {_number(at['value']['consensus'])}"
    others = [f"{group} {_number(at['value'][group])}" for group in ("random", "frequent") if group in at.index]
    if not pd.isna(at["ce"]["consensus"]):
        others.append(f"cross-entropy {at['ce']['consensus']:.3f} nats")
    return text + (f" ({', '.join(others)})" if others else "")


def _heldout(table: pd.DataFrame) -> list[str]:
    rows = rows_where(table, panel="heldout")
    if rows.query("group == 'consensus'").empty:
        return []
    top = rows.query("group == 'consensus'")["x"].max()
    at = rows[rows["x"] == top].set_index("group")["value"]
    floor = f"; random floor {phrases.percent(at['floor'])}" if "floor" in at else "; no random floor was matched"
    return [
        "Below: each seed was left out once, and the consensus of the others was matched with it (mean, and range over "
        f"the seeds left out). Of what all {top:.0f} others found, {phrases.percent(at['consensus'])} are shared with "
        f"the seed left out, and {phrases.percent(at['members'])} of the members themselves; of all latents of one "
        f"other seed, {phrases.percent(at['seed'])}{floor}."
    ]


def _found_in_all(table: pd.DataFrame) -> list[str]:
    rows = rows_where(table, panel="levels")
    at = rows[rows["x"] == rows["x"].max()].set_index("group")["value"]
    if at.empty:
        return []
    return [
        f"All {rows['x'].max():.0f} seeds found {phrases.percent(at['found'])} of the latents "
        f"({phrases.percent(at['independent'])} if the pairs of seeds were independent)."
    ]


def _agreement(table: pd.DataFrame) -> list[str]:
    values = rows_where(table, panel="triples").set_index("group")["value"]
    if values.isna().all():
        return []
    text = (
        f"Where a latent is shared with one latent in each of two other seeds, these two are shared with each other in "
        f"{phrases.percent(values['closed'])} of cases ({phrases.percent(values['independent'])} if the pairs of seeds "
        f"were independent), and with another latent in {phrases.percent(values['contradicted'])}"
    )
    error = values["error"]
    return [text + ("." if pd.isna(error) else f", as {phrases.percent(error)} of wrong matches would give.")]


def _of(table: pd.DataFrame, panel: str, group: str) -> pd.DataFrame:
    return rows_where(table, panel=panel, group=group)


def _line(axes: Axes, rows: pd.DataFrame, label: str, colour: str):
    """Draw one line with its band; returns the key's entry."""
    rows = rows.sort_values("x")
    axes.plot(rows["x"], rows["value"], color=colour, marker="o", markersize=3)
    axes.fill_between(rows["x"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
    return styles.mark(label, color=colour, marker="o", markersize=3)


def _number(fvu: float) -> str:
    return phrases.NOT_MEASURED if pd.isna(fvu) else f"{fvu:.3f}"
