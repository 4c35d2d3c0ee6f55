"""What the figures of mean cosines over a swept number have in common: drawing and caption."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep, sweep_phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import all_and_live, rows_where

_SIDES = (("mean_cosine_decoder", "decoder"), ("mean_cosine_encoder", "encoder"))
COSINES = sweep.Drawn(run=_SIDES, published=_SIDES, axis_label="mean cosine of matched rows", percent=False)


def draw_cosines(table: pd.DataFrame, style: dict, axis_label: str) -> Figure:
    """Mean cosine of matched decoder and encoder rows of every pair against the value, with the paper's appendix.

    Args:
        table: the figure's tidy table.
        style: the resolved style.
        axis_label: what is swept; its axis is logarithmic.
    """
    return sweep.draw_sweep(table, style, axis_label, COSINES)


def caption_cosines(table: pd.DataFrame, quantity: str) -> str:
    """What the sweep shows in this run: both curves from end to end, number of pairs, floors, the paper's series.

    Args:
        table: the figure's tidy table.
        quantity: what is swept, in words ("the number of latents").
    """
    trained = rows_where(table, source="trained")
    names = {x: styles.compact(x) for x in trained["x"]}
    sentences = [
        f"As {quantity} grows, the mean cosine of matched {side} rows {_course(table, statistic, names)}; the random "
        f"floor is {_floor(table, statistic)}."
        for statistic, side in _SIDES
    ]
    sentences += [
        "Each side has its own assignment, the one-to-one matching with the largest sum of cosines, and no threshold.",
        f"Each dot is one pair of SAEs, n = {_pairs_at_a_place(trained)}; {marks.BESIDE}.",
    ]
    if len(rows_where(table, source="published")):
        sentences.append(f"Black squares: {PAPER}, appendix to Figure 4, Pythia-160M, layer 6 MLP.")
    return " ".join(sentences)


def _course(table: pd.DataFrame, statistic: str, names: dict[float, str]) -> str:
    every, live = (sweep_phrases.course(rows, names, _written) for rows in all_and_live(_of(table, statistic)))
    return f"{every}; counting live latents only, it {live}"


def _of(table: pd.DataFrame, statistic: str) -> pd.DataFrame:
    return rows_where(table, statistic=statistic)


def _floor(table: pd.DataFrame, statistic: str) -> str:
    floor = marks.means(_of(table, statistic), source="floor", latents="all")
    if floor.empty:
        return phrases.NOT_MEASURED
    ends = [_written(value) for value in (floor["min"].min(), floor["max"].max())]
    return " to ".join(dict.fromkeys(ends))


def _written(cosine: float) -> str:
    return f"{cosine:.2f}"


def _pairs_at_a_place(trained: pd.DataFrame) -> str:
    counts = marks.means(trained, by=["x", "statistic"], latents="all")["count"]
    return f"{phrases.count_range(counts)} at a place" if len(counts) else phrases.NOT_MEASURED
