"""The figure `seeds`: the fraction of latents found only in the base SAE against the number of SAEs."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, seed_counts
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import all_and_live, rows_where

# Form of the power law -> its name, what is taken from k, and its line.
FORMS = {
    "k": ("a k^-b + c", 0, {"linestyle": "-"}),
    "k_minus_1": ("a (k-1)^-b + c", 1, {"linestyle": "--"}),
}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Mean and standard deviation at every number of SAEs, and the paper's Figure 2."""
    colour = style["palette"][0]
    picture = styles.figure(style, 2.9)
    axes = picture.add_subplot()
    floor = rows_where(table, source="floor", latents="all").dropna(subset=["mean"])
    marks.draw_floor_line(axes, floor["m"], floor["mean"], linewidth=1.6)
    every, live = all_and_live(table)
    left, right = (marks.shifted(axes, points) for points in (-marks.APART, marks.APART))
    filled = {"linewidth": 1.2, "zorder": 4, **marks.ALL_DOT}
    hollow = {"zorder": 3, **marks.LIVE_LINE, **marks.LIVE_DOT}
    seed_counts.error_bars(axes, every, color=colour, transform=left, **filled)
    seed_counts.error_bars(axes, live, color=colour, transform=right, **hollow)
    handles = [*marks.run_key(colour, "only in the base SAE"), marks.floor_key()]
    published = rows_where(table, source="published")
    if len(published):
        look = {"color": styles.PUBLISHED, "zorder": 2, **marks.PUBLISHED_LINE, **marks.PUBLISHED_DOT}
        seed_counts.error_bars(axes, published, **look)
        handles.append(marks.published_key("joint"))
    series = ((every, colour), (published, styles.PUBLISHED))
    if drawn := [_draw_fits(axes, rows, look) for rows, look in series if _fitted(rows)]:
        handles += drawn[0]
    styles.fraction_axis(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=(1.5, table["m"].max() + 0.5))
    axes.set(xlabel="number of SAEs compared", ylabel="fraction of the base's latents")
    styles.key(picture, handles)
    return picture


def _fitted(rows: pd.DataFrame) -> bool:
    return bool(len(rows) and rows[[f"{form}_c" for form in FORMS]].notna().all(axis=None))


def _draw_fits(axes: Axes, rows: pd.DataFrame, colour: str) -> list[Line2D]:
    """Both power laws through the points, with their limits at the right edge; returns their key entries."""
    first = rows.iloc[0]
    k = np.linspace(rows["m"].min(), rows["m"].max(), 60)
    handles = []
    for form, (label, shift, look) in FORMS.items():
        a, b, c = (first[f"{form}_{name}"] for name in "abc")
        look = {"color": colour, "linewidth": 0.8, **look}
        axes.plot(k, a * (k - shift) ** -b + c, zorder=1, **look)
        axes.plot([0.97, 1.0], [c, c], transform=axes.get_yaxis_transform(), clip_on=False, **look)
        handles.append(styles.mark(f"{label} (at the edge: its limit)", **{**look, "color": styles.NEUTRAL}))
    return handles


def _fits_in_words(rows: pd.DataFrame) -> str:
    """The limits of both forms and how well they fit, as a clause."""
    first = rows.iloc[0]
    found = [
        f"{label} gives a limit of {phrases.percent(first[f'{form}_c'])} (b = {first[f'{form}_b']:.2f}, error "
        f"{100 * first[f'{form}_rmse']:.2f} points)"
        for form, (label, _, _) in FORMS.items()
    ]
    return " and ".join(found)


def _power_laws(every: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    """Sentences on the power laws: where they lead, that this depends on the form, or why there are none."""
    fitted = {"here": every, "through the paper's values": published}
    said = [f"{where}, {_fits_in_words(rows)}" for where, rows in fitted.items() if _fitted(rows)]
    few = "" if _fitted(every) else f"This run has {phrases.count(len(every), 'point')}, too few for a fit. "
    if not said:
        return [few.strip()] if few else []
    return [
        f"{few}Least-squares power laws: {'; '.join(said)}. Both fit about equally well but lead to other limits, so "
        "the limit is a property of the formula as much as of the SAEs."
    ]


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    every, live = (rows.sort_values("m") for rows in all_and_live(table))
    first, last = every.iloc[0], every.iloc[-1]
    course = f"{phrases.percent(first['mean'])} with {first['m']} SAEs"
    if first["m"] != last["m"]:
        course += f", {phrases.percent(last['mean'])} with all {last['m']}"
    live_means = live.set_index("m")["mean"]
    live_ends = [phrases.percent(live_means.get(m, float("nan"))) for m in (first["m"], last["m"])]
    live_course = " and ".join(dict.fromkeys(live_ends))
    floor = phrases.random_floor(rows_where(table, source="floor", latents="all")["mean"])
    sentences = [
        f"Fraction of a base SAE's latents that none of the other SAEs shares: {course} "
        f"(live latents only: {live_course}; {floor}).",
        f"The cohort has {phrases.count(int(last['n_seeds']), 'seed')}.",
        f"{seed_counts.bars_in_words(every, 'base SAEs and combinations of the others')}; {marks.BESIDE}.",
        phrases.definition(first["threshold"]),
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 2, Pythia-160M, 32,768 latents, 9 seeds; {phrases.PAPER_IS_JOINT}."
        )
    sentences += _power_laws(every, rows_where(table, source="published"))
    return " ".join(sentences)
