"""The figure `layer`: shared fraction by layer, a line for each size."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep_phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run by layer, a colour for each size, and the paper's Figure 5 (left).

    Raises:
        StudyError: more sizes than the palette has colours.
    """
    shared = rows_where(table, statistic="shared")
    sizes = sorted(set(rows_where(shared, source="trained")["size"]))
    colours = styles.colour_of_each(sizes, style, figure="layer", noun="sizes")
    picture = styles.figure(style, 3.2)
    axes = picture.add_subplot()
    for size, colour in colours.items():
        rows = rows_where(shared, size=size)
        marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
        marks.draw_pairs(axes, rows, colour)
    handles = [
        styles.mark(f"shared, {size:,} latents", color=colour, **marks.ALL_DOT) for size, colour in colours.items()
    ]
    handles += [marks.live_key(), marks.floor_key()]
    styles.fraction_axis(axes.yaxis)
    published = rows_where(table, source="published")
    if len(published):
        _draw_published(axes, published, style)
        handles.append(marks.published_key("joint; latents at the right"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="layer", ylabel="fraction of latents")
    styles.key(picture, handles)
    return picture


def _draw_published(axes: Axes, published: pd.DataFrame, style: dict) -> None:
    """A black line for each size, with the size at its right end."""
    ends = []
    for size, rows in published.groupby("size"):
        marks.draw_published(axes, rows, size=2.5)
        ends.append((rows["fraction"].iloc[-1], f"{size:,}"))
    styles.label_ends(axes, ends, style, styles.PUBLISHED)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = rows_where(table, source="trained", statistic="shared")
    names = {layer: f"layer {layer:g}" for layer in trained["x"]}
    extremes = [
        f"with {phrases.count(int(size), 'latent')}, {_extremes(rows, 'all', names)} "
        f"(live latents only: {_extremes(rows, 'live', names)})"
        for size, rows in trained.groupby("size")
    ]
    return " ".join(
        [
            f"Shared fraction by layer: {'; '.join(extremes)}.",
            f"{sweep_phrases.dots(rows_where(trained, latents='all'), names)}; {phrases.floor_of(table)}.",
            _quality(trained),
            phrases.definition(trained["threshold"].iloc[0]),
            *sweep_phrases.published(
                table, "Figure 5 left, Pythia-160M, MLP outputs, 12 layers, number of latents at the right of each line"
            ),
        ]
    )


def _quality(trained: pd.DataFrame) -> str:
    """How far the SAEs of different layers differ in quality, as a sentence."""
    if not trained["fvu"].notna().any():
        return "How well the SAEs of each layer reconstruct was not measured."
    places = trained.groupby(["x", "size"])[["fvu", "dead_fraction"]].mean()
    (best, _), (worst, _) = places["fvu"].idxmin(), places["fvu"].idxmax()
    fvu = f"FVU from {places['fvu'].min():.3f} at layer {best:g} to {places['fvu'].max():.3f} at layer {worst:g}"
    most, _ = places["dead_fraction"].idxmax()
    dead = f"dead latents from {phrases.percent_range(places['dead_fraction'])}, most at layer {most:g}"
    return f"The SAEs of the layers differ in quality too ({fvu}; {dead}); the figure cannot tell that from the layer."


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
