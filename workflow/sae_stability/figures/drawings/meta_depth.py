"""The figure `meta-depth`: how stable meta-SAEs, meta-SAEs of meta-SAEs and so on are between seeds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import DEPTHS
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
        for some, colour in zip(_groups(rows_where(rows, series="this run")), style["palette"], strict=False):
            marks.draw_floor(axes, marks.means(some, source="floor", latents="all"))
            marks.draw_pairs(axes, some, colour)
        _draw_published(axes, rows_where(rows, source="published"))
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
    if len(rows_where(table, source="published")):
        look = {"color": styles.PUBLISHED, **marks.PUBLISHED_LINE}
        handles.append(styles.mark(f"{DEPTHS} (PW-MCC)", **look, **marks.PUBLISHED_DOT))
        handles.append(styles.mark(f"{DEPTHS}, flat SAEs, lowest and highest", **look))
    styles.key(picture, handles)
    return picture


def _groups(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of SAEs that are taken apart in turn, and of flat ones beside them, a little to the right."""
    flat = rows["value"].str.startswith(_FLAT)
    return rows[~flat], rows[flat].assign(x=rows["x"] + _BESIDE)


def _draw_published(axes: Axes, rows: pd.DataFrame) -> None:
    of_depth = rows.dropna(subset=["x"])
    if len(of_depth):
        marks.draw_published(axes, of_depth)
    for value in rows.loc[rows["x"].isna(), "fraction"]:
        axes.axhline(value, color=styles.PUBLISHED, zorder=1, **marks.PUBLISHED_LINE)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run, published = (table[(table["source"] == "published") == of_others] for of_others in (False, True))
    taken_apart, flat = _groups(run)
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
        f"{phrases.definition(run['threshold'].iloc[0])}{_published_in_words(published)}"
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


def _published_in_words(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    of_depth, flat = rows.dropna(subset=["x"]), rows.loc[rows["x"].isna(), "fraction"]
    said = ", ".join(f"{row.fraction or 'near 0'} at depth {row.x:g}" for row in of_depth.itertuples())
    return f" Published ({phrases.escape(DEPTHS)}): PW-MCC {said}; flat SAEs {_range(flat)}."
