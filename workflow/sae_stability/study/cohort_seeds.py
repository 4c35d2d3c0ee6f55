"""The seeds of a cohort's SAEs. They differ in the initial weights, in the order of the data, or in both."""

import dataclasses

from sae_stability.errors import StudyError
from sae_stability.study.parts import Cohort


def with_defaults(defaults: dict, given: dict, where: str) -> dict:
    """A cohort's settings laid over the defaults; its own `order_seed` also replaces `order_seeds` of the defaults.

    Raises:
        StudyError: one of the two mappings holds both.
    """
    for place, settings in (("cohort_defaults", defaults), (where, given)):
        if None not in (settings.get("order_seed"), settings.get("order_seeds")):
            raise StudyError(f"{place}.order_seeds: given together with order_seed; keep one of the two")
    hidden = {"order_seeds": None} if "order_seed" in given else {}
    return {**defaults, **hidden, **given}


def seeds_of(given: dict, where: str) -> dict[str, tuple[int, ...]]:
    """The `init_seeds` and `order_seeds` of a cohort, from settings with defaults filled in.

    Several of one kind and one of the other: the first kind varies. As many of both: both vary, in pairs.

    Raises:
        StudyError: there is a single SAE, or the two lists differ in length.
    """
    order = given["order_seeds"] or [given["order_seed"]]
    init = given["init_seeds"] or ([0] if given["order_seeds"] else [0, 1])
    if len(init) == len(order) == 1:
        raise StudyError(f"{where}.init_seeds: needs at least 2, has 1; a single one needs order_seeds beside it")
    if 1 not in (len(init), len(order)) and len(init) != len(order):
        raise StudyError(
            f"{where}.order_seeds: has {len(order)}, but init_seeds has {len(init)}; give as many of both, in pairs "
            "(both vary), or a single init seed (the order varies alone)"
        )
    return {"init_seeds": tuple(init), "order_seeds": tuple(order)}


def with_seeds_of(cohort: Cohort, other: Cohort, where: str) -> Cohort:
    """`cohort` with the seeds of `other` added, which trains the same.

    Raises:
        StudyError: both kinds of seed vary, and a seed would have two partners.
    """
    pairs = dict.fromkeys([*cohort.sae_seeds.values(), *other.sae_seeds.values()])
    init, order = (tuple(dict.fromkeys(kind)) for kind in zip(*pairs, strict=True))
    if cohort.varied == "both" and not len(init) == len(order) == len(pairs):
        raise StudyError(
            f"{where}.order_seeds: their pairs with init seeds differ from those of cohort {cohort.slug}, which trains "
            "the same; use its pairs, or seeds that it does not have"
        )
    return dataclasses.replace(cohort, init_seeds=init, order_seeds=order)
