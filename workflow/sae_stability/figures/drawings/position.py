"""The figure `position`: shared fraction by where in the layer the SAEs read."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import named_places
from sae_stability.figures.published import PAPER

STATISTICS = (("shared", "shared"), ("decoder_only", "decoder cosine alone"))


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row a position, every pair a dot, and below them the paper's Figure 5 (middle)."""
    published = {"decoder_only": f"{PAPER} (decoder cosine alone)"}
    return named_places.draw_rows(table, style, _names(table), STATISTICS, published)


def _names(table: pd.DataFrame) -> dict[float, str]:
    return dict(zip(table["x"], table["value"], strict=True))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    threshold = phrases.pick(table, source="trained")["threshold"].iloc[0]
    sentences = [
        f"Shared fraction by position: {named_places.caption_rows(table, _names(table), *STATISTICS[1])}.",
        f"For *shared* {named_places.floor_words(table, 'shared')}, for the decoder cosine alone "
        f"{named_places.floor_words(table, 'decoder_only')}.",
        f"{phrases.definition(threshold)[:-1]}; *decoder cosine alone* asks only for such a decoder cosine.",
    ]
    if len(phrases.pick(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 middle, which asks for the decoder cosine alone, "
            "at other models, layers and sizes."
        )
    return " ".join(sentences)
