"""The figure `meta-depth`: how stable meta-SAEs, meta-SAEs of meta-SAEs and so on are between seeds."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

_FLAT = "flat"
_BESIDE = 0.1  # Flat SAEs are drawn so far right of the depth that they belong to.
_LABELS = {"shared": "shared", "mean_cosine_decoder": "PW-MCC"}
_NAMES = ("SAEs taken apart in turn", "flat SAEs of activations")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair against the depth of its SAEs: above the shared fraction, below PW-MCC."""
    picture = styles.figure(style, 4.6)
    panels = picture.subplots(2, 1, sharex=True)
    for axes, (statistic, label) in zip(panels, _LABELS.items(), strict=True):
        rows = rows_where(table, statistic=statistic)
        for some, colour in zip(_groups(rows), style["palette"], strict=False):
            marks.draw_floor(axes, marks.means(some, source="floor", latents="all"))
            marks.draw_pairs(axes, some, colour)
        axes.set(ylabel=label, ylim=(-0.05, 1.05))
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1].set(xlabel="depth")
    run = rows_where(table, source="trained")
    handles = [
        mark
        for name, rows, colour in zip(_NAMES, _groups(run), style["palette"], strict=False)
        if len(rows)
        for mark in marks.run_key(colour, name)
    ]
    handles.append(marks.floor_key())
    styles.key(picture, handles)
    return picture


def _groups(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of SAEs that are taken apart in turn, and of flat ones beside them, a little to the right."""
    flat = rows["value"].str.startswith(_FLAT)
    return rows[~flat], rows[flat].assign(x=rows["x"] + _BESIDE)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    taken_apart, flat = _groups(table)
    said = [
        f"at depth {depth:g}, {_in_words(rows)}"
        for depth, of_depth in taken_apart.groupby("x")
        for _, rows in of_depth.groupby("cohort", sort=False)
    ]
    others = [
        f"beside depth {depth.removeprefix(_FLAT).strip()}, {_in_words(rows)}"
        for (depth, _), rows in flat.groupby(["value", "cohort"], sort=False)
    ]
    flat_words = f" Flat SAEs, of activations and about as large: {'; '.join(others)}." if others else ""
    return (
        "Are the latents of meta-SAEs more stable than latents, and those of meta-SAEs of meta-SAEs? SAEs of depth 0 "
        f"read activations, those of depth 1 the decoder rows of one of depth 0, and so on. What two seeds share: "
        f"{'; '.join(said)}."
        f"{flat_words} PW-MCC is the mean cosine of matched decoder rows. "
        f"{phrases.definition(table['threshold'].iloc[0])}"
    )


def _in_words(rows: pd.DataFrame) -> str:
    trained = rows_where(rows, source="trained")
    every, live = (rows_where(trained, latents=latents, statistic="shared")["fraction"] for latents in ("all", "live"))
    cosines = rows_where(trained, latents="all", statistic="mean_cosine_decoder")["fraction"]
    return (
        f"{phrases.escape(rows['cohort'].iloc[0])} ({rows['size'].iloc[0]:,.0f} latents, n = "
        f"{phrases.count(len(every), 'pair')}) {phrases.percent_range(every)} shared (live latents "
        f"{phrases.percent_range(live)}; {phrases.floor_of(rows)}), PW-MCC {_range(cosines)} (random "
        f"{_range(rows_where(rows, source='floor', latents='all', statistic='mean_cosine_decoder')['fraction'])})"
    )


def _range(values: pd.Series) -> str:
    values = values.dropna()
    if values.empty:
        return phrases.NOT_MEASURED
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"
