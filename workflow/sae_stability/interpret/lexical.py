"""A judge without a language model: the words and pairs of words that tell where a latent fires."""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence

from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import EMPTY, OK, Reply
from sae_stability.interpret.samples import Shown
from sae_stability.interpret.windows import Window, words

_PRIOR = 0.5  # added to every count, so that a word seen once does not outweigh all others
_LEAST_EVIDENCE = 0.2  # nats, see `_evidence`: a word in a fifth of the windows and e times rarer elsewhere has as much
# What stands before each list of an explanation, and how much its terms count.
_LABELS = {"fires on": 1.0, "in phrases": 1.0, "near": 0.5}


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
        size = total - len(latent.positives) + len(latent.negatives)

        def evidence(term: str, count: int) -> float:
            # The latent's own windows are no background.
            outside = everywhere[term] - near[term] + without[term]
            return _evidence(count, len(latent.positives), outside, size)

        def strongest(counts: Counter) -> list[str]:
            found = {term: evidence(term, count) for term, count in counts.items() if count > 1}
            kept = [term for term, nats in found.items() if nats >= _LEAST_EVIDENCE]
            return sorted(kept, key=lambda term: (-found[term], term))[: self.terms]

        # A latent without any telling word still has words that it fires on.
        on = strongest(fires) or [term for term, _ in sorted(fires.items(), key=lambda item: (-item[1], item[0]))[:3]]
        # A phrase says more than its word only if it is nearly as telling.
        phrases = Counter(
            {
                phrase: count
                for phrase, count in phrases.items()
                if evidence(phrase, count) > evidence(word := phrase.split()[1], fires[word]) / 2
            }
        )
        single = Counter({term: count for term, count in near.items() if " " not in term and term not in on})
        lists = (on, strongest(phrases), strongest(single))
        parts = [f"{label} {_quoted(terms)}" for label, terms in zip(_LABELS, lists, strict=True) if terms]
        return Reply(OK, "; ".join(parts)) if parts else Reply(EMPTY)

    def _answers(self, question: Question, *, marked: bool) -> list[Reply]:
        weights = term_weights(question.explanation)
        scores = []
        for text in question.texts:
            present = _marked_terms(text) if marked else _terms_of(text)
            scores.append(sum(weight for term, weight in weights.items() if term in present))
        return [Reply(OK, float(score)) for score in scores]


def term_weights(explanation: str) -> dict[str, float]:
    """The terms of an explanation and their weights.

    In each list the first term counts whole, the second a half, the third a third and so on, times the weight of the
    list. An explanation by a language model has no lists: each of its words counts 1.
    """
    parts = re.split(f"; (?={'|'.join(f'{label} ' for label in _LABELS)})", explanation)
    lists = [_unquoted(part) for part in parts]
    if None in lists:
        return dict.fromkeys(words(explanation), 1.0)
    weights: dict[str, float] = {}
    for weight, terms in lists:
        for place, term in enumerate(terms, start=1):
            weights[term] = max(weights.get(term, 0.0), weight / place)
    return weights


def _quoted(terms: list[str]) -> str:
    return ", ".join(json.dumps(term, ensure_ascii=False) for term in terms)


def _unquoted(part: str) -> tuple[float, list[str]] | None:
    """The weight and the terms of one list, or None if the part is no such list."""
    label = next((label for label in _LABELS if part.startswith(f"{label} ")), None)
    try:
        return None if label is None else (_LABELS[label], list(map(str, json.loads(f"[{part.removeprefix(label)}]"))))
    except ValueError:
        return None


def _evidence(inside: int, windows: int, outside: int, others: int) -> float:
    """How much more often a term occurs in the latent's windows than in others, in nats, weighted by how often."""
    rate = (inside + _PRIOR) / (windows + 2 * _PRIOR)
    other_rate = (outside + _PRIOR) / (others + 2 * _PRIOR)
    return rate * math.log(rate / other_rate)


def _terms(found: Sequence[str]) -> list[str]:
    """The words, and the pairs of neighbours."""
    return [*found, *(f"{a} {b}" for a, b in itertools.pairwise(found))]


@functools.lru_cache(maxsize=20_000)
def _terms_of(text: str) -> frozenset[str]:
    # A text is asked about on several draws, and for several latents.
    return frozenset(_terms(words(text)))


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
