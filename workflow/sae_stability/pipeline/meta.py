"""Meta-SAEs -> their baselines, and how they take latents apart, where a figure asks for it; one job a cohort."""

import math
from typing import TYPE_CHECKING

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline.command import flags, keyed
from sae_stability.pipeline.cost import Cost, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "meta-baselines"
"""The verb that makes the results."""

_RETRAINED = 2  # baselines whose encoder is trained: a smaller SAE's directions, and random ones
_SECONDS = 36.0  # of a job, for baselines without training, such as principal components and clusters
_PART_BYTES = 12  # a latent in the table of parts
_PAIR_BYTES = 40  # a pair of rows in a block of the graphs, of 256 rows with all


def cohorts(study: Study) -> list[Cohort]:
    """The cohorts of meta-SAEs that some figure draws."""
    drawn = [figure for figure in study.figures.values() if "meta" in FIGURES[figure.figure].extra]
    return [study.cohorts[slug] for slug in dict.fromkeys(slug for figure in drawn for _, slug in figure.inputs)]


def lenders(study: Study, cohort: Cohort) -> list[Cohort | ExternalCohort]:
    """The cohorts whose first SAE lends its directions to the baselines: those of the right width."""
    named = [study.cohorts[slug] for slug in study.meta_directions]
    return [other for other in named if other.d_model == cohort.d_model]


def flat(study: Study, cohort: Cohort) -> list[Cohort | ExternalCohort]:
    """The cohorts whose stability stands beside that of the meta-SAEs: lenders and those taken apart, with pairs."""
    taken_apart = [study.cohorts[slug] for slug in dict.fromkeys(slug for slug, _ in cohort.pass_.decoder_of)]
    return list({other.slug: other for other in (*taken_apart, *lenders(study, cohort)) if other.pairs}.values())


def depths(study: Study, cohort: Cohort) -> list[tuple[str, Cohort | ExternalCohort]]:
    """Cohorts with pairs that show how stability changes with depth, each with its label.

    The label is a cohort's depth: 0 for SAEs of activations, else one more than what the cohort takes apart. These are
    the cohort itself, what it takes apart, what that takes apart, and so on. Then come SAEs of activations that lend
    directions. Their label is "flat" and the depth of the meta-SAEs with the most similar number of latents.
    """
    found, left = {}, [cohort]
    while left:
        one = left.pop(0)
        found[one.slug] = one
        left += [study.cohorts[slug] for slug, _ in _taken_apart(one)]
    steps = [(_depth(study, one), one) for one in found.values() if one.pairs]
    flat_ones = [other for other in lenders(study, cohort) if other.pairs and not _depth(study, other)]
    return [
        *((str(depth), one) for depth, one in steps),
        *((f"flat {_beside(other, steps)}", other) for other in flat_ones if other.slug not in found),
    ]


def _taken_apart(cohort: Cohort | ExternalCohort) -> tuple[tuple[str, int], ...]:
    return cohort.pass_.decoder_of if cohort.pass_ else ()


def _depth(study: Study, cohort: Cohort | ExternalCohort) -> int:
    return max((1 + _depth(study, study.cohorts[slug]) for slug, _ in _taken_apart(cohort)), default=0)


def _beside(flat: Cohort | ExternalCohort, steps: list[tuple[int, Cohort | ExternalCohort]]) -> int:
    """The depth of the meta-SAEs whose number of latents is nearest, as a ratio."""
    ratios = [(abs(math.log(one.n_latents / flat.n_latents)), depth) for depth, one in steps if depth]
    return min(ratios)[1]


def jobs(pipeline: "Pipeline") -> list[str]:
    """The cohorts with anything to measure."""
    return pipeline.unfinished["meta"]


