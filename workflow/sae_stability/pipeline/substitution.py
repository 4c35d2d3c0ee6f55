"""SAEs -> what latents are worth beside their counterparts, where a figure asks for it; one job a cohort."""

from typing import TYPE_CHECKING

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline.activations import HELDOUT
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost, encode, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads, shard_bytes
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

Pair = tuple[str, int, int]
"""Name of the cohort and the two seeds."""

_PAIR_BYTES = 90  # a latent in the table of a pair
_PAIR_SECONDS, _FIRINGS_A_SECOND = 2.5, 1e5  # of a pair, to hold each latent against its counterpart
_UNKNOWN_K = 64  # latents that fire on a row where an SAE made elsewhere does not say


def cohorts(study: Study) -> list[Cohort | ExternalCohort]:
    """The cohorts that some figure of substitution or pooling draws."""
    drawn = [figure for figure in study.figures.values() if "substitution" in FIGURES[figure.figure].extra]
    return [study.cohorts[slug] for slug in dict.fromkeys(slug for figure in drawn for _, slug in figure.inputs)]


def jobs(pipeline: "Pipeline") -> dict[str, list[Pair]]:
    """The cohorts with pairs to measure, and which."""
    found: dict[str, list[Pair]] = {}
    for pair in pipeline.unfinished["substitution"]:
        found.setdefault(pair[0], []).append(pair)
    return found


def inputs(pipeline: "Pipeline", pairs: list[Pair]) -> list[str]:
    """The SAEs of these pairs, their matches, and the held-out rows."""
    places, cohort = pipeline.results, pipeline.study.cohorts[pairs[0][0]]
    files = [places.manifest(cohort.pass_, cohort.hook_slug, HELDOUT)]
    files += places.shards(cohort.pass_, cohort.hook_slug, HELDOUT)
    files += [make(cohort.slug, seed) for seed in _seeds(pairs) for make in (places.settings, places.weights)]
    return files + [places.match(*pair) for pair in pairs]


def outputs(pipeline: "Pipeline", pairs: list[Pair]) -> list[str]:
    """The tables of these pairs."""
    return [file for pair in pairs for file in pipeline.results.substitution(*pair)]


def results(pipeline: "Pipeline") -> dict:
    """The tables of every pair, and what they are made from."""
    return {
        (cohort.slug, *pair): (
            pipeline.results.substitution(cohort.slug, *pair),
            pipeline.fingerprints.substitution(cohort, *pair),
        )
        for cohort in cohorts(pipeline.study)
        for pair in cohort.pairs
    }


def reads(pipeline: "Pipeline", slug: str, first: int, second: int) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, [(slug, first, second)])


def command(pipeline: "Pipeline", pairs: list[Pair]) -> str:
    """The rows, the SAEs, and each pair with its match and its tables."""
    places, marks, study = pipeline.results, pipeline.fingerprints, pipeline.study
    cohort = study.cohorts[pairs[0][0]]
    words = [
        flags(
            chunk=places.activations(cohort.pass_, cohort.hook_slug, HELDOUT),
            activations_hash=marks.activations(cohort.pass_),
            threshold=study.threshold,
            device=study.device,
        )
    ]
    for seed in _seeds(pairs):
        folder = places.sae(cohort.slug, seed)
        words.append(flags(sae=f"{seed}={folder}", sae_hash=f"{seed}={marks.sae(cohort, seed)}"))
    for slug, a, b in pairs:
        files = {"match": places.match(slug, a, b)}
        files |= zip(("out", "curve_out", "pooling_out"), places.substitution(slug, a, b), strict=True)
        files |= {"config_hash": marks.substitution(cohort, a, b)}
        words.append(flags(**{flag: f"{a}-{b}={value}" for flag, value in files.items()}))
    return " ".join(words)


def memory(pipeline: "Pipeline", pairs: list[Pair]) -> int:
    """What a job takes, in MB."""
    cohort = pipeline.study.cohorts[pairs[0][0]]
    saes = 4 * 4 * cohort.n_latents * cohort.d_model * len(_seeds(pairs))
    return megabytes(saes, 400 * cohort.n_latents * len(pairs), 3 * shard_bytes(cohort.pass_), 10**9)


def threads(pipeline: "Pipeline", pairs: list[Pair]) -> int:
    """Cores of a job."""
    return sae_threads(pipeline.study.cohorts[pairs[0][0]], len(_seeds(pairs)))


def cost(study: Study, rates: Rates) -> Cost | None:
    """The held-out rows go through each SAE once, and latent by latent. None where no figure asks for it."""
    found = cohorts(study)
    if not found:
        return None
    rows = {cohort.slug: cohort.pass_.heldout_rows * len(cohort.seeds) for cohort in found}
    seconds = sum(
        len(cohort.pairs) * (_PAIR_SECONDS + cohort.pass_.heldout_rows * _k(cohort) / _FIRINGS_A_SECOND)
        for cohort in found
    )
    written = sum(len(cohort.pairs) * cohort.n_latents * _PAIR_BYTES for cohort in found)
    read = sum(
        len(cohort.seeds) * sae_bytes(cohort) + cohort.pass_.heldout_rows * row_bytes(cohort.pass_) for cohort in found
    )
    operations = sum(encode(cohort, rows[cohort.slug]) for cohort in found)
    spent = on_device(rates, len(found), sae=operations, moved=read, seconds=seconds)
    return Cost("substitution", len(found), sum(rows.values()), **spent, read=read, written=written, peak=written)


def _k(cohort: Cohort | ExternalCohort) -> int:
    return cohort.k if isinstance(cohort, Cohort) else min(_UNKNOWN_K, cohort.n_latents)


def _seeds(pairs: list[Pair]) -> list[int]:
    return sorted({seed for _, *seeds in pairs for seed in seeds})
