"""What a scorer asks about latents: texts, and which of them are positive."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sae_stability.interpret.judges import Judge, Question
from sae_stability.interpret.limits import INTRUDER_TEXTS
from sae_stability.interpret.measures import best_threshold
from sae_stability.interpret.outcomes import OK, Reply
from sae_stability.interpret.samples import LEAST, NEAR, Draw, Shown
from sae_stability.interpret.windows import RANDOM, Window
from sae_stability.random_streams import stream

Kind = Literal["detection", "fuzzing", "intruder"]
MARKS = "marks"
"""The negatives of fuzzing: windows in which the latent fires, with other tokens marked."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One latent to be scored on one draw.

    Attributes:
        latent: the latent.
        first_latent: the latent of the first SAE that it is the counterpart of.
        number: the number of the draw.
        explained_by: "own", "shuffled" (another latent's explanation: what chance gives) or "none".
        explanation: what is to be scored; empty where none is needed.
        draw: the windows to score on.
        shown: the windows that explained the latent, on which a threshold may be chosen.
    """

    latent: int
    first_latent: int
    number: int
    explained_by: str
    explanation: str
    draw: Draw
    shown: Shown


@dataclasses.dataclass(frozen=True)
class Scored:
    """What the judge said of a draw: replies for positives and for each kind of negatives, and the threshold."""

    positives: list[Reply]
    negatives: dict[str, list[Reply]]
    threshold: float


def ask(kind: Kind, judge: Judge, items: Sequence[Item]) -> list[Scored]:
    """Ask a judge about every item."""
    if kind == "intruder":
        return _intruders(judge, items)
    return _graded(judge, items, marked=kind == "fuzzing")


def _graded(judge: Judge, items: Sequence[Item], *, marked: bool) -> list[Scored]:
    texts = [_marked_texts(item) if marked else _texts(item.draw) for item in items]
    answer = judge.fuzz if marked else judge.detect
    replies = answer([_question(item, some) for item, some in zip(items, texts, strict=True)])
    thresholds = [judge.threshold] * len(items) if judge.threshold is not None else _chosen(judge, items, marked)
    scored = []
    for some, found, threshold in zip(texts, replies, thresholds, strict=True):
        rest = iter(found)
        by_kind = {name: [next(rest) for _ in group] for name, group in some.items()}
        scored.append(Scored(by_kind.pop("positives"), by_kind, threshold))
    return scored


def _chosen(judge: Judge, items: Sequence[Item], marked: bool) -> list[float]:
    """For each item the threshold that tells its explaining windows apart best; none of them is scored on."""
    different = list({(item.latent, item.explanation): item for item in items}.values())
    texts = [_shown_texts(item, marked) for item in different]
    answer = judge.fuzz if marked else judge.detect
    replies = answer([_question(item, some) for item, some in zip(different, texts, strict=True)])
    found = {}
    for item, some, answers in zip(different, texts, replies, strict=True):
        scores = np.array([reply.value for reply in answers], float)
        count = len(some["positives"])
        found[item.latent, item.explanation] = best_threshold(scores[:count], scores[count:])
    return [found[item.latent, item.explanation] for item in items]


def _question(item: Item, texts: dict[str, list[str]]) -> Question:
    return Question(item.explanation, tuple(text for group in texts.values() for text in group))


def _texts(draw: Draw) -> dict[str, list[str]]:
    groups = {"positives": draw.positives, **draw.negatives}
    return {name: [window.text for window in windows] for name, windows in groups.items()}


def _shown_texts(item: Item, marked: bool) -> dict[str, list[str]]:
    if marked:
        return _right_and_wrong(item.shown.positives, ("shown marks", item.latent))
    return _texts(Draw(item.shown.positives, {RANDOM: item.shown.negatives}))


def _marked_texts(item: Item) -> dict[str, list[str]]:
    return _right_and_wrong(item.draw.positives, ("marks", item.latent, item.number))


def _right_and_wrong(windows: Sequence[Window], name: tuple) -> dict[str, list[str]]:
    """Every other window with the firing tokens marked, the rest with as many others marked."""
    rng = np.random.default_rng(stream(*name))
    wrong = [window.marked(marks) for window in windows[1::2] if (marks := _other_marks(window, rng)) is not None]
    return {"positives": [window.marked(window.firing) for window in windows[::2]], MARKS: wrong}


def _other_marks(window: Window, rng: np.random.Generator) -> list[bool] | None:
    """As many marks as the latent fires on, on other tokens; None where there are too few others."""
    silent = [place for place, fires in enumerate(window.firing) if not fires and window.pieces[place].strip()]
    count = sum(window.firing)
    if len(silent) < max(1, count):
        return None
    chosen = set(rng.choice(silent, max(1, count), replace=False))
    return [place in chosen for place in range(len(window.pieces))]


def _intruders(judge: Judge, items: Sequence[Item]) -> list[Scored]:
    """Each question has four texts in which the latent fires and one in which it does not, in a random order.

    The text that is named counts as predicted not to fire, the others as predicted to fire: who guesses has a balanced
    accuracy of one half, as in the other scorers.
    """
    asked: list[tuple[int, int, tuple[str, ...]]] = []
    for turn, item in enumerate(items):
        rng = np.random.default_rng(stream("intruders", item.latent, item.number))
        fires, silent = item.draw.positives, item.draw.negatives[RANDOM]
        size = INTRUDER_TEXTS - 1
        for trial in range(len(silent)):
            some = [fires[place] for place in rng.choice(len(fires), size, replace=False)]
            texts = [window.marked(window.firing) for window in some]
            place = int(rng.integers(INTRUDER_TEXTS))
            marks = _other_marks(silent[trial], rng) or silent[trial].firing
            texts.insert(place, silent[trial].marked(marks))
            asked.append((turn, place, tuple(texts)))
    scored = [Scored([], {RANDOM: []}, 0.5) for _ in items]
    for (turn, place, texts), reply in zip(asked, judge.intruder([texts for *_, texts in asked]), strict=True):
        for number in range(len(texts)):
            said = reply if reply.outcome != OK else Reply(OK, float(number != reply.value))
            (scored[turn].negatives[RANDOM] if number == place else scored[turn].positives).append(said)
    return scored


def enough(kind: Kind, item: Item) -> bool:
    """Whether an item has the windows that its scorer needs."""
    if kind == "fuzzing":
        return len(item.draw.positives) >= 2 * LEAST and item.shown.enough
    return item.draw.enough and item.shown.enough


NEGATIVES = {"detection": (RANDOM, NEAR), "fuzzing": (MARKS,), "intruder": (RANDOM,)}
"""Kind of scorer -> its negatives."""

WINDOWS = {"detection": 1, "fuzzing": 2, "intruder": 1}
"""Kind of scorer -> how many times as many windows a draw holds: fuzzing marks the wrong tokens in half of them."""
