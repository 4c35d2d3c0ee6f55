"""The figure `architecture`: shared fraction against FVU and against L0, a line an architecture."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.errors import StudyError
from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep, sweep_phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER

NAMES = {
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "relu": "ReLU + L1",
    "gated": "Gated",
    "jumprelu": "JumpReLU",
}
AT = {"fvu": ("FVU", "{:.3f}"), "l0": ("L0", "{:.1f}")}
COMMON = {"color": styles.FLOOR, "linestyle": (0, (1, 2)), "linewidth": 0.8}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run against FVU (left) and L0 (right), and the paper's Figure 5 (right) at the edge.

    Raises:
        StudyError: more architectures than the palette has colours.
    """
    style = styles.resolve(style)
    run = phrases.pick(table, statistic="shared", matched="")
    names = list(dict.fromkeys(phrases.pick(run, source="trained")["value"]))
    if len(names) > len(style["palette"]):
        raise StudyError(
            f"figure 'architecture': {len(names)} architectures but {len(style['palette'])} colours in style.palette"
        )
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 3.4)
        panels = dict(zip(AT, picture.subplots(1, 2, sharey=True), strict=True))
        for by, axes in panels.items():
            rows = run.assign(x=run[by])
            marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
            for name, colour in zip(names, style["palette"], strict=False):
                marks.draw_pairs(axes, phrases.pick(rows, value=name), colour)
            for value in phrases.pick(table, matched=by)[by].head(1):
                axes.axvline(value, zorder=0, **COMMON)
        styles.fraction_axis(panels["fvu"].yaxis)
        panels["fvu"].xaxis.set_major_locator(MaxNLocator(3))
        panels["fvu"].margins(x=0.12)  # dots are drawn beside their value
        panels["fvu"].set(xlabel="FVU", ylabel="shared fraction of latents")
        _l0_axis(panels["l0"], phrases.pick(run, source="trained")["l0"], style)
        handles = [
            styles.mark(NAMES.get(name, name), color=colour, **marks.ALL_DOT)
            for name, colour in zip(names, style["palette"], strict=False)
        ]
        handles.append(styles.mark("live latents only", color="#404040", **marks.LIVE_LINE, **marks.LIVE_DOT))
        handles += [styles.mark("compared here", **COMMON), marks.floor_key()]
        published = phrases.pick(table, source="published")
        if len(published):
            _draw_published(panels["l0"], published, style)
            handles.append(
                styles.mark(
                    f"{published['series'].iloc[0]} (decoder only)",
                    color=styles.PUBLISHED,
                    linestyle="none",
                    **marks.PUBLISHED_DOT,
                )
            )
        styles.key(picture, handles)
        return picture


def _l0_axis(axes, l0: pd.Series, style: dict) -> None:
    """A logarithmic axis with ticks at whole numbers near the cohorts."""
    sweep.log_axis(axes, sorted({float(max(1, round(value))) for value in l0}), style, part=0.35)
    low, high = axes.get_xlim()
    axes.set(xlim=(min(low, l0.min() / 1.1), max(high, l0.max() * 1.1)), xlabel="L0")


def _draw_published(axes, published: pd.DataFrame, style: dict) -> None:
    """Squares on the right edge, because neither FVU nor L0 is known, each with its architecture's name."""
    heights = published["fraction"]
    look = {"transform": axes.get_yaxis_transform(), "clip_on": False, "linestyle": "none", **marks.PUBLISHED_DOT}
    axes.plot([1.0] * len(heights), heights, color=styles.PUBLISHED, **look)
    ends = [(row.fraction, f" {NAMES.get(row.value, row.value)}", styles.PUBLISHED) for row in published.itertuples()]
    styles.label_ends(axes, ends, style["font_size"] - 1)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = phrases.pick(table, source="trained", statistic="shared")
    floor = phrases.pick(table, source="floor", latents="all", statistic="shared")["fraction"]
    # A place is a cohort here: two architectures may have the same FVU.
    placed = trained.assign(x=trained["cohort"].factorize()[0])
    names = {
        x: f"{phrases.escape(NAMES.get(value, value))} with L0 {l0:.1f}"
        for x, value, l0 in zip(placed["x"], placed["value"], placed["l0"], strict=True)
    }
    spread = sweep_phrases.pairs(phrases.pick(placed, latents="all"), names)
    sentences = [
        f"Shared fraction {_compared(table, 'fvu', 'shared')}; {_compared(table, 'l0', 'shared')}: values on the lines "
        "between cohorts, never beyond them, so where an architecture's cohorts all lie on one side it reads not "
        "reached.",
        f"{spread[0].upper()}{spread[1:]}; {marks.BESIDE}; {phrases.floor(floor)}; {_dead(trained)}.",
        phrases.definition(trained["threshold"].iloc[0]),
    ]
    if len(phrases.pick(table, source="published")):
        here = _compared(table, "fvu", "decoder_only")
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 right, GPT-2 layer 6 MLP, without FVU and, but for TopK (k = 32), L0; "
            "they count the decoder cosine alone, for Gated and ReLU + L1 at the counterparts of the encoder, so at "
            f"least that much; the decoder cosine alone here, {here}."
        )
    return " ".join(sentences)


def _compared(table: pd.DataFrame, by: str, statistic: str) -> str:
    """Every architecture at the common value, as a part of a sentence."""
    rows = phrases.pick(table, matched=by, statistic=statistic)
    trained = phrases.pick(table, source="trained")
    name, form = AT[by]
    parts = []
    for architecture in dict.fromkeys(rows["value"]):
        own = phrases.pick(rows, value=architecture)
        every, live = (phrases.pick(own, latents=latents)["fraction"].mean() for latents in ("all", "live"))
        ends = phrases.pick(trained, value=architecture)[by]
        span = " to ".join(dict.fromkeys(form.format(end) for end in (ends.min(), ends.max())))
        found = f"{phrases.percent(every)} (live latents only {phrases.percent(live)})"
        found = f"not reached ({name} {span})" if np.isnan(every) else found
        parts.append(f"{phrases.escape(NAMES.get(architecture, architecture))} {found}")
    return f"at the same {name}, {form.format(rows[by].iloc[0])}: {', '.join(parts)}"


def _dead(trained: pd.DataFrame) -> str:
    """How far the cohorts differ in dead latents, as a clause."""
    return f"dead latents make up {phrases.span(trained['dead_fraction'])} of an SAE"
