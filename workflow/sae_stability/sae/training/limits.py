"""Limits of the hyper-parameters of an SAE. Imports neither torch nor numpy.

`TrainSettings` and the schema of a study both take their limits from here.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from sae_stability.ranges import range_fault
from sae_stability.sae.architectures import REGISTRY, useless_setting
from sae_stability.sae.training.budget import Budget

ProductDtype = Literal["float32", "bfloat16"]
InputNormalisation = Literal["none", "centre-scale"]
Control = Literal["frozen-decoder", "frozen-encoder", "soft-frozen-decoder", "untrained"]

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
    "control": {"enum": [*get_args(Control), None]},
}
"""Setting -> its limits, in the keywords of JSON Schema. A `$comment` gives the reason and is part of the error."""


def setting_fault(settings: Mapping) -> str | None:
    """Error message for the first setting outside its limits: name, value, what is allowed. None if all are valid."""
    for name, limits in LIMITS.items():
        value = settings[name]
        if "enum" in limits:
            if value not in limits["enum"]:
                return f"{name}: {value!r} given; allowed: {', '.join(map(str, limits['enum']))}"
        elif value is not None and (fault := range_fault(value, limits)):
            return f"{name}: {fault}"
    return None


def combination_fault(settings: Mapping) -> str | None:
    """Error message if settings contradict each other, though each is within its limits; else None.

    Args:
        settings: every field of `TrainSettings` except the seeds.

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
        return f"tokens: {tokens} given, but in {epochs} epochs that makes no whole batch of {batch_size}; raise tokens"
    if settings["warmup_steps"] >= steps:
        return (
            f"warmup_steps: {settings['warmup_steps']} given, but training has {steps:,} steps "
            f"({tokens:,} tokens in batches of {batch_size:,}); lower it"
        )
    return None
