"""A hash of the code that a verb runs: a change of that code reruns the stage; comments and other code do not count.

Snakemake does not see edits in imported modules. Cheap stages therefore carry this hash in `params`, and expensive ones
in the fingerprint that their result records.
"""

import functools
import hashlib

from sae_stability.pipeline.definitions import Definition, reached, read
from sae_stability.verbs import VERBS

TABLES = ("sae_stability.sae.architectures.REGISTRY", "sae_stability.sae.formats.own.TRAINED")
"""Tables of which a job counts only the entries that it looks up. The caller of `code_hash` names them."""

MODULES = ("sae_stability.sae.format_names.FORMATS",)
"""Tables that say only which module a name stands for. The caller names the module."""

CHECKS = (
    "sae_stability.sae.training.limits.setting_fault",
    "sae_stability.sae.training.limits.combination_fault",
    "sae_stability.figures.registry.check_known",
)
"""Functions that do nothing but refuse a request. They decide whether there is a result, never which."""


def code_hash(verb: str, *loaded: str) -> str:
    """Hash of every definition that a verb's function reaches (`pipeline.definitions`).

    Comments, docstrings, line numbers and formatting do not count. Nor do `MODULES`, `CHECKS` and the command line
    itself (cli.py, flags.py, verbs.py), which hands over arguments and decides nothing.

    Args:
        verb: a name in `verbs.VERBS`.
        loaded: what the verb looks up by a name known only when it runs: dotted names of modules, such as an
            architecture's training step, and entries of `TABLES`, such as
            "sae_stability.sae.architectures.REGISTRY[topk]".

    Returns:
        16 hexadecimal digits.

    Raises:
        KeyError: there is no such verb, module or entry.
    """
    return _hash(verb, loaded)


def definitions(verb: str, *loaded: str) -> list[Definition]:
    """The definitions that `code_hash` covers."""
    return reached([f"{VERBS[verb].module}.{VERBS[verb].name}"], loaded, (*TABLES, *MODULES, *CHECKS))


@functools.cache
def _hash(verb: str, loaded: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for definition in definitions(verb, *loaded):
        digest.update(f"{definition.module} {read(definition).digest}\n".encode())
    return digest.hexdigest()[:16]
