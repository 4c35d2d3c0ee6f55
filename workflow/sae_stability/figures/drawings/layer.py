"""The figure `layer`: shared fraction by layer, a line a size."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.errors import StudyError
from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep_phrases
from sae_stability.figures.drawings import style as styles


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run by layer, a colour a size, and the paper's Figure 5 (left).

    Raises:
        StudyError: more sizes than the palette has colours.
    """
    style = styles.resolve(style)
    shared = phrases.pick(table, statistic="shared")
    sizes = sorted(set(phrases.pick(shared, source="trained")["size"]))
    if len(sizes) > len(style["palette"]):
        raise StudyError(f"figure 'layer': {len(sizes)} sizes but {len(style['palette'])} colours in style.palette")
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 3.2)
        axes = picture.add_subplot()
        handles = []
        for size, colour in zip(sizes, style["palette"], strict=False):
            rows = phrases.pick(shared, size=size)
            marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
            marks.draw_pairs(axes, rows, colour)
            handles.append(styles.mark(f"shared, {size:,} latents", color=colour, **marks.ALL_DOT))
        handles += [styles.mark("live latents only", color="#404040", **marks.LIVE_LINE, **marks.LIVE_DOT)]
        handles += [marks.floor_key()]
        styles.fraction_axis(axes.yaxis)
        published = phrases.pick(table, source="published")
        if len(published):
            _draw_published(axes, published, style)
            handles.append(marks.published_key("joint; latents at the right"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer", ylabel="fraction of latents")
        styles.key(picture, handles)
        return picture


def _draw_published(axes, published: pd.DataFrame, style: dict) -> None:
    """A black line a size, named at its right end."""
    ends = []
    for size, rows in published.groupby("size"):
        marks.draw_published(axes, rows, size=2.5)
        ends.append((rows["fraction"].iloc[-1], f"{size:,}", styles.PUBLISHED))
    styles.label_ends(axes, ends, style["font_size"] - 1)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = phrases.pick(table, source="trained", statistic="shared")
    names = {layer: f"layer {layer:g}" for layer in trained["x"]}
    courses = [
        f"with {phrases.count(int(size), 'latent')} {_extremes(rows, 'all', names)} "
        f"(live latents only: {_extremes(rows, 'live', names)})"
        for size, rows in trained.groupby("size")
    ]
    floor = phrases.pick(table, source="floor", latents="all", statistic="shared")["fraction"]
    spread = sweep_phrases.pairs(phrases.pick(trained, latents="all"), names)
    return " ".join(
        [
            f"Shared fraction by layer, {'; '.join(courses)}.",
            f"{spread[0].upper()}{spread[1:]}; {marks.BESIDE}; {phrases.floor(floor)}; {_quality(trained)}.",
            phrases.definition(trained["threshold"].iloc[0]),
            *sweep_phrases.published(
                table,
                "black squares: Pythia-160M, MLP outputs, 12 layers, Figure 5 left, size at the right of each line",
            ),
        ]
    )


def _quality(trained: pd.DataFrame) -> str:
    """How far the SAEs of different layers differ in quality, as a clause."""
    if not trained["fvu"].notna().any():
        return "how well the SAEs of each layer reconstruct was not measured"
    places = trained.groupby(["x", "size"])[["fvu", "dead_fraction"]].mean()
    (best, _), (worst, _) = places["fvu"].idxmin(), places["fvu"].idxmax()
    fvu = f"FVU from {places['fvu'].min():.3f} at layer {best:g} to {places['fvu'].max():.3f} at layer {worst:g}"
    most, _ = places["dead_fraction"].idxmax()
    dead = f"dead latents from {phrases.span(places['dead_fraction'])}, most at layer {most:g}"
    return f"the SAEs differ in quality too ({fvu}; {dead}), which this figure cannot tell from the layer's own effect"


def _extremes(rows: pd.DataFrame, latents: str, names: dict[float, str]) -> str:
    mean = marks.means(rows, latents=latents)["mean"]
    if mean.empty:
        return phrases.NOT_MEASURED
    low, high = mean.idxmin(), mean.idxmax()
    if low == high:
        return f"{phrases.percent(mean[low])} at {names[low]}"
    return (
        f"lowest {phrases.percent(mean[low])} at {names[low]}, highest {phrases.percent(mean[high])} at {names[high]}"
    )
