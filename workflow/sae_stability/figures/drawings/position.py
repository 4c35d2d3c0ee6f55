"""The figure `position`: shared fraction by where in the layer the SAEs read."""

import re

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import words
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER

STATISTICS = (("shared", "shared"), ("decoder_only", "decoder cosine alone"))


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row a position, every pair a dot, and below them the paper's Figure 5 (middle)."""
    style = styles.resolve(style)
    published = words.pick(table, source="published")
    names = _names(table)
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 1.5 + 0.21 * len(names))
        axes = picture.add_subplot()
        handles = []
        for (statistic, label), colour, shift in zip(STATISTICS, style["palette"], (-0.16, 0.16), strict=False):
            _draw_rows(axes, words.pick(table, statistic=statistic), colour, shift)
            handles += marks.run_key(colour, label)
        handles.append(styles.mark("random floor", color=styles.FLOOR, linestyle="none", **_FLOOR_DOT))
        if len(published):
            axes.plot(
                published["fraction"], published["x"], color=styles.PUBLISHED, linestyle="none", **marks.PUBLISHED_DOT
            )
            handles.append(_published_key())
            axes.axhline(published["x"].min() - 0.5, color=styles.FLOOR, linewidth=0.6)
        axes.set_yticks(list(names), [_wrapped(name) for name in names.values()])
        axes.set_ylim(max(names) + 0.5, min(names) - 0.5)
        styles.fraction_axis(axes.xaxis)
        axes.set(xlabel="fraction of latents")
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        axes.set_axisbelow(True)
        styles.key(picture, [_without_line(handle) for handle in handles])
        return picture


_FLOOR_DOT = {"marker": "|", "markersize": 9, "markeredgewidth": 1.6}


def _draw_rows(axes, rows: pd.DataFrame, colour: str, shift: float) -> None:
    floor = words.pick(rows, source="floor", latents="all")
    axes.plot(floor["fraction"], floor["x"] + shift, color=styles.FLOOR, linestyle="none", zorder=2, **_FLOOR_DOT)
    for latents, dot in (("all", marks.ALL_DOT), ("live", marks.LIVE_DOT)):
        pairs = words.pick(rows, source="trained", latents=latents)
        axes.plot(pairs["fraction"], pairs["x"] + shift, color=colour, linestyle="none", zorder=4, **dot)
    mean = marks.means(rows, source="trained", latents="all")
    axes.plot(mean["mean"], mean.index + shift, color=colour, linestyle="none", marker="|", markersize=9, zorder=3)


def _published_key():
    return styles.mark(f"{PAPER} (decoder cosine alone)", color=styles.PUBLISHED, **marks.PUBLISHED_DOT)


def _without_line(handle):
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


def _names(table: pd.DataFrame) -> dict[float, str]:
    return dict(zip(table["x"], table["value"], strict=True))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = words.pick(table, source="trained")
    threshold = trained["threshold"].iloc[0]
    positions = [
        f"{words.escape(name)} {_mean(trained, x, 'all', 'shared')} (live latents only "
        f"{_mean(trained, x, 'live', 'shared')}; decoder cosine alone {_mean(trained, x, 'all', 'decoder_only')}; "
        f"{_pairs(trained, x)})"
        for x, name in _names(trained).items()
    ]
    floor = {
        statistic: words.floor(words.pick(table, source="floor", latents="all", statistic=statistic)["fraction"])
        for statistic, _ in STATISTICS
    }
    sentences = [
        f"Shared fraction by position: {'; '.join(positions)}.",
        f"For *shared* {floor['shared']}, for the decoder cosine alone {floor['decoder_only']}.",
        f"{words.definition(threshold)[:-1]}; *decoder cosine alone* asks only for such a decoder cosine.",
    ]
    if len(words.pick(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 middle, which asks for the decoder cosine alone, "
            "at other models, layers and sizes."
        )
    return " ".join(sentences)


def _mean(trained: pd.DataFrame, x: float, latents: str, statistic: str) -> str:
    return words.percent(words.pick(trained, x=x, latents=latents, statistic=statistic)["fraction"].mean())


def _pairs(trained: pd.DataFrame, x: float) -> str:
    fractions = words.pick(trained, x=x, latents="all", statistic="shared")["fraction"].dropna()
    if len(fractions) < 2:
        return f"n = {words.count(len(fractions), 'pair')}, no spread"
    return f"n = {len(fractions)} pairs, shared {words.span(fractions)}"
