"""The figure `position`: shared fraction by where in the layer the SAEs read."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import words
from sae_stability.figures.drawings import rows
from sae_stability.figures.published import PAPER

STATISTICS = (("shared", "shared"), ("decoder_only", "decoder cosine alone"))


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row a position, every pair a dot, and below them the paper's Figure 5 (middle)."""
    published = {"decoder_only": f"{PAPER} (decoder cosine alone)"}
    return rows.draw_rows(table, style, _names(table), STATISTICS, published)


def _names(table: pd.DataFrame) -> dict[float, str]:
    return dict(zip(table["x"], table["value"], strict=True))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    threshold = words.pick(table, source="trained")["threshold"].iloc[0]
    sentences = [
        f"Shared fraction by position: {rows.caption_rows(table, _names(table), *STATISTICS[1])}.",
        f"For *shared* {rows.floor_words(table, 'shared')}, for the decoder cosine alone "
        f"{rows.floor_words(table, 'decoder_only')}.",
        f"{words.definition(threshold)[:-1]}; *decoder cosine alone* asks only for such a decoder cosine.",
    ]
    if len(words.pick(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 5 middle, which asks for the decoder cosine alone, "
            "at other models, layers and sizes."
        )
    return " ".join(sentences)
