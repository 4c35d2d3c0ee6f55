"""The figure `controls`: shared fraction, FVU and scores of a cohort beside those of its controls."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sae_stability.figures import control_words, phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

_TICK = {"marker": "|", "markersize": 8, "markeredgewidth": 1.6}
# Height of a row that the scorers share, as a part of the distance between rows.
_SPAN = 0.6
_SHAPES = "Ds^v"


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A panel for each number, a row for each cohort, the base on top: every pair or SAE as a dot."""
    names = {x: str(value) for x, value in zip(table["x"], table["value"], strict=True)}
    scores = rows_where(table, statistic="balanced_accuracy")
    panels = [_draw_shared, _draw_fvu, *([_draw_scores] if len(scores) else [])]
    picture = styles.figure(style, 0.7 + len(panels) * (0.55 + 0.17 * len(names)) + 0.14 * scores["scorer"].nunique())
    handles = []
    for panel, axes in zip(panels, picture.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
        handles += panel(axes, table, style)
        axes.set_yticks(list(names), list(names.values()))
        axes.set_ylim(max(names) + 0.6, min(names) - 0.6)
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        axes.set_axisbelow(True)
    styles.key(picture, handles)
    return picture


def _draw_shared(axes: Axes, table: pd.DataFrame, style: dict) -> list[Line2D]:
    rows, colour = rows_where(table, statistic="shared"), style["palette"][0]
    floor = rows_where(rows, source="floor", latents="all")
    axes.plot(floor["fraction"], floor["x"], color=styles.FLOOR, linestyle="none", zorder=2, **_TICK)
    for latents, dot, shift in (("all", marks.ALL_DOT, -0.14), ("live", marks.LIVE_DOT, 0.14)):
        pairs = rows_where(rows, source="trained", latents=latents)
        axes.plot(pairs["fraction"], pairs["x"] + shift, color=colour, linestyle="none", zorder=4, **dot)
    styles.fraction_axis(axes.xaxis)
    axes.set(xlabel="shared fraction of latents")
    return [
        styles.mark("all latents, each pair or SAE", color=styles.NEUTRAL, linestyle="none", **marks.ALL_DOT),
        styles.mark("live latents only", color=styles.NEUTRAL, linestyle="none", **marks.LIVE_DOT),
        styles.mark("random floor; shuffled explanations", color=styles.FLOOR, linestyle="none", **_TICK),
    ]


def _draw_fvu(axes: Axes, table: pd.DataFrame, style: dict) -> list[Line2D]:
    rows = rows_where(table, statistic="fvu")
    axes.plot(rows["fraction"], rows["x"], color=style["palette"][0], linestyle="none", zorder=4, **marks.ALL_DOT)
    axes.set(xlabel="FVU on held-out rows")
    axes.set_xlim(left=0)
    return []


def _draw_scores(axes: Axes, table: pd.DataFrame, style: dict) -> list[Line2D]:
    rows = rows_where(table, statistic="balanced_accuracy")
    scorers = list(dict.fromkeys(rows["scorer"]))
    looks = {scorer: _look(place, style["palette"]) for place, scorer in enumerate(scorers)}
    for place, scorer in enumerate(scorers):
        shift = _SPAN * ((place + 0.5) / len(scorers) - 0.5)
        some = rows_where(rows, scorer=scorer)
        chance, own = rows_where(some, source="shuffled"), rows_where(some, source="trained")
        axes.plot(chance["fraction"], chance["x"] + shift, color=styles.FLOOR, linestyle="none", zorder=2, **_TICK)
        axes.plot(own["fraction"], own["x"] + shift, zorder=4, **looks[scorer])
    axes.axvline(0.5, zorder=1, linewidth=0.8, **marks.THRESHOLD_LINE)
    axes.set(xlabel="balanced accuracy (dashed: chance)")
    return [styles.mark(f"score {scorer}", **look) for scorer, look in looks.items()]


def _look(place: int, palette: list[str]) -> dict:
    """Colour and shape of a scorer's dots: hollow, since scored latents are live; other shapes once colours run out."""
    colour, shape = palette[place % len(palette)], _SHAPES[place // len(palette) % len(_SHAPES)]
    return {**marks.LIVE_DOT, "color": colour, "marker": shape, "linestyle": "none"}


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    scored = rows_where(table, statistic="balanced_accuracy", source="trained")
    shuffled = rows_where(table, statistic="balanced_accuracy", source="shuffled")["fraction"]
    sentences = [
        f"{'; '.join(control_words.verdicts(table))}.",
        f"For *shared*, {phrases.floor_of(table)}; n counts pairs for sharing, and SAEs for FVU and scores.",
        phrases.definition(table["threshold"].iloc[0]),
        control_words.BY_CONSTRUCTION,
    ]
    if len(scored):
        sentences.append(
            f"Scores are means over {phrases.count_range(scored['n'])} live latents of an SAE; explanations of other "
            f"latents score {phrases.percent_range(shuffled)}."
        )
    return " ".join(sentences)
