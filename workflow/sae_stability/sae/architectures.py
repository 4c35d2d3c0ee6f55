"""The architectures by name. To add one: a module in `training.steps`, a line here, a line in `formats.own.TRAINED`."""

from typing import NamedTuple


class Entry(NamedTuple):
    """An architecture: the module of its training step, and which of the `OPTIONAL` settings it uses."""

    module: str
    settings: tuple[str, ...] = ()


REGISTRY = {
    "topk": Entry("sae_stability.sae.training.steps.topk", ("auxk_alpha", "product_dtype")),
    "batchtopk": Entry("sae_stability.sae.training.steps.batchtopk", ("auxk_alpha",)),
    "matryoshka": Entry("sae_stability.sae.training.steps.matryoshka", ("auxk_alpha", "groups")),
    "relu": Entry("sae_stability.sae.training.steps.relu"),
    "gated": Entry("sae_stability.sae.training.steps.gated"),
    "jumprelu": Entry("sae_stability.sae.training.steps.jumprelu", ("bandwidth",)),
}

OPTIONAL = ("auxk_alpha", "bandwidth", "groups", "product_dtype")
"""Settings that only some architectures use."""

UNSET = (None, 0, "float32")
"""Values that leave an optional setting unused."""


def useless_setting(name: str, settings: dict) -> str | None:
    """An error message if `settings` sets an option that architecture `name` does not use, else None."""
    for setting in OPTIONAL:
        if settings.get(setting) not in UNSET and setting not in REGISTRY[name].settings:
            users = ", ".join(other for other, entry in REGISTRY.items() if setting in entry.settings)
            return f"{setting}: {settings[setting]} given, but {name} does not use it (only {users}); leave it out"
    return None
