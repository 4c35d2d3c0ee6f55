"""The figure `pairs-table`: a pair of latents a bin of cosines, with both explanations and scores, as a table."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import score_marks
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import rows_where

# Longest explanation drawn, in lines; the table holds the whole text.
_LINES = 4
# Left ends of the columns, as parts of the width: mean cosine, latents, scores, explanations.
_COLUMNS = (0.0, 0.11, 0.31, 0.44)
_HEADINGS = ("cos", "latents", "scores", "explanations")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A line of text a pair of this run, then the paper's pairs, whose explanations are not repeated here."""
    size = style["font_size"] - 1.5
    line = 1.3 * size / 72
    # A character of this font is about 0.58 of its size wide.
    characters = int((1 - _COLUMNS[-1]) * style["width"] / (0.58 * size / 72))
    blocks = [_block(row, characters) for _, row in rows_where(table, source="trained").iterrows()]
    for _, row in rows_where(table, source="floor").iterrows():
        text = _wrapped(f"another latent's explanation, mean; 95% at most {row['chance']:.2f}", characters)
        blocks.append(_beside(("", "chance", f"{row['score']:.2f}"), text) if row["n"] else [("", "no scores", "", "")])
    published = rows_where(table, source="published")
    if len(published):
        blocks.append([(PAPER, "", "", "")])
        blocks += [_block(row, characters) for _, row in published.iterrows()]
    height = line * (1.5 + sum(len(block) + 0.5 for block in blocks))
    picture = Figure(figsize=(style["width"], height))
    axes = picture.add_axes((0.01, 0, 0.98, 1))
    axes.set(xlim=(0, 1), ylim=(height / line, 0))
    axes.axis("off")
    place = _write(axes, [_HEADINGS], 0.2, size, weight="bold")
    for block in blocks:
        axes.axhline(place + 0.15, color=style["palette"][0], linewidth=0.4)
        place = _write(axes, block, place + 0.4, size)
    return picture


def _write(axes, lines: list[tuple[str, ...]], place: float, size: float, **look) -> float:
    """Write lines of cells from `place` down; returns where the next one goes."""
    for number, cells in enumerate(lines):
        for left, text in zip(_COLUMNS, cells, strict=True):
            axes.text(left, place + number, text, fontsize=size, va="top", **look)
    return place + len(lines)


def _block(row: pd.Series, characters: int) -> list[tuple[str, ...]]:
    """The lines of one pair: the first latent's, then its counterpart's."""
    first = _wrapped(row["explanation"], characters)
    second = _wrapped(row["explanation_counterpart"], characters)
    upper = (f"{row['mean_cosine']:.2f}", f"{row['a']}: {row['latent']}", f"{row['score']:.2f}")
    lower = ("", f"{row['b']}: {row['counterpart']}", f"{row['score_counterpart']:.2f}")
    return [*_beside(upper, first), *_beside(lower, second)]


def _beside(cells: tuple[str, ...], lines: list[str]) -> list[tuple[str, ...]]:
    return [(*cells, lines[0]), *(("",) * len(cells) + (line,) for line in lines[1:])]


def _wrapped(text: str, characters: int) -> list[str]:
    """Text of a judge or a corpus as lines of printable characters, cut where it is too long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return textwrap.wrap(printable, characters, max_lines=_LINES, placeholder=" ...") or [""]


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run = rows_where(table, source="trained")
    if run.empty:
        return score_marks.nothing(table["threshold"].iloc[0])
    threshold = run["threshold"].iloc[0]
    bins = [
        f"{row['bin']:.1f} to {row['bin'] + 0.2:.1f}: n = {row['n']}, mean scores {row['mean_score']:.2f} and "
        f"{row['mean_score_counterpart']:.2f}"
        for _, row in run.iterrows()
    ]
    sentences = [
        "One pair of matched latents for each bin of the mean of their decoder and encoder cosine: below 0.6 the pair "
        "whose scores differ most, the first SAE's being the higher one; from 0.6 on the pair with the highest scores. "
        "So these are extremes and not typical pairs; latents are written SEED: LATENT.",
        f"All pairs by bin: {'; '.join(bins)}.",
        score_marks.origin_in_words(run.iloc[0]),
        f"Of 100 chance scores, by another latent's explanation, 95 are at most {run['chance'].iloc[0]:.2f}; long "
        "explanations are cut, and the table beside the figure holds them whole.",
        phrases.definition(threshold),
    ]
    if len(rows_where(table, source="published")):
        sentences.append(f"Below: Table 1 of {PAPER}, chosen the same way, without its explanations.")
    return " ".join(sentences)
