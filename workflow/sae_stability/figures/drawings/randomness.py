"""The figure `randomness`: which matters more to what is shared, the initial weights or the order of the data."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, named_places
from sae_stability.figures.published import MODEL, PAPER

STATISTICS = (("shared", "shared"), ("same_counterpart", "same counterpart"))
KINDS = {"init": "initial weights", "order": "order of the data", "both": "both"}
MATTER = {"init": "initial weights matter", "order": "order of the data matters"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A row a kind of randomness, every pair a dot, and below them the paper's Figure 1."""
    published = {"joint": f"{MODEL} (joint)", "same_counterpart": f"{MODEL} (same)"}
    names = {x: KINDS[value] for x, value in zip(table["x"], table["value"], strict=True)}
    return named_places.draw_rows(table, style, names, STATISTICS, published)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = phrases.pick(table, source="trained")
    shared = phrases.pick(trained, statistic="shared")
    same = phrases.pick(table, statistic="same_counterpart", latents="all")
    names = {x: KINDS[value] for x, value in zip(trained["x"], trained["value"], strict=True)}
    sentences = [
        f"Over all latents, {_verdict(phrases.pick(shared, latents='all'))}; "
        f"over live latents, {_verdict(phrases.pick(shared, latents='live'))}.",
        f"Shared fraction by what differs between the SAEs: {named_places.caption_rows(table, names, *STATISTICS[1])}; "
        f"for *shared* {named_places.floor_words(table, 'shared')}, "
        f"for the same counterpart {phrases.counterpart_floors(same)}.",
        f"{phrases.definition(trained['threshold'].iloc[0])[:-1]}; where the order alone differs the SAEs start alike, "
        "so latents that training hardly moved count as shared too (live ones leave out those that never fire).",
    ]
    if len(phrases.pick(table, source="published")):
        sentences.append(
            f"Black squares: {PAPER}, Figure 1, Pythia-160M, where the initial weights differ; "
            f"{phrases.PAPER_IS_JOINT}."
        )
    return " ".join(sentences)


def _verdict(shared: pd.DataFrame) -> str:
    """Which of the two matters more, as a clause: the one that leaves less shared where it alone differs."""
    found = marks.means(shared, by="value")
    if not {"init", "order"} <= set(found.index):
        return "there is nothing to compare"
    less, more = sorted(("init", "order"), key=found["mean"].get)
    points = f"{100 * (found['mean'][more] - found['mean'][less]):.1f} percentage points"
    if found["max"][less] < found["min"][more] and found["count"][[less, more]].min() > 1:
        return f"the {MATTER[less]} more than the {KINDS[more]} ({points} less is shared, beyond the spread over pairs)"
    spread = "within the spread over pairs" if found["count"][[less, more]].min() > 1 else "n = 1 pair has no spread"
    return f"neither the {KINDS['init']} nor the {KINDS['order']} can be said to matter more ({points}; {spread})"
