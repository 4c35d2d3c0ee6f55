"""The figure `sharing`: the fraction of latents found in exactly m of the cohort's n SAEs."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.drawings.seeds import error_bars, spread_words
from sae_stability.figures.published import MODEL, PAPER


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Bars of this run with live-only and floor marks; beside them, on the same scale, the paper's 9 seeds."""
    style = styles.resolve(style)
    colour = style["palette"][0]
    published = phrases.pick(table, source="published")
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 2.8)
        panels = picture.subplots(1, 2 if len(published) else 1, sharey=True, squeeze=False)[0]
        _draw_run(panels[0], table, colour)
        handles = [
            styles.mark("this run", color=colour, linewidth=6, solid_capstyle="butt"),
            styles.mark("this run, live latents only", color="#000000", linestyle="none", **_LIVE_DOT),
            styles.mark("random floor", color=styles.FLOOR, linestyle="none", **_FLOOR_DOT),
        ]
        if len(published):
            panels[1].bar(published["m"], published["mean"], color="#404040", width=0.7)
            _count_axis(panels[1], 9)
            handles.append(styles.mark(f"{MODEL} (joint)", color="#404040", linewidth=6, solid_capstyle="butt"))
        styles.fraction_axis(panels[0].yaxis)
        drawn = table[table["source"].isin(("trained", "published"))]
        limit = min(1.0, 1.2 * (drawn["mean"] + drawn["std"].fillna(0)).max())
        _draw_floor(panels[0], table, limit, style)
        panels[0].set(ylabel="fraction of latents", ylim=(0, limit))
        styles.key(picture, handles)
        return picture


_FLOOR_DOT = {"marker": "_", "markersize": 11, "markeredgewidth": 1.8}
# White inside, to be seen both on a bar and above it.
_LIVE_DOT = {**marks.LIVE_DOT, "markersize": 4.5, "markerfacecolor": "white"}


def _draw_run(axes, table: pd.DataFrame, colour: str) -> None:
    every, live = (phrases.pick(table, source="trained", latents=latents) for latents in ("all", "live"))
    axes.bar(every["m"], every["mean"], color=colour, width=0.7)
    # Side by side, so that the error bar shows beside the diamond.
    error_bars(axes, every.assign(m=every["m"] - 0.17), color="#000000", linestyle="none", zorder=3)
    axes.plot(live["m"] + 0.17, live["mean"], color="#000000", linestyle="none", zorder=4, **_LIVE_DOT)
    _count_axis(axes, int(every["n_seeds"].iloc[0]))


def _draw_floor(axes, table: pd.DataFrame, limit: float, style: dict) -> None:
    """A grey dash a bar; where it lies far above every bar, an arrow at the top with its value."""
    floor = phrases.pick(table, source="floor", latents="all").dropna(subset=["mean"])
    inside, above = floor[floor["mean"] <= limit], floor[floor["mean"] > limit]
    look = {"color": styles.FLOOR, "linestyle": "none", "zorder": 5, "clip_on": False}
    axes.plot(inside["m"], inside["mean"], **look, **_FLOOR_DOT)
    axes.plot(above["m"], [0.975 * limit] * len(above), **look, marker="^", markersize=4)
    for m, mean in zip(above["m"], above["mean"], strict=True):
        axes.annotate(
            phrases.percent(mean),
            (m, 0.975 * limit),
            textcoords="offset points",
            xytext=(5, 0),
            va="center",
            color=styles.FLOOR,
            fontsize=style["font_size"] - 1,
        )


def _count_axis(axes, n_seeds: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"in exactly m of {n_seeds} SAEs", xlim=(0.3, n_seeds + 0.7))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    every, live = (phrases.pick(table, source="trained", latents=latents).set_index("m") for latents in ("all", "live"))
    floor = phrases.pick(table, source="floor", latents="all").set_index("m")
    number = int(every["n_seeds"].iloc[0])
    sentences = [
        f"Of {number} SAEs, {_fraction(every, 1)} of a base's latents are in that one alone and "
        f"{_fraction(every, number)} in all {number} (live latents only: {_fraction(live, 1)} and "
        f"{_fraction(live, number)}; with random dictionaries {_fraction(floor, 1)} and {_fraction(floor, number)}).",
        spread_words(every).replace("bases and combinations", "bases"),
        f"A latent is in another SAE when it is *shared* with it, {phrases.meaning(every['threshold'].iloc[0])}.",
    ]
    published = phrases.pick(table, source="published").set_index("m")
    if len(published):
        sentences.append(
            f"Right: {PAPER}, Pythia-160M, 32,768 latents, *joint*: {_fraction(published, 1)} in one alone, "
            f"{_fraction(published, 9)} in all 9."
        )
    return " ".join(sentences)


def _fraction(rows: pd.DataFrame, m: int) -> str:
    return phrases.percent(rows["mean"].get(m, float("nan")))
