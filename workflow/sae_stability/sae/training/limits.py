"""The limits of an SAE's hyper-parameters, the one place that states them. Needs no torch and no numpy.

`TrainSettings` obeys them, and the schema of a study is filled with them.
"""

import operator
from collections.abc import Mapping
from typing import Literal, get_args

from sae_stability.sae.architectures import REGISTRY, useless_setting
from sae_stability.sae.training.budget import Budget

ProductDtype = Literal["float32", "bfloat16"]
InputNormalisation = Literal["none", "centre-scale"]

LIMITS: dict[str, dict] = {
    "architecture": {"enum": list(REGISTRY)},
    "n_latents": {"minimum": 1},
    "k": {"minimum": 1},
    "tokens": {"minimum": 1},
    "chunk_tokens": {"minimum": 1},
    "epochs": {"minimum": 1},
    "batch_size": {"minimum": 2, "$comment": "one activation has no variance to measure errors by"},
    "learning_rate": {"exclusiveMinimum": 0, "maximum": 1},
    "warmup_steps": {"minimum": 0},
    "auxk_alpha": {"minimum": 0},
    "dead_tokens": {"minimum": 1},
    "bandwidth": {"exclusiveMinimum": 0},
    "groups": {"minimum": 2, "maximum": 16},
    "product_dtype": {"enum": list(get_args(ProductDtype))},
    "normalisation": {"enum": list(get_args(InputNormalisation))},
}
"""Setting -> what is allowed, in the words of JSON Schema. A `$comment` says why, and goes into the error message."""

_BOUNDS = {"minimum": operator.ge, "exclusiveMinimum": operator.gt, "maximum": operator.le}


def range_fault(value: float, limits: Mapping) -> str | None:
    """What is wrong with a number outside the `limits`, to be put behind its name; None where it is inside."""
    if all(holds(value, limits[bound]) for bound, holds in _BOUNDS.items() if bound in limits):
        return None
    reason = f"{limits['$comment']}; " if "$comment" in limits else ""
    return f"{value} given; {reason}it must be {_range(limits)}"


def setting_fault(settings: Mapping) -> str | None:
    """What is wrong with the first setting that breaks its own limit: its name, the value, what is allowed; or None."""
    for name, limits in LIMITS.items():
        value = settings[name]
        if "enum" in limits:
            if value not in limits["enum"]:
                return f"{name}: {value!r} given; allowed: {', '.join(limits['enum'])}"
        elif value is not None and (fault := range_fault(value, limits)):
            return f"{name}: {fault}"
    return None


def combination_fault(settings: Mapping) -> str | None:
    """What is wrong with settings that keep their own limits but do not go together; None where they do.

    Args:
        settings: every field of `TrainSettings`, but for the seeds.

    Returns:
        The name of the setting to change, its value, and what is allowed.
    """
    n_latents, k, groups = settings["n_latents"], settings["k"], settings["groups"]
    if k > n_latents:
        return f"k: {k} given, above n_latents = {n_latents}; lower k"
    if fault := useless_setting(settings["architecture"], settings):
        return fault
    if groups is not None and groups > n_latents:
        return f"groups: {groups} given, above n_latents = {n_latents}; lower groups"
    tokens, epochs, batch_size = settings["tokens"], settings["epochs"], settings["batch_size"]
    steps = Budget(tokens, epochs, settings["chunk_tokens"], batch_size).steps
    if steps == 0:
        return f"tokens: {tokens} given, but in {epochs} epochs that is no whole batch of {batch_size}; raise tokens"
    if settings["warmup_steps"] >= steps:
        return (
            f"warmup_steps: {settings['warmup_steps']} given, but training has {steps:,} steps "
            f"({tokens:,} tokens in batches of {batch_size:,}); lower it"
        )
    return None


def _range(limits: Mapping) -> str:
    """The range that `limits` allow, in words."""
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None and high is not None:
        return f"from {low:,} to {high:,}"
    words = []
    if low is not None:
        words.append(f"at least {low:,}")
    if "exclusiveMinimum" in limits:
        words.append(f"above {limits['exclusiveMinimum']:,}")
    if high is not None:
        words.append(f"at most {high:,}")
    return " and ".join(words)
