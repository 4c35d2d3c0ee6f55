"""Constants and bias corrections of Adam."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def adam_factors(rate: float, step: int) -> tuple[float, float]:
    """Bias-corrected factors of Adam's step t = `step` (from 1): rate / (1 - b1^t) and 1 / sqrt(1 - b2^t)."""
    return rate / (1 - BETA1**step), (1 - BETA2**step) ** -0.5
