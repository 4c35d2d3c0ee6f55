"""Chains of SAEs to stitch."""

import itertools

from sae_stability.errors import StudyError
from sae_stability.study.parts import Cohort, ExternalCohort, Stitch
from sae_stability.study.schema import look_up


def stitch_of(slug: str, given: dict, cohorts: dict[str, Cohort | ExternalCohort], threshold: float) -> Stitch:
    """A chain from its settings, with defaults filled in.

    Args:
        slug: its name.
        given: its settings.
        cohorts: those of the study, by name.
        threshold: the study's, for a chain without one of its own.

    Raises:
        StudyError: no such cohort or SAE, or SAEs that cannot be stitched.
    """
    where = f"stitches.{slug}.chain"
    chain = tuple(_sae(f"{where}[{i}]", link, cohorts) for i, link in enumerate(given["chain"]))
    for i, pair in enumerate(itertools.pairwise(chain), 1):
        _check_neighbours(f"{where}[{i}]", pair, cohorts)
    settings = {name: given[name] for name in ("order", "order_seed", "bias")}
    own = given["threshold"]
    found = Stitch(slug, chain, threshold if own is None else own, paired=given["pairs"], **settings)
    if twice := next((small for small, large in found.pairs.values() if small == large), None):
        raise StudyError(
            f"{where}: holds {twice[0]}, seed {twice[1]}, twice; with pairs: all each SAE stands there once"
        )
    return found


def _sae(where: str, link: dict, cohorts: dict[str, Cohort | ExternalCohort]) -> tuple[str, int]:
    cohort = look_up(f"{where}.cohort", link["cohort"], cohorts)
    if cohort.pass_ is None:
        raise StudyError(f"{where}: cohort {cohort.slug} has no activations to measure on; give it a pass")
    seed = cohort.seeds[0] if link["seed"] is None else link["seed"]
    if seed not in cohort.seeds:
        known = ", ".join(map(str, cohort.seeds))
        raise StudyError(f"{where}.seed: {seed}, but the seeds of cohort {cohort.slug} are {known}")
    return cohort.slug, seed


def _check_neighbours(where: str, pair: tuple, cohorts: dict[str, Cohort | ExternalCohort]) -> None:
    (first, _), (second, _) = pair
    small, large = cohorts[first], cohorts[second]
    if pair[0] == pair[1]:
        raise StudyError(f"{where}: the same SAE as the one before it; name another cohort or seed")
    if (small.pass_, small.hookpoint) != (large.pass_, large.hookpoint):
        raise StudyError(
            f"{where}: cohort {second} reads {large.hookpoint} of pass {large.pass_.slug}, but {first} before it "
            f"{small.hookpoint} of pass {small.pass_.slug}; all SAEs of a chain must read the same"
        )
    if small.n_latents > large.n_latents:
        raise StudyError(
            f"{where}: cohort {second} has {large.n_latents:,} latents, {first} before it {small.n_latents:,}; write "
            "the chain from small to large"
        )
