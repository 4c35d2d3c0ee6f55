"""Balanced accuracy, AUROC and F1 of predictions, each with a 95 % interval that is never empty.

Intervals are of the sampled texts: they say how much a score would move with other texts of the same latent.
"""

import math

import numpy as np

Z = 1.959963984540054  # 97.5 % point of the normal distribution
NAMES = ("balanced_accuracy", "auroc", "f1")


def measures(positive: np.ndarray, negative: np.ndarray, threshold: float) -> dict[str, float]:
    """The three measures and their intervals, as `NAME`, `NAME_low` and `NAME_high`.

    Args:
        positive: scores of texts in which the latent fires, `(p,)`, at least one.
        negative: scores of texts in which it does not, `(n,)`, at least one.
        threshold: a score above it predicts that the latent fires.
    """
    hits, false_alarms = int((positive > threshold).sum()), int((negative > threshold).sum())
    p, n = len(positive), len(negative)
    found = {
        "balanced_accuracy": _balanced_accuracy(hits, p, n - false_alarms, n),
        "auroc": _auroc(positive, negative),
        "f1": _f1(hits, p - hits, false_alarms),
    }
    parts = ("", "_low", "_high")
    return {f"{name}{part}": value for name, values in found.items() for part, value in zip(parts, values, strict=True)}


def wilson(successes: int, trials: int) -> tuple[float, float, float]:
    """A proportion and its 95 % interval (Wilson, 1927)."""
    share = successes / trials
    centre = (share + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z / (1 + Z**2 / trials) * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    return share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def best_threshold(positive: np.ndarray, negative: np.ndarray) -> float:
    """The threshold of the highest balanced accuracy; of several, the middle of the widest gap between scores.

    Every score above it predicts that the latent fires.
    """
    scores = np.unique(np.concatenate([positive, negative]))
    if len(scores) == 1:
        return float(scores[0])
    cuts, gaps = (scores[1:] + scores[:-1]) / 2, np.diff(scores)
    accuracy = [(np.mean(positive > cut) + np.mean(negative <= cut)) / 2 for cut in cuts]
    best = max(range(len(cuts)), key=lambda place: (round(accuracy[place], 12), gaps[place]))
    return float(cuts[best])


def _balanced_accuracy(hits: int, p: int, rejections: int, n: int) -> tuple[float, float, float]:
    """Mean of two proportions, its interval from those of both (Newcombe, 1998, method 10, for a sum)."""
    (a, a_low, a_high), (b, b_low, b_high) = wilson(hits, p), wilson(rejections, n)
    low, high = math.hypot(a - a_low, b - b_low) / 2, math.hypot(a_high - a, b_high - b) / 2
    value = (a + b) / 2
    return value, max(0.0, value - low), min(1.0, value + high)


def _auroc(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float, float]:
    """The chance that a positive scores above a negative, ties half; interval by Newcombe (2006), method 5."""
    order = positive[:, None] - negative[None, :]
    value = float(((order > 0).sum() + (order == 0).sum() / 2) / order.size)
    p, n = order.shape
    half = (p + n) / 2 - 1

    def spread(theta: float) -> float:
        return theta * (1 - theta) * (1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)) / (p * n)

    return value, _bound(value, 0.0, spread), _bound(value, 1.0, spread)


def _bound(value: float, end: float, spread) -> float:
    """Where the distance from `value` towards `end` equals Z standard deviations, by bisection."""
    inner, outer = value, end
    for _ in range(50):
        middle = (inner + outer) / 2
        if abs(middle - value) < Z * math.sqrt(spread(middle)):
            inner = middle
        else:
            outer = middle
    return outer if abs(end - value) > 0 else end


def _f1(hits: int, misses: int, false_alarms: int) -> tuple[float, float, float]:
    """F1, its interval that of hits / (hits + misses + false alarms), of which it is a function."""
    value, low, high = wilson(hits, hits + misses + false_alarms)
    return 2 * value / (1 + value), 2 * low / (1 + low), 2 * high / (1 + high)
