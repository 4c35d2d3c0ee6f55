"""The figure `sharing`: the fraction of latents found in exactly m of the cohort's n SAEs."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, seed_counts
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import MODEL, PAPER
from sae_stability.figures.selection import all_and_live, rows_where

_FLOOR_DOT = {"marker": "_", "markersize": 11, "markeredgewidth": 1.8}
# White inside, to be seen both on a bar and above it.
_LIVE_DOT = {**marks.LIVE_DOT, "markersize": 4.5, "markerfacecolor": "white"}
_BAR_KEY = {"linewidth": 6, "solid_capstyle": "butt"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Bars of this run with marks for live latents and the floor; beside them, on the same scale, the paper's bars."""
    colour = style["palette"][0]
    published = rows_where(table, source="published")
    picture = styles.figure(style, 2.8)
    panels = picture.subplots(1, 2 if len(published) else 1, sharey=True, squeeze=False)[0]
    _draw_run(panels[0], table, colour)
    handles = [
        styles.mark("this run", color=colour, **_BAR_KEY),
        styles.mark("this run, live latents only", color="#000000", linestyle="none", **_LIVE_DOT),
        styles.mark("random floor", color=styles.FLOOR, linestyle="none", **_FLOOR_DOT),
    ]
    if len(published):
        panels[1].bar(published["m"], published["mean"], color=styles.NEUTRAL, width=0.7)
        _count_axis(panels[1], int(published["n_seeds"].iloc[0]))
        handles.append(styles.mark(f"{MODEL} (joint)", color=styles.NEUTRAL, **_BAR_KEY))
    styles.fraction_axis(panels[0].yaxis)
    drawn = table[table["source"].isin(("trained", "published"))]
    limit = min(1.0, 1.2 * (drawn["mean"] + drawn["std"].fillna(0)).max())
    _draw_floor(panels[0], table, limit, style)
    panels[0].set(ylabel="latents in exactly m SAEs", ylim=(0, limit))
    styles.key(picture, handles)
    return picture


def _draw_run(axes: Axes, table: pd.DataFrame, colour: str) -> None:
    every, live = all_and_live(table)
    axes.bar(every["m"], every["mean"], color=colour, width=0.7)
    # Side by side, so that the error bar shows beside the diamond.
    seed_counts.error_bars(axes, every.assign(m=every["m"] - 0.17), color="#000000", linestyle="none", zorder=3)
    axes.plot(live["m"] + 0.17, live["mean"], color="#000000", linestyle="none", zorder=4, **_LIVE_DOT)
    _count_axis(axes, int(every["n_seeds"].iloc[0]))


def _draw_floor(axes: Axes, table: pd.DataFrame, limit: float, style: dict) -> None:
    """A grey dash for each bar; where it lies far above every bar, an arrow at the top with its value."""
    floor = rows_where(table, source="floor", latents="all").dropna(subset=["mean"])
    inside, above = floor[floor["mean"] <= limit], floor[floor["mean"] > limit]
    look = {"color": styles.FLOOR, "linestyle": "none", "zorder": 5, "clip_on": False}
    axes.plot(inside["m"], inside["mean"], **look, **_FLOOR_DOT)
    axes.plot(above["m"], [0.975 * limit] * len(above), **look, marker="^", markersize=4)
    for m, mean in zip(above["m"], above["mean"], strict=True):
        styles.label_beside(axes, phrases.percent(mean), (m, 0.975 * limit), style, styles.FLOOR, points=5)


def _count_axis(axes: Axes, n_seeds: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"m of {n_seeds} SAEs", xlim=(0.3, n_seeds + 0.7))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    every, live = (rows.set_index("m") for rows in all_and_live(table))
    floor = rows_where(table, source="floor", latents="all").set_index("m")
    number = int(every["n_seeds"].iloc[0])
    sentences = [
        f"Of a base SAE's latents, {_fraction(every, 1)} are found in that SAE alone and {_fraction(every, number)} in "
        f"all {number} SAEs (live latents only: {_fraction(live, 1)} and {_fraction(live, number)}; with random "
        f"dictionaries {_fraction(floor, 1)} and {_fraction(floor, number)}).",
        f"{seed_counts.bars_in_words(every, 'base SAEs')}.",
        "A latent is found in another SAE when it is *shared* with it, that is, "
        f"{phrases.shared_condition(every['threshold'].iloc[0])}.",
    ]
    published = rows_where(table, source="published").set_index("m")
    if len(published):
        sentences.append(
            f"Right: {PAPER}, Pythia-160M, 32,768 latents, *joint*: {_fraction(published, 1)} in one alone, "
            f"{_fraction(published, 9)} in all 9."
        )
    return " ".join(sentences)


def _fraction(rows: pd.DataFrame, m: int) -> str:
    return phrases.percent(rows["mean"].get(m, float("nan")))
