"""What the figures over named places (position, randomness) have in common: a row a place, and its caption."""

import re

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles

Statistics = tuple[tuple[str, str], ...]

_FLOOR_DOT = {"marker": "|", "markersize": 9, "markeredgewidth": 1.6}
_TIED_DOT = {"marker": "|", "markersize": 9, "markeredgewidth": 0.7}
# Parts of a row's height: from its middle to each statistic, and from there to all latents and to live ones.
_STATISTIC, _LATENTS = 0.22, 0.11


def draw_rows(
    table: pd.DataFrame, style: dict, names: dict[float, str], statistics: Statistics, published: dict[str, str]
) -> Figure:
    """A row a place, every pair of two statistics a dot, and below them the paper's values.

    Args:
        table: the figure's tidy table.
        style: overrides of `style.DEFAULT`.
        names: place (x) -> its name, the paper's included.
        statistics: two of them, each with its name in the key.
        published: statistic -> the key's words for the paper's series; the second one is drawn hollow.
    """
    style = styles.resolve(style)
    paper = phrases.pick(table, source="published")
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 1.9 + 0.26 * len(names))
        axes = picture.add_subplot()
        handles = []
        tied = False
        for (statistic, label), colour, shift in zip(
            statistics, style["palette"], (-_STATISTIC, _STATISTIC), strict=False
        ):
            _draw_run(axes, phrases.pick(table, statistic=statistic), colour, shift)
            handles += marks.run_key(colour, label)
            if statistic == "same_counterpart":
                tied = _draw_tied(axes, phrases.pick(table, statistic=statistic), shift)
        handles.append(styles.mark("random floor", color=styles.FLOOR, **_FLOOR_DOT))
        if tied:
            handles.append(styles.mark(marks.TIED, color=styles.FLOOR, **_TIED_DOT))
        if len(paper):
            for (statistic, label), face in zip(published.items(), (styles.PUBLISHED, "white"), strict=False):
                look = {"color": styles.PUBLISHED, "markerfacecolor": face, **marks.PUBLISHED_DOT}
                rows = phrases.pick(paper, statistic=statistic)
                axes.plot(rows["fraction"], rows["x"], linestyle="none", **look)
                handles.append(styles.mark(label, **look))
            axes.axhline(paper["x"].min() - 0.5, color=styles.FLOOR, linewidth=0.6)
        axes.set_yticks(list(names), [_wrapped(name) for name in names.values()])
        axes.set_ylim(max(names) + 0.5, min(names) - 0.5)
        styles.fraction_axis(axes.xaxis)
        axes.set(xlabel="fraction of latents")
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        axes.set_axisbelow(True)
        styles.key(picture, [_without_line(handle) for handle in handles])
        return picture


def _draw_run(axes, rows: pd.DataFrame, colour: str, shift: float) -> None:
    floor = phrases.pick(rows, source="floor", latents="all")
    axes.plot(floor["fraction"], floor["x"] + shift, color=styles.FLOOR, linestyle="none", zorder=2, **_FLOOR_DOT)
    for latents, dot, place in (("all", marks.ALL_DOT, shift - _LATENTS), ("live", marks.LIVE_DOT, shift + _LATENTS)):
        pairs = phrases.pick(rows, source="trained", latents=latents)
        axes.plot(pairs["fraction"], pairs["x"] + place, color=colour, linestyle="none", zorder=4, **dot)


def _draw_tied(axes, rows: pd.DataFrame, shift: float) -> bool:
    """See `marks.draw_tied`; whether there is anything to draw."""
    tied = phrases.pick(rows, source="tied", latents="all")
    axes.plot(tied["fraction"], tied["x"] + shift, color=styles.FLOOR, linestyle="none", zorder=2, **_TIED_DOT)
    return len(tied) > 0


def _without_line(handle: Line2D) -> Line2D:
    handle.set_linestyle("none")
    return handle


def _wrapped(name: str) -> str:
    """A name in lines of some 24 characters, broken after spaces, dots and colons (hookpoints have no spaces)."""
    lines = [""]
    for part in re.findall(r"[^\s.:]*[\s.:]*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > 24:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def caption_rows(table: pd.DataFrame, names: dict[float, str], statistic: str, label: str) -> str:
    """The numbers of every row, as parts of a sentence: shared and a second statistic, live latents only, the pairs.

    Args:
        table: the figure's tidy table.
        names: place (x) -> its name, as it is to be read.
        statistic: the second one. label: its name in words.
    """
    trained = phrases.pick(table, source="trained")
    return "; ".join(
        f"{phrases.escape(names[x])} {_mean(rows, 'all', 'shared')} (live latents only "
        f"{_mean(rows, 'live', 'shared')}; {label} {_mean(rows, 'all', statistic)}, live "
        f"{_mean(rows, 'live', statistic)}; {_pairs(rows, statistic, label)})"
        for x, rows in trained.groupby("x")
    )


def _mean(trained: pd.DataFrame, latents: str, statistic: str) -> str:
    return phrases.percent(phrases.pick(trained, latents=latents, statistic=statistic)["fraction"].mean())


def _pairs(trained: pd.DataFrame, statistic: str, label: str) -> str:
    shared, second = (
        phrases.pick(trained, latents="all", statistic=name)["fraction"].dropna() for name in ("shared", statistic)
    )
    if len(shared) < 2:
        return f"n = {phrases.count(len(shared), 'pair')}, no spread"
    return f"n = {len(shared)} pairs, shared {phrases.span(shared)}, {label} {phrases.span(second)}"


def floor_words(table: pd.DataFrame, statistic: str) -> str:
    """The random floor of one statistic as a clause."""
    return phrases.floor(phrases.pick(table, source="floor", latents="all", statistic=statistic)["fraction"])
