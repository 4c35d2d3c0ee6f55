"""SAEs of a chain -> what the larger of each two neighbours has that the smaller one lacks; one job a chain."""

from typing import TYPE_CHECKING

from sae_stability.pipeline.activations import HELDOUT
from sae_stability.pipeline.command import flags, model_flags
from sae_stability.pipeline.cost import Cost, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads, shard_bytes
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Stitch

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_LATENT_BYTES = 150  # a latent of both SAEs, in all tables
_PAIR_SECONDS = 4.5  # of a pair, besides rows through SAEs: components and tables
_PASSES = 3  # of the rows through an SAE: the error of every change, of the path, and of the stitched SAE


def jobs(pipeline: "Pipeline") -> dict[str, list[int]]:
    """The chains with pairs to stitch, and the numbers of these pairs."""
    found: dict[str, list[int]] = {}
    for slug, number in pipeline.unfinished["stitch"]:
        found.setdefault(slug, []).append(number)
    return found


def inputs(pipeline: "Pipeline", slug: str, numbers: list[int]) -> list[str]:
    """The SAEs of these pairs, and the held-out rows."""
    places, stitch = pipeline.results, pipeline.study.stitches[slug]
    cohort = pipeline.study.cohorts[stitch.chain[0][0]]
    files = [places.manifest(cohort.pass_, cohort.hook_slug, HELDOUT)]
    files += places.shards(cohort.pass_, cohort.hook_slug, HELDOUT)
    saes = [stitch.chain[place] for place in _places(stitch, numbers)]
    if cohort.pass_.tokens:
        files.append(places.heldout_tokens(cohort.pass_.tokens))
    return files + [make(*sae) for sae in saes for make in (places.settings, places.weights)]


def outputs(pipeline: "Pipeline", slug: str, numbers: list[int]) -> list[str]:
    """What is written of these pairs."""
    return [file for number in numbers for file in pipeline.results.stitch_files(slug, number)]


def all_outputs(pipeline: "Pipeline") -> list[str]:
    """What is written of all pairs of all chains."""
    return [file for files, _ in results(pipeline).values() for file in files]


def results(pipeline: "Pipeline") -> dict:
    """The files of every pair, and what they are made from."""
    return {
        (slug, number): (
            pipeline.results.stitch_files(slug, number),
            pipeline.fingerprints.stitch(stitch, number),
        )
        for slug, stitch in pipeline.study.stitches.items()
        for number in stitch.pairs
    }


def reads(pipeline: "Pipeline", slug: str, number: int) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, slug, [number])


def command(pipeline: "Pipeline", slug: str, numbers: list[int]) -> str:
    """The settings, the rows, the SAEs by their place in the chain, and the folder of each pair."""
    places, marks, study = pipeline.results, pipeline.fingerprints, pipeline.study
    stitch = study.stitches[slug]
    cohort = study.cohorts[stitch.chain[0][0]]
    words = [
        flags(
            chunk=places.activations(cohort.pass_, cohort.hook_slug, HELDOUT),
            activations_hash=marks.activations(cohort.pass_),
            threshold=stitch.threshold,
            order=stitch.order,
            order_seed=stitch.order_seed,
            bias=stitch.bias,
            device=study.device,
        )
    ]
    if cohort.pass_.tokens:
        tokens = places.heldout_tokens(cohort.pass_.tokens)
        words += [flags(tokens=tokens, hookpoint=cohort.hookpoint), model_flags(cohort.pass_.model)]
    for place in _places(stitch, numbers):
        name, seed = stitch.chain[place]
        made_from = marks.sae(study.cohorts[name], seed)
        words.append(flags(sae=f"{place}={places.sae(name, seed)}", sae_hash=f"{place}={made_from}"))
    for number in numbers:
        pair = "{}-{}".format(*stitch.places[number])
        made_from = marks.stitch(stitch, number)
        words.append(flags(out=f"{pair}={places.stitch(slug, number)}", config_hash=f"{pair}={made_from}"))
    return " ".join(words)


def memory(pipeline: "Pipeline", slug: str) -> int:
    """What a job takes, in MB."""
    cohorts = _cohorts(pipeline.study, pipeline.study.stitches[slug])
    largest = max(cohort.n_latents for cohort in cohorts)
    saes = 10 * 4 * largest * cohorts[0].d_model
    return megabytes(saes, 400 * largest, 3 * shard_bytes(cohorts[0].pass_), 10**9)


def threads(pipeline: "Pipeline", slug: str) -> int:
    """Cores of a job."""
    return sae_threads(max(_cohorts(pipeline.study, pipeline.study.stitches[slug]), key=lambda one: one.n_latents), 2)


def cost(study: Study, rates: Rates) -> Cost | None:
    """The held-out rows go through both SAEs of each pair. None where nothing is stitched."""
    if not study.stitches:
        return None
    tokens = written = read = 0
    operations = 0.0
    for stitch in study.stitches.values():
        for pair in stitch.pairs.values():
            small, large = (study.cohorts[name] for name, _ in pair)
            latents, rows = small.n_latents + large.n_latents, small.pass_.heldout_rows
            tokens += rows
            written += latents * (_LATENT_BYTES + 8 * small.d_model)
            read += _PASSES * rows * row_bytes(small.pass_) + sae_bytes(small) + sae_bytes(large)
            operations += 2.0 * _PASSES * rows * latents * small.d_model
    pairs = sum(len(stitch.pairs) for stitch in study.stitches.values())
    spent = on_device(rates, len(study.stitches), sae=operations, moved=read, seconds=pairs * _PAIR_SECONDS)
    return Cost("stitch", len(study.stitches), tokens, **spent, read=read, written=written, peak=written)


def _cohorts(study: Study, stitch: Stitch) -> list[Cohort | ExternalCohort]:
    return [study.cohorts[name] for name, _ in stitch.chain]


def _places(stitch: Stitch, numbers: list[int]) -> list[int]:
    """The places in the chain of the SAEs of these pairs."""
    return sorted({place for number in numbers for place in stitch.places[number]})
