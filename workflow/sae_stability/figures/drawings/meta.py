"""The figure `meta`: what meta-SAEs explain beside baselines, how stable they are, and the parts of latents."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import CANONICAL
from sae_stability.figures.selection import rows_where

# Variance explained below this is drawn at the edge: random directions may be far below 0.
LEAST = -0.25
_DOT = {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.5}
_MEAN = {"linestyle": "none", "marker": "D", "markersize": 4}
_WIDTH = 0.05  # of a bin of cosines
_POST, _PAPER = "authors' post on GPT-2", "paper, with a language model,"
_SQUARE = {"color": styles.PUBLISHED, "markerfacecolor": "white", "linestyle": "none", **marks.PUBLISHED_DOT}
# Dictionaries whose largest cosines are drawn; the table has all pairs.
_DRAWN = ("meta-latents to meta-latents", "meta-latents to latents", "latents to meta-latents")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Variance explained, shared fraction, meta-latents of a latent, largest cosines, and what parts tell of it."""
    told = _told(table)
    heights = [10, 4, 4, 4, *([1 + 1.5 * len(told)] if told else [])]
    picture = styles.figure(style, 0.3 * sum(heights))
    explained, stability, parts, cosines, *last = picture.subplots(len(heights), 1, height_ratios=heights)
    palette = style["palette"]
    _draw_explained(explained, rows_where(table, panel="explained"), palette)
    _draw_stability(stability, rows_where(table, panel="stability"), palette)
    for axes in last:
        _draw_told(axes, told, palette)
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
        mean = rows_where(rows, source="trained").groupby("x")["value"].mean()
        cosines.plot(mean.index + _WIDTH / 2, mean, color=colour, label=group)
        for peak in rows_where(rows, source="published")["x"]:
            cosines.plot([peak], [0], clip_on=False, **{**_SQUARE, "color": colour})
    cosines.set(xlabel="largest cosine", ylabel="directions", ylim=(0, None))
    handles[:0] = [
        styles.mark("one SAE or pair", color=styles.NEUTRAL, **_DOT),
        styles.mark("mean", color=styles.NEUTRAL, **_MEAN),
        styles.mark("mean, live latents", color=styles.NEUTRAL, markerfacecolor="white", **_MEAN),
        styles.mark("random floor or chance", color=styles.FLOOR, marker="|", linestyle="none"),
    ]
    if len(rows_where(table, source="published")):
        handles.append(styles.mark(CANONICAL, **_SQUARE))
    handles += [styles.mark(group, color=colour) for colour, group in zip(palette, _DRAWN, strict=False)]
    styles.key(picture, handles)
    return picture


def _draw_explained(axes: Axes, rows: pd.DataFrame, palette: list[str]) -> None:
    labels = []
    for place, ((group, encoder), some) in enumerate(rows.groupby(["group", "detail"], sort=False)):
        colour = palette[0] if group == "meta-SAE" else palette[1]
        published = some["source"] == "published"
        if len(values := some.loc[~published, "value"]):
            axes.plot(values.clip(lower=LEAST), [place] * len(values), color=colour, **_DOT)
            axes.plot([max(values.mean(), LEAST)], [place], color=colour, **{**_MEAN, **_arrow(values.mean())})
        for value in some.loc[published, "value"]:
            axes.plot([max(value, LEAST)], [place], **{**_SQUARE, **_arrow(value)})
        labels.append(f"{group}, {encoder}")
    axes.axvline(0, color=styles.NEUTRAL, linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(LEAST - 0.05, 1.05), xlabel="variance explained")


def _arrow(value: float) -> dict:
    """The mark of a value that is drawn at the edge."""
    return {"marker": "<"} if value < LEAST else {}


