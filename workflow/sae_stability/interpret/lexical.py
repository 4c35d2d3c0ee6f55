"""A judge without a language model: the words and pairs of words that tell where a latent fires."""

import dataclasses
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence

from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import EMPTY, OK, Reply
from sae_stability.interpret.samples import Shown
from sae_stability.interpret.windows import Window, words

_PRIOR = 0.5  # added to every count, so that a word seen once does not outweigh all others
_LEAST_SHARE = 0.1  # of the positive windows, which a word must occur in
_LABELS = ("fires on", "in phrases", "near")


@dataclasses.dataclass(frozen=True)
class Lexical:
    """Explains by the words that a latent fires on, the phrases that end there, and the words around them.

    Args:
        terms: most words or phrases of each of these three sorts.
    """

    terms: int = 6
    threshold: None = None

    def explain(self, latents: Sequence[Shown]) -> list[tuple[Reply, str]]:
        """See `Judge`. What was "asked" are the windows.

        The background that words are compared with are the windows of all the other latents, and those without the
        latent: what many latents fire near tells little of one.
        """
        everywhere = Counter(term for latent in latents for window in latent.positives for term in set(_near(window)))
        total = sum(len(latent.positives) for latent in latents)
        return [(self._explanation(latent, everywhere, total), _digest(latent)) for latent in latents]

    def detect(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`. The score of a text is the weight of the explanation's terms that occur in it."""
        return [self._answers(question, marked=False) for question in questions]

    def fuzz(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`. As `detect`, with only the marked parts of a text."""
        return [self._answers(question, marked=True) for question in questions]

    def intruder(self, texts: Sequence[tuple[str, ...]]) -> list[Reply]:
        """Not answered: `limits.ANSWERS` leaves it out."""
        raise NotImplementedError

    def _explanation(self, latent: Shown, everywhere: Counter, total: int) -> Reply:
        fires, phrases, near = Counter(), Counter(), Counter()
        for window in latent.positives:
            here = window.words
            fires.update({here[place] for place in window.firing_words})
            phrases.update({f"{here[place - 1]} {here[place]}" for place in window.firing_words if place})
            near.update(set(_near(window)))
        without = Counter(term for window in latent.negatives for term in set(_near(window)))
        # The latent's own windows are no background.
        background = Counter({term: everywhere[term] - near[term] + without[term] for term in everywhere | without})
        size = total - len(latent.positives) + len(latent.negatives)

        def strongest(counts: Counter) -> list[str]:
            evidence = {
                term: _evidence(count, len(latent.positives), background[term], size)
                for term, count in counts.items()
                if count >= max(2, _LEAST_SHARE * len(latent.positives))
            }
            ranked = sorted((term for term in evidence if evidence[term] > 0), key=lambda term: (-evidence[term], term))
            return ranked[: self.terms]

        on = strongest(fires)
        single = Counter({term: count for term, count in near.items() if " " not in term and term not in on})
        around = strongest(single)
        lists = (on, strongest(phrases), around)
        parts = [f"{label} {_quoted(terms)}" for label, terms in zip(_LABELS, lists, strict=True) if terms]
        return Reply(OK, "; ".join(parts)) if parts else Reply(EMPTY)

    def _answers(self, question: Question, *, marked: bool) -> list[Reply]:
        weights = term_weights(question.explanation)
        scores = []
        for text in question.texts:
            present = _marked_terms(text) if marked else set(_terms(words(text)))
            scores.append(sum(weight for term, weight in weights.items() if term in present))
        return [Reply(OK, float(score)) for score in scores]


def term_weights(explanation: str) -> dict[str, float]:
    """The terms of an explanation and their weights: 1 for the first of each list, 1/2 for the second and so on.

    An explanation by a language model has no lists: the words outside quotation marks then count 1 each.
    """
    weights: dict[str, float] = {}
    for part in explanation.split("; "):
        quoted = _unquoted(part)
        terms = quoted if quoted is not None else words(part)
        for place, term in enumerate(terms):
            weights[term] = max(weights.get(term, 0.0), 1 / (1 + place) if quoted is not None else 1.0)
    return weights


def _quoted(terms: list[str]) -> str:
    return ", ".join(json.dumps(term, ensure_ascii=False) for term in terms)


def _unquoted(part: str) -> list[str] | None:
    """The terms of one list, or None if the part is no such list."""
    label = next((label for label in _LABELS if part.startswith(f"{label} ")), None)
    if label is None:
        return None
    try:
        terms = json.loads(f"[{part.removeprefix(label)}]")
    except ValueError:
        return None
    return terms if all(isinstance(term, str) for term in terms) else None


def _evidence(inside: int, windows: int, outside: int, others: int) -> float:
    """How much more often a term occurs in the latent's windows than in others, in nats, weighted by how often."""
    rate = (inside + _PRIOR) / (windows + 2 * _PRIOR)
    other_rate = (outside + _PRIOR) / (others + 2 * _PRIOR)
    return rate * math.log(rate / other_rate)


def _terms(found: Sequence[str]) -> list[str]:
    """The words, and the pairs of neighbours."""
    return [*found, *(f"{a} {b}" for a, b in itertools.pairwise(found))]


def _near(window: Window) -> list[str]:
    return _terms(window.words)


def _marked_terms(text: str) -> set[str]:
    """The words in the marked parts of a text, and the pairs that end there."""
    present, before, inside = set(), "", False
    for part in text.replace(">>", "<<").split("<<"):
        found = words(part)
        if inside:
            present |= set(_terms([before, *found] if before else found)) - {before}
            present |= set(found)
        before = found[-1] if found else before
        inside = not inside
    return present


def _digest(latent: Shown) -> str:
    windows = [[window.place, window.pieces, window.activations] for window in (*latent.positives, *latent.negatives)]
    return hashlib.sha256(json.dumps(windows).encode()).hexdigest()