def inputs(pipeline: "Pipeline", cohort: Cohort) -> list[str]:
    """The decoder rows, the meta-SAEs, and the SAEs that lend directions."""
    places, at = pipeline.results, (cohort.pass_, cohort.hook_slug, 0)
    saes = [(cohort.slug, seed) for seed in cohort.seeds]
    saes += [(other.slug, other.seeds[0]) for other in lenders(pipeline.study, cohort)]
    files = [file(*sae) for sae in saes for file in (places.settings, places.weights)]
    return [places.manifest(*at), *places.shards(*at), *files]


def outputs(pipeline: "Pipeline", cohort: Cohort) -> list[str]:
    """The tables of a cohort; the first says what they were made from."""
    return pipeline.results.meta(cohort.slug)


def results(pipeline: "Pipeline") -> dict:
    """The tables of every such cohort, and what they are made from."""
    return {
        cohort.slug: (outputs(pipeline, cohort), pipeline.fingerprints.meta(cohort))
        for cohort in cohorts(pipeline.study)
    }


def reads(pipeline: "Pipeline", slug: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.cohorts[slug])


def command(pipeline: "Pipeline", cohort: Cohort) -> str:
    """The rows, the meta-SAEs, what lends directions, and the tables."""
    places, marks, study = pipeline.results, pipeline.fingerprints, pipeline.study
    chunk = places.activations(cohort.pass_, cohort.hook_slug, 0)
    words = [flags(chunk=chunk, activations_hash=marks.activations(cohort.pass_), config_hash=marks.meta(cohort))]
    words += [
        flags(part=keyed(f"{slug} seed {seed}", study.cohorts[slug].n_latents))
        for slug, seed in cohort.pass_.decoder_of
    ]
    for seed in cohort.seeds:
        words.append(flags(sae=f"{seed}={places.sae(cohort.slug, seed)}", sae_hash=f"{seed}={marks.sae(cohort, seed)}"))
    for other in lenders(study, cohort):
        folder, made_from = places.sae(other.slug, other.seeds[0]), marks.sae(other, other.seeds[0])
        words.append(flags(directions=f"{other.slug}={folder}", directions_hash=f"{other.slug}={made_from}"))
    names = ("out", "parts_out", "cosines_out", "graph_out")
    words.append(flags(**dict(zip(names, outputs(pipeline, cohort), strict=True))))
    return " ".join(words)


def memory(study: Study, cohort: Cohort) -> int:
    """What a job takes, in MB.

    These are the rows, the meta-SAE, all cosines with a smaller SAE (and which of them exceed a value, at worst all),
    and a block of the pairs of rows. Nothing grows with the square of the rows.
    """
    rows, saes = cohort.pass_.train_rows, 20 * 4 * cohort.n_latents * cohort.d_model
    lent = max((other.n_latents for other in lenders(study, cohort)), default=0)
    return megabytes(16 * rows * cohort.d_model, 14 * rows * lent, saes, _PAIR_BYTES * 256 * rows, 10**9)


def threads(cohort: Cohort) -> int:
    """Cores of a job."""
    return sae_threads(cohort, len(cohort.seeds))


def cost(study: Study, rates: Rates) -> Cost | None:
    """Retraining takes as long as training. None where no figure asks for it."""
    found = cohorts(study)
    if not found:
        return None
    tokens = written = read = 0
    operations = 0.0
    for cohort in found:
        seen = (_RETRAINED + len(lenders(study, cohort)) - 1) * len(cohort.seeds) * cohort.steps * cohort.batch_size
        tokens += seen
        written += len(cohort.seeds) * cohort.pass_.train_rows * _PART_BYTES
        read += cohort.pass_.train_rows * row_bytes(cohort.pass_) + len(cohort.seeds) * sae_bytes(cohort)
        operations += seen * (2 * cohort.n_latents + 8 * cohort.k) * cohort.d_model
    # Decoder rows are few, so a job has no use for a GPU.
    spent = on_device(rates.of_a_core, len(found), sae=operations, moved=read + written, seconds=len(found) * _SECONDS)
    return Cost("meta", len(found), tokens, **spent, read=read, written=written, peak=written)
