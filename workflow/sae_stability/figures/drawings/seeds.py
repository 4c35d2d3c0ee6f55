"""The figure `seeds`: the fraction of latents found only in the base SAE against the number of SAEs."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Mean and standard deviation over bases and combinations at every number of SAEs, and the paper's Figure 2."""
    style = styles.resolve(style)
    colour = style["palette"][0]
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 2.9)
        axes = picture.add_subplot()
        floor = phrases.pick(table, source="floor", latents="all").dropna(subset=["mean"])
        marker = "_" if len(floor) == 1 else None
        axes.plot(floor["m"], floor["mean"], color=styles.FLOOR, linewidth=1.6, marker=marker, markersize=12, zorder=1)
        every, live = (phrases.pick(table, source="trained", latents=latents) for latents in ("all", "live"))
        left, right = (marks.shifted(axes, points) for points in (-marks.APART, marks.APART))
        error_bars(axes, every, color=colour, linewidth=1.2, zorder=4, transform=left, **marks.ALL_DOT)
        error_bars(axes, live, color=colour, zorder=3, transform=right, **marks.LIVE_LINE, **marks.LIVE_DOT)
        handles = [*marks.run_key(colour, "only in the base SAE"), marks.floor_key()]
        published = phrases.pick(table, source="published")
        if len(published):
            error_bars(axes, published, color=styles.PUBLISHED, zorder=2, **marks.PUBLISHED_LINE, **marks.PUBLISHED_DOT)
            handles.append(marks.published_key("joint"))
        styles.fraction_axis(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlim=(1.5, table["m"].max() + 0.5))
        axes.set(xlabel="number of SAEs compared", ylabel="fraction of the base's latents")
        styles.key(picture, handles)
        return picture


def error_bars(axes, rows: pd.DataFrame, **look) -> None:
    """Means with their standard deviations; none where there is one pair or no finite value."""
    rows = rows.dropna(subset=["mean"])
    spread = rows["std"].where(rows["n_seeds"] > 2)
    axes.errorbar(rows["m"], rows["mean"], yerr=spread, capsize=2, elinewidth=0.8, **look)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    every, live = (
        phrases.pick(table, source="trained", latents=latents).sort_values("m") for latents in ("all", "live")
    )
    first, last = every.iloc[0], every.iloc[-1]
    number = int(last["n_seeds"])
    course = f"{phrases.percent(first['mean'])} with {first['m']} SAEs"
    if first["m"] != last["m"]:
        course += f", {phrases.percent(last['mean'])} with all {last['m']}"
    ends = [phrases.percent(live.set_index("m")["mean"].get(row["m"], float("nan"))) for row in (first, last)]
    live_course = " and ".join(dict.fromkeys(ends))
    floor = phrases.pick(table, source="floor", latents="all")["mean"]
    sentences = [
        f"Fraction of a base SAE's latents that none of the other SAEs shares: {course} "
        f"(live latents only: {live_course}; {phrases.floor(floor)}).",
        f"{spread_words(every)[:-1]}; {marks.BESIDE}.",
        f"{phrases.definition(first['threshold'])[:-1]}; the cohort has {number} seeds.",
    ]
    if len(phrases.pick(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 2, Pythia-160M, 32,768 latents, 9 seeds; {phrases.PAPER_IS_JOINT}."
        )
    return " ".join(sentences)


def spread_words(rows: pd.DataFrame) -> str:
    """What the error bars are, as a sentence; for two seeds, that there are none."""
    if rows["n_seeds"].iloc[0] <= 2:
        return "There are two SAEs, so n = 1 pair and no spread can be given."
    counts = phrases.counts(rows["n"])
    stds = phrases.span(rows["std"])
    return (
        f"Bars are one standard deviation ({stds}) over bases and combinations, n = {counts} values, not independent."
    )
