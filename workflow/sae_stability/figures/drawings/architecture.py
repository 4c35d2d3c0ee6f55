"""The figure `architecture`: shared fraction against FVU and against L0, a line for each architecture."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep, sweep_phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import rows_where

NAMES = {
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "relu": "ReLU + L1",
    "gated": "Gated",
    "jumprelu": "JumpReLU",
}
# What architectures are compared at, a panel each: column -> (name, how its numbers are written).
COMPARED_AT = {"fvu": ("FVU", "{:.3f}"), "l0": ("L0", "{:.1f}")}
_COMMON_VALUE = {"color": styles.FLOOR, "linestyle": (0, (1, 2)), "linewidth": 0.8}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run against FVU (left) and L0 (right), and the paper's Figure 5 (right) at the edge.

    Raises:
        StudyError: more architectures than the palette has colours.
    """
    run = rows_where(table, statistic="shared", matched="")
    trained = rows_where(run, source="trained")
    names = list(dict.fromkeys(trained["value"]))
    colours = styles.colour_of_each(names, style, figure="architecture", noun="architectures")
    picture = styles.figure(style, 3.4)
    panels = dict(zip(COMPARED_AT, picture.subplots(1, 2, sharey=True), strict=True))
    for by, axes in panels.items():
        _draw_panel(axes, run.assign(x=run[by]), colours)
        for value in rows_where(table, matched=by)[by].head(1):
            axes.axvline(value, zorder=0, **_COMMON_VALUE)
    styles.fraction_axis(panels["fvu"].yaxis)
    panels["fvu"].xaxis.set_major_locator(MaxNLocator(3))
    panels["fvu"].margins(x=0.12)  # dots are drawn beside their value
    panels["fvu"].set(xlabel="FVU", ylabel="shared fraction of latents")
    _l0_axis(panels["l0"], trained["l0"], style)
    handles = [styles.mark(_name(value), color=colour, **marks.ALL_DOT) for value, colour in colours.items()]
    handles += [marks.live_key(), styles.mark("compared here", **_COMMON_VALUE), marks.floor_key()]
    published = rows_where(table, source="published")
    if len(published):
        _draw_published(panels["l0"], published, style)
        look = {"color": styles.PUBLISHED, "linestyle": "none", **marks.PUBLISHED_DOT}
        handles.append(styles.mark(f"{published['series'].iloc[0]} (decoder only)", **look))
    styles.key(picture, handles)
    return picture


def _name(architecture: str) -> str:
    return NAMES.get(architecture, architecture)


def _draw_panel(axes: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
    for architecture, colour in colours.items():
        marks.draw_pairs(axes, rows_where(rows, value=architecture), colour)


def _l0_axis(axes: Axes, l0: pd.Series, style: dict) -> None:
    """A logarithmic axis with ticks at whole numbers near the cohorts."""
    sweep.log_axis(axes, sorted({float(max(1, round(value))) for value in l0}), style, part=0.35)
    low, high = axes.get_xlim()
    axes.set(xlim=(min(low, l0.min() / 1.1), max(high, l0.max() * 1.1)), xlabel="L0")


def _draw_published(axes: Axes, published: pd.DataFrame, style: dict) -> None:
    """Squares on the right edge, because neither FVU nor L0 is known, each with its architecture's name."""
    heights = published["fraction"]
    look = {"transform": axes.get_yaxis_transform(), "clip_on": False, "linestyle": "none", **marks.PUBLISHED_DOT}
    axes.plot([1.0] * len(heights), heights, color=styles.PUBLISHED, **look)
    ends = [(row.fraction, f" {_name(row.value)}") for row in published.itertuples()]
    styles.label_ends(axes, ends, style, styles.PUBLISHED)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = rows_where(table, source="trained", statistic="shared")
    # A place is a cohort here: two architectures may have the same FVU.
    placed = trained.assign(x=trained["cohort"].factorize()[0])
    names = {
        x: f"{phrases.escape(_name(value))} with L0 {l0:.1f}"
        for x, value, l0 in zip(placed["x"], placed["value"], placed["l0"], strict=True)
    }
    sentences = [
        f"Shared fraction {_compared(table, 'fvu', 'shared')}; {_compared(table, 'l0', 'shared')}.",
        "These values are read off the lines between an architecture's cohorts, never beyond them; *not reached* means "
        "that its cohorts all lie on one side.",
        f"{sweep_phrases.dots(rows_where(placed, latents='all'), names)}; {phrases.floor_of(table)}; dead latents make "
        f"up {phrases.percent_range(trained['dead_fraction'])} of an SAE.",
        phrases.definition(trained["threshold"].iloc[0]),
        f"By the decoder cosine alone, {_compared(table, 'fvu', 'decoder_only')}; by *joint*, both cosines each in its "
        f"own assignment, {_compared(table, 'fvu', 'joint')}.",
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 right, GPT-2 layer 6 MLP; the paper gives no FVU, and an L0 for TopK "
            "alone (k = 32). They count the decoder cosine alone, for Gated and ReLU + L1 at the encoder's "
            "counterparts, which is a lower bound."
        )
    return " ".join(sentences)


def _compared(table: pd.DataFrame, by: str, statistic: str) -> str:
    """Every architecture at the common value of `by`, as a part of a sentence."""
    rows = rows_where(table, matched=by, statistic=statistic)
    trained = rows_where(table, source="trained")
    name, form = COMPARED_AT[by]
    found = [
        f"{phrases.escape(_name(value))} {_fractions_at(rows_where(rows, value=value), name, form, ends)}"
        for value, ends in ((value, rows_where(trained, value=value)[by]) for value in dict.fromkeys(rows["value"]))
    ]
    return f"at the same {name}, {form.format(rows[by].iloc[0])}: {', '.join(found)}"


def _fractions_at(rows: pd.DataFrame, name: str, form: str, values: pd.Series) -> str:
    """The fractions of one architecture at the common value; where it does not reach that, the range it has.

    Args:
        rows: the architecture's interpolated rows.
        name: what is compared at, in words.
        form: how a number of it is written.
        values: those of the architecture's own cohorts.
    """
    every, live = (rows_where(rows, latents=latents)["fraction"].mean() for latents in ("all", "live"))
    if np.isnan(every):
        ends = " to ".join(dict.fromkeys(form.format(end) for end in (values.min(), values.max())))
        return f"not reached ({name} {ends})"
    return f"{phrases.percent(every)} (live latents only {phrases.percent(live)})"
