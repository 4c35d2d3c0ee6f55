"""The architectures by name. A new one is a module here and a line below."""

from typing import NamedTuple


class Entry(NamedTuple):
    """An architecture's module and which of `OPTIONAL` mean something to it.

    The module's name is written in full: `code_hash` finds it by that.
    """

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
"""Settings that some architectures have no use for."""

UNSET = (None, 0, "float32")
"""What they are where nothing is asked of them."""


def useless_setting(name: str, settings: dict) -> str | None:
    """What is wrong where `settings` sets something that architecture `name` has no use for; else None."""
    for setting in OPTIONAL:
        if settings.get(setting) not in UNSET and setting not in REGISTRY[name].settings:
            users = ", ".join(other for other, entry in REGISTRY.items() if setting in entry.settings)
            return f"{setting}: {settings[setting]} given, but {name} has no use for it (only {users}); leave it out"
    return None