def _told(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What the parts of a latent tell of it: label -> rows of choices, and of the graph of each smaller SAE."""
    choice, graph = (rows_where(table, panel=panel) for panel in ("choice", "graph"))
    found = {"right of five": choice} if len(rows_where(choice, source="trained", detail="right")) else {}
    run = rows_where(graph, source="trained").dropna(subset=["value"])
    for name in dict.fromkeys(run["group"]):
        of_name = (graph["group"] == name) | (graph["source"] == "published")
        found[f"edges of {name}"] = graph[of_name].assign(detail="right")
    return found


def _draw_told(axes: Axes, told: dict[str, pd.DataFrame], palette: list[str]) -> None:
    """A row each: every meta-SAE with its interval, if it has one, the mean, chance, and the paper's value below."""
    for place, rows in enumerate(told.values()):
        run, published, chance = (rows_where(rows, source=source) for source in ("trained", "published", "floor"))
        right = rows_where(run, detail="right")["value"]
        beside = [place + 0.12 * (number - (len(right) - 1) / 2) for number in range(len(right))]
        _draw_intervals(axes, beside, run, _DOT | {"color": palette[0]})
        axes.plot([right.mean()], [place], color=palette[0], **_MEAN)
        if len(published):
            _draw_intervals(axes, [place + 0.38], published, _SQUARE)
        values = chance["value"].dropna()
        axes.plot(values, [place] * len(values), color=styles.FLOOR, marker="|", markersize=9, linestyle="none")
    axes.set_yticks(range(len(told)), list(told))
    axes.set(ylim=(len(told) - 0.4, -0.5), xlim=(-0.03, 1.03), xlabel="told by meta-latents")


def _draw_intervals(axes: Axes, places: list[float], rows: pd.DataFrame, look: dict) -> None:
    """Values at these places, each with its interval where rows have intervals."""
    ends = [rows_where(rows, detail=end)["value"] for end in ("low", "high")]
    if len(ends[0]):
        axes.hlines(places, *ends, color=look["color"], linewidth=0.8, alpha=0.6)
    axes.plot(rows_where(rows, detail="right")["value"], places, **look)


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
    explained = rows_where(table[table["source"] != "published"], panel="explained")
    trained = rows_where(explained, group="meta-SAE", detail="trained")
    uncentred = rows_where(rows_where(table, panel="explained uncentred"), group="meta-SAE", detail="trained")
    others = explained[~((explained["group"] == "meta-SAE") & (explained["detail"] == "trained"))]
    said = "; ".join(
        f"{phrases.escape(group)}, {encoder}, {phrases.percent(some['value'].mean())}"
        for (group, encoder), some in others.groupby(["group", "detail"], sort=False)
    )
    peaks = "; squares there are where the paper's curves peak" if len(rows_where(table, source="published")) else ""
    parts = rows_where(table, panel="parts")
    counts = "; ".join(
        f"{phrases.escape(name)}, {(rows['x'] * rows['value']).sum() / rows['a'].nunique():.1f}"
        for name, rows in parts.groupby("group", sort=False)
    )
    return " ".join(
        [
            f"How well do meta-SAEs describe decoder rows? Variance explained: meta-SAE "
            f"{phrases.percent_range(trained['value'])} (uncentred {phrases.percent_range(uncentred['value'])}, "
            f"{trained['x'].mean():.1f} meta-latents a row); {said}{_published_in_words(table)}.",
            f"n = {phrases.count(trained['a'].nunique(), 'meta-SAE')}; values below {LEAST:g} are drawn at the edge as "
            "arrows; *kept*: with the meta-SAE's encoder; *retrained*: with an encoder trained for these directions as "
            "long as the meta-SAE was; *pursuit*: orthogonal matching pursuit of k directions; *rank*: so many "
            "principal components, the best directions if all rows have the same; these rows are trained on.",
            f"Are meta-latents more stable than latents? Shared: {_stability_in_words(table)}.",
            f"Mean number of meta-latents of a latent: {counts}.",
            *_graph_in_words(rows_where(table, panel="graph")),
            *_choice_in_words(rows_where(table, panel="choice")),
            "Largest cosine: of each direction with those of another dictionary, or the others of its own, as a share "
            f"of all directions in bins of 0.05{peaks}.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )


def _published_in_words(table: pd.DataFrame) -> str:
    rows = rows_where(table, source="published", panel="explained")
    if not len(rows):
        return ""
    said = ", ".join(f"{row.group} {row.detail} {phrases.percent(row.value)}" for row in rows.itertuples())
    return f"; squares: {phrases.escape(CANONICAL)} ({said})"


def _graph_in_words(graph: pd.DataFrame) -> list[str]:
    published = rows_where(graph, source="published")["value"]
    graph, found = graph[graph["source"] != "published"], []
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
        f"at the cosine that gives as many pairs: {'; '.join(found)}{_in_the(_POST, published)}."
    ]


def _choice_in_words(choice: pd.DataFrame) -> list[str]:
    run = rows_where(choice, source="trained")
    right = rows_where(run, detail="right")
    unanswered = rows_where(run, detail="unanswered")["value"]
    published = rows_where(choice, source="published", detail="right")["value"]
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
        f"sampled latents{_in_the(_PAPER, published)}."
    ]


def _in_the(source: str, values: pd.Series) -> str:
    return f"; in the {source} {phrases.percent(values.iloc[0])}" if len(values) else ""


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
