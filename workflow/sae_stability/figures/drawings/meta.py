"""The figure `meta`: what meta-SAEs explain beside baselines, how stable they are, and the parts of latents."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

# Variance explained below this is drawn at the edge: random directions may be far below 0.
LEAST = -0.25
_DOT = {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.5}
_MEAN = {"linestyle": "none", "marker": "D", "markersize": 4}
_WIDTH = 0.05  # of a bin of cosines
# Dictionaries whose largest cosines are drawn; the table has all pairs.
_DRAWN = ("meta-latents to meta-latents", "meta-latents to latents", "latents to meta-latents")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Four panels: variance explained, shared fraction, number of meta-latents of a latent, largest cosines."""
    picture = styles.figure(style, 6.6)
    explained, stability, parts, cosines = picture.subplots(4, 1, height_ratios=[10, 4, 4, 4])
    palette = style["palette"]
    _draw_explained(explained, rows_where(table, panel="explained"), palette)
    _draw_stability(stability, rows_where(table, panel="stability"), palette)
    handles = []
    for number, (name, rows) in enumerate(rows_where(table, panel="parts").groupby("group", sort=False)):
        look = {"color": palette[number % len(palette)], "marker": "o", "markersize": 3}
        mean = rows.groupby("x")["value"].sum() / rows["a"].nunique()
        parts.plot(mean.index, mean, **look)
        handles.append(styles.mark(f"latents of {name}", **look))
    parts.set(xlabel="meta-latents of a latent", ylabel="latents", ylim=(0, None))
    parts.xaxis.get_major_locator().set_params(integer=True)
    for colour, group in zip(palette, _DRAWN, strict=False):
        rows = rows_where(table, panel="cosines", group=group)
        mean = rows.groupby("x")["value"].mean()
        cosines.plot(mean.index + _WIDTH / 2, mean, color=colour, label=group)
    cosines.set(xlabel="largest cosine", ylabel="directions", ylim=(0, None))
    handles[:0] = [
        styles.mark("one SAE or pair", color=styles.NEUTRAL, **_DOT),
        styles.mark("mean", color=styles.NEUTRAL, **_MEAN),
        styles.mark("mean, live latents", color=styles.NEUTRAL, markerfacecolor="white", **_MEAN),
        styles.mark("random floor", color=styles.FLOOR, marker="|", linestyle="none"),
    ]
    handles += [styles.mark(group, color=colour) for colour, group in zip(palette, _DRAWN, strict=False)]
    styles.key(picture, handles)
    return picture


def _draw_explained(axes: Axes, rows: pd.DataFrame, palette: list[str]) -> None:
    labels = []
    for place, ((group, encoder), some) in enumerate(
        rows.groupby(
            [
                "group",
                "detail",
            ],
            sort=False,
        )
    ):
        colour = palette[0] if group == "meta-SAE" else palette[1]
        drawn = some["value"].clip(lower=LEAST)
        axes.plot(drawn, [place] * len(some), color=colour, **_DOT)
        beyond = {"marker": "<"} if some["value"].mean() < LEAST else {}
        axes.plot([max(some["value"].mean(), LEAST)], [place], color=colour, **{**_MEAN, **beyond})
        labels.append(f"{group}, {encoder}")
    axes.axvline(0, color=styles.NEUTRAL, linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(LEAST - 0.05, 1.05), xlabel="variance explained")


