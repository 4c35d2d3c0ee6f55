"""The figure `randomness`: which matters more to what is shared, the initial weights or the order of the data."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, named_places
from sae_stability.figures.published import MODEL, PAPER
from sae_stability.figures.selection import rows_where

STATISTICS = (("shared", "shared"), ("same_counterpart", "same counterpart"))
KINDS = {"init": "initial weights", "order": "order of the data", "both": "both"}
MATTER = {"init": "initial weights matter", "order": "order of the data matters"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row for each kind of randomness, every pair as a dot, and below them the paper's Figure 1."""
    published = {"joint": f"{MODEL} (joint)", "same_counterpart": f"{MODEL} (same)"}
    return named_places.draw_places(table, style, _names(table), STATISTICS, published)


def _names(table: pd.DataFrame) -> dict[float, str]:
    return {x: KINDS[value] for x, value in zip(table["x"], table["value"], strict=True)}


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = rows_where(table, source="trained")
    shared = rows_where(trained, statistic="shared")
    same = rows_where(table, statistic="same_counterpart", latents="all")
    numbers = named_places.numbers_of_places(table, _names(trained), *STATISTICS[1])
    sentences = [
        f"Over all latents, {_which_matters_more(rows_where(shared, latents='all'))}; "
        f"over live latents, {_which_matters_more(rows_where(shared, latents='live'))}.",
        f"Shared fraction by what differs between the SAEs: {numbers}.",
        f"For *shared*, {phrases.floor_of(table)}; for the same counterpart, {phrases.counterpart_floors(same)}.",
        phrases.definition(trained["threshold"].iloc[0]),
        "Where the order alone differs, the SAEs start alike, so latents that training hardly moved count as shared "
        "too; the fractions of live latents leave out those that never fire.",
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 1, Pythia-160M, where the initial weights differ; "
            f"{phrases.PAPER_IS_JOINT}."
        )
    return " ".join(sentences)


def _which_matters_more(shared: pd.DataFrame) -> str:
    """Which of the two matters more, as a clause: the one that leaves less shared where it alone differs.

    It counts only where every pair of the one shares less than every pair of the other, and both have several pairs.
    """
    found = marks.means(shared, by="value")
    if not {"init", "order"} <= set(found.index):
        return "there is nothing to compare"
    less, more = sorted(("init", "order"), key=found["mean"].get)
    points = f"{100 * (found['mean'][more] - found['mean'][less]):.1f} percentage points"
    several = found["count"][[less, more]].min() > 1
    if several and found["max"][less] < found["min"][more]:
        return f"the {MATTER[less]} more than the {KINDS[more]} ({points} less is shared, beyond the spread over pairs)"
    spread = "within the spread over pairs" if several else "n = 1 pair has no spread"
    return f"neither the {KINDS['init']} nor the {KINDS['order']} can be said to matter more ({points}; {spread})"
