"""The figure `position`: shared fraction by where in the layer the SAEs read."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import named_places
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import rows_where

STATISTICS = (("shared", "shared"), ("decoder_only", "decoder cosine alone"))


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row for each position, every pair as a dot, and below them the paper's Figure 5 (middle)."""
    published = {"decoder_only": f"{PAPER} (decoder cosine alone)"}
    return named_places.draw_places(table, style, _names(table), STATISTICS, published)


def _names(table: pd.DataFrame) -> dict[float, str]:
    return dict(zip(table["x"], table["value"], strict=True))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    threshold = rows_where(table, source="trained")["threshold"].iloc[0]
    sentences = [
        f"Shared fraction by position: {named_places.numbers_of_places(table, _names(table), *STATISTICS[1])}.",
        f"For *shared*, {phrases.floor_of(table)}; for the decoder cosine alone, "
        f"{phrases.floor_of(table, 'decoder_only')}.",
        f"{phrases.definition(threshold)} *Decoder cosine alone* asks only for a matched decoder cosine of at least "
        f"{threshold:g}.",
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 middle, decoder cosine alone, at other models, layers and sizes."
        )
    return " ".join(sentences)