def _draw_stability(axes: Axes, rows: pd.DataFrame, palette: list[str]) -> None:
    names = list(dict.fromkeys(rows["group"]))
    for place, name in enumerate(names):
        colour = palette[0] if place == 0 else palette[1]
        cohort = rows_where(rows, group=name)
        for latents, face in (("all", colour), ("live", "white")):
            run = rows_where(cohort, source="trained", detail=latents)["value"].dropna()
            if latents == "all":
                axes.plot(run, [place] * len(run), color=colour, **_DOT)
            if len(run):
                axes.plot([run.mean()], [place], color=colour, markerfacecolor=face, **_MEAN)
        floor = rows_where(cohort, source="floor", detail="all")["value"].dropna()
        axes.plot(floor, [place] * len(floor), color=styles.FLOOR, marker="|", linestyle="none")
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(-0.03, 1.03), xlabel="shared between seeds")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    explained = rows_where(table, panel="explained")
    trained = rows_where(explained, group="meta-SAE", detail="trained")
    uncentred = rows_where(rows_where(table, panel="explained uncentred"), group="meta-SAE", detail="trained")
    others = explained[~((explained["group"] == "meta-SAE") & (explained["detail"] == "trained"))]
    said = "; ".join(
        f"{phrases.escape(group)}, {encoder}, {phrases.percent(some['value'].mean())}"
        for (group, encoder), some in others.groupby(["group", "detail"], sort=False)
    )
    parts = rows_where(table, panel="parts")
    counts = "; ".join(
        f"{phrases.escape(name)}, {(rows['x'] * rows['value']).sum() / rows['a'].nunique():.1f}"
        for name, rows in parts.groupby("group", sort=False)
    )
    return " ".join(
        [
            f"How well do meta-SAEs describe decoder rows? Variance explained: meta-SAE "
            f"{phrases.percent_range(trained['value'])} (uncentred {phrases.percent_range(uncentred['value'])}, "
            f"{trained['x'].mean():.1f} meta-latents a row); {said}.",
            f"n = {phrases.count(trained['a'].nunique(), 'meta-SAE')}; values below {LEAST:g} are drawn at the edge as "
            "arrows; *kept*: with the meta-SAE's encoder; *retrained*: with an encoder trained for these directions as "
            "long as the meta-SAE was; *pursuit*: orthogonal matching pursuit of k directions; *rank*: so many "
            "principal components, the best directions if all rows have the same; these rows are trained on.",
            f"Are meta-latents more stable than latents? Shared: {_stability_in_words(table)}.",
            f"Mean number of meta-latents of a latent: {counts}.",
            *_graph_in_words(rows_where(table, panel="graph")),
            *_choice_in_words(rows_where(table, panel="choice")),
            "The last panel is the largest cosine of each direction with those of another dictionary, or the others "
            "of its own, as a share of all directions in bins of 0.05.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )


def _graph_in_words(graph: pd.DataFrame) -> list[str]:
    found = []
    for name, rows in graph.groupby("group", sort=False):
        run, chance = (rows_where(rows, source=source)["value"].dropna() for source in ("trained", "floor"))
        if len(run):
            found.append(
                f"{phrases.escape(name)}, {phrases.percent(run.mean())} (chance {phrases.percent(chance.mean())})"
            )
    if not found:
        return []
    return [
        "Of the pairs of latents with a meta-latent in common, these parts are also near one latent of a smaller SAE, "
        f"at the cosine that gives as many pairs: {'; '.join(found)}; the authors' post has 28.92% for GPT-2."
    ]


def _choice_in_words(choice: pd.DataFrame) -> list[str]:
    run = rows_where(choice, source="trained")
    right = rows_where(run, detail="right")
    unanswered = rows_where(run, detail="unanswered")["value"]
    if not len(right):
        return []
    ends = run[run["detail"].isin(("low", "high"))].groupby("a")["value"]
    intervals = ends.agg(phrases.percent_range)
    said = [f"{phrases.percent(row.value)} ({intervals[row.a]})" for row in right.itertuples()]
    chance = phrases.percent_range(rows_where(choice, source="floor")["value"])
    return [
        "Asked which of five explanations is a latent's, from what is said of other latents with its meta-latents, the "
        f"judge is right for {', '.join(said)} of n = {phrases.count_range(right['n'])} latents (95 % interval, a "
        f"meta-SAE each; chance {chance}); nothing could be asked about {phrases.percent_range(unanswered)} of the "
        "sampled latents; the paper has 73.0%, with a language model."
    ]


def _stability_in_words(table: pd.DataFrame) -> str:
    found = []
    for name, rows in rows_where(table, panel="stability").groupby("group", sort=False):
        run = rows_where(rows, source="trained")
        values = [rows_where(run, detail=latents)["value"] for latents in ("all", "live")]
        floor = phrases.random_floor(rows_where(rows, source="floor", detail="all")["value"])
        every, live = (phrases.percent_range(value) for value in values)
        pairs = phrases.count(len(values[0]), "pair")
        found.append(f"{phrases.escape(name)} {every} ({pairs}; live latents {live}; {floor})")
    return "; ".join(found)
