"""Everything that is known of latents -> a site to look at them. One job."""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sae_stability.models.headers import has_lm_head
from sae_stability.models.written import written
from sae_stability.pipeline import consensus, firing, score, score_summary
from sae_stability.pipeline.command import flags, folders, keyed
from sae_stability.pipeline.cost import Cost, on_cores, parameters
from sae_stability.pipeline.modules import PACKAGE
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads
from sae_stability.pipeline.summary import about
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Model

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_LATENT_BYTES = 400  # a row of the tables, packed
_WRITTEN_A_SECOND = 1.5e6  # bytes of the site
_MOST_TOKENS = 262_144  # of the vocabularies in use
_TOKENS = 64_000  # of a usual one
_OPERATIONS_A_SECOND = 2e10  # of a matrix product on a core
_CONTEXTS_SHARE = 0.2  # what packing leaves of a table of contexts


def inputs(pipeline: "Pipeline") -> list[str]:
    """The tables that the site shows."""
    tables = [file for _, _, _, files in _sources(pipeline) for file in files]
    return [*dict.fromkeys([*tables, *_stitched(pipeline)])]


def targets(pipeline: "Pipeline") -> list[str]:
    """The site's first page, in studies that measure firing: without contexts there is little to look at."""
    return [pipeline.results.explorer] if pipeline.study.firing.cohorts else []


def results(pipeline: "Pipeline") -> dict:
    """The site, and what it is made from."""
    places = pipeline.results
    return {"explorer": ([places.explorer_record, places.explorer], pipeline.fingerprints.explorer())}


def reads(pipeline: "Pipeline", _name: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline)


def command(pipeline: "Pipeline") -> str:
    """What the study is about, and the folders of every cohort's tables."""
    study = pipeline.study
    made_from = pipeline.fingerprints.explorer()
    words = [flags(study=study.name, threshold=study.threshold, config_hash=made_from)]
    for cohort in study.compared.values():
        told = about(study, cohort).items()
        words += [flags(about=f"{cohort.slug}={name}: {value}") for name, value in told if value is not None]
    words += [flags(**{flag: f"{name}={folder}"}) for flag, name, folder, files in _sources(pipeline) if files]
    words += [flags(head=keyed(slug, written(model))) for slug, model in heads(study).items()]
    words += [flags(stitch=folder) for folder in folders(_stitched(pipeline))]
    return " ".join(words)


def memory(pipeline: "Pipeline") -> int:
    """What the job takes, in MB: the contexts of one SAE, as a table and unpacked; SAEs, and the head of a model."""
    study = pipeline.study
    contexts = [firing.contexts_bytes(study, study.cohorts[name]) for name in study.firing.cohorts]
    apart = [4 * 4 * (of.n_latents + by.n_latents) * of.d_model for of, _, by in metas(study)]
    found = heads(study)
    apart += [4 * 4 * study.cohorts[slug].n_latents * model.d_model for slug, model in found.items()]
    unembeddings = [_head_bytes(model) for model in found.values()]
    return megabytes(3 * max(contexts, default=0), max(apart, default=0), max(unembeddings, default=0), 10**9)


def threads(pipeline: "Pipeline") -> int:
    """Cores of the job: it multiplies large matrices where it tells which tokens latents boost."""
    cohorts = pipeline.study.cohorts
    return max((sae_threads(cohorts[slug]) for slug in heads(pipeline.study)), default=1)


def _head_bytes(model: Model) -> int:
    """Embeddings, head, and the head with the norm folded in; a model of random weights is loaded whole."""
    whole = 2 * 4 * (parameters(model) or 0)
    alone = 3 * 4 * _MOST_TOKENS * model.d_model
    return max(whole, alone) if model.random_seed is not None else min(whole or alone, alone)


def metas(study: Study) -> list[tuple[Cohort | ExternalCohort, int, Cohort]]:
    """Each SAE that meta-SAEs take apart, by cohort and seed, with the cohort of these; its first SAE is shown."""
    found = [cohort for cohort in study.cohorts.values() if cohort.pass_ and cohort.pass_.decoder_of]
    return [(study.cohorts[name], seed, meta) for meta in found for name, seed in meta.pass_.decoder_of]


def heads(study: Study) -> dict[str, Model]:
    """The models whose head may tell what latents boost, by shown cohort. The job finds out of one on the hub."""
    found = {slug: _model(study, cohort) for slug, cohort in study.compared.items()}
    wide = {slug: model for slug, model in found.items() if model and model.d_model == study.cohorts[slug].d_model}
    return {slug: model for slug, model in wide.items() if has_lm_head(model) is not False}


def _model(study: Study, cohort: Cohort | ExternalCohort) -> Model | None:
    """The model that a cohort reads; of meta-SAEs, the one model behind the latents that they take apart."""
    if cohort.pass_ is None or not cohort.pass_.decoder_of:
        return cohort.pass_ and cohort.pass_.model
    models = {_model(study, study.cohorts[name]) for name, _ in cohort.pass_.decoder_of}
    return models.pop() if len(models) == 1 else None


@functools.cache
def site_digest() -> str:
    """Of the pages' scripts and style: an edit of one makes the site again."""
    digest = hashlib.sha256()
    for file in sorted((PACKAGE / "explorer" / "site").iterdir()):
        digest.update(f"{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def cost(study: Study, rates: Rates) -> Cost | None:
    """One job. None where nothing is measured that it could show."""
    if not study.firing.cohorts:
        return None
    latents = sum(cohort.n_latents * len(cohort.seeds) for cohort in study.compared.values())
    cohorts = [study.cohorts[name] for name in study.firing.cohorts]
    contexts = sum(len(cohort.seeds) * firing.contexts_bytes(study, cohort) for cohort in cohorts)
    written = int(latents * _LATENT_BYTES + contexts * _CONTEXTS_SHARE)
    boosting = [study.cohorts[slug] for slug in heads(study)]
    operations = sum(2.0 * _TOKENS * len(one.seeds) * one.n_latents * one.d_model for one in boosting)
    spent = on_cores(rates, 1, written / _WRITTEN_A_SECOND + operations / _OPERATIONS_A_SECOND)
    return Cost("explorer", 1, **spent, read=contexts, written=written, peak=written)


def _sources(pipeline: "Pipeline") -> Iterator[tuple[str, str, str, list[str]]]:
    """Flag, name and folder of each kind of tables, with the files in it that are read."""
    for cohort in pipeline.study.compared.values():
        yield from _tables(pipeline, cohort)
    study, places = pipeline.study, pipeline.results
    for name in study.interpret.cohorts:
        seeds = study.cohorts[name].seeds
        for explainer in study.interpret.explainers:
            files = [places.explanations(explainer, name, seed) for seed in seeds]
            yield "explanations", f"{explainer}/{name}", _folder(files), files
    for explainer, scorer, name in score.combinations(study):
        files = score_summary.inputs(pipeline, explainer, scorer, name)
        files.append(places.score_summary(explainer, scorer, name))
        yield "scores", f"{explainer}/{scorer}/{name}", _folder(files), files
    apart = metas(study)
    with_head = [(slug, seed) for slug in heads(study) for seed in study.cohorts[slug].seeds]
    for slug, seed in dict.fromkeys([*with_head, *((cohort.slug, seed) for cohort, seed, _ in apart)]):
        yield "sae", f"{seed}/{slug}", places.sae(slug, seed), _sae_files(pipeline, slug, seed)
    for cohort, seed, meta in apart:
        shown = meta.slug, meta.seeds[0]
        yield "meta", f"{seed}/{cohort.slug}", places.sae(*shown), _sae_files(pipeline, *shown)


def _tables(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> Iterator[tuple[str, str, str, list[str]]]:
    places, slug = pipeline.results, cohort.slug
    fires = slug in pipeline.study.firing.cohorts
    grouped = cohort in consensus.cohorts(pipeline.study)
    files = {
        "overlap": places.overlap_tables(slug),
        "evaluation": [places.quality(slug, seed) for seed in cohort.seeds],
        "matches": [places.match(slug, *pair) for pair in cohort.pairs],
        "firing": [places.firing(slug, seed) for seed in cohort.seeds if fires],
        "contexts": [places.contexts(slug, seed) for seed in cohort.seeds if fires and cohort.pass_.tokens],
        "cofiring": [places.cofiring(slug, *pair) for pair in cohort.pairs if fires],
        "consensus": [places.consensus(slug, "groups.parquet")] if grouped else [],
    }
    for flag, some in files.items():
        if some:
            yield flag, slug, _folder(some), some


def _sae_files(pipeline: "Pipeline", cohort: str, seed: int) -> list[str]:
    return [pipeline.results.settings(cohort, seed), pipeline.results.weights(cohort, seed)]


def _stitched(pipeline: "Pipeline") -> list[str]:
    """What stitching says of every pair that the site shows: SAEs, nearest latents, components."""
    study = pipeline.study
    pairs = [
        (slug, number)
        for slug, stitch in study.stitches.items()
        for number, pair in stitch.pairs.items()
        if all(cohort in study.compared for cohort, _ in pair)
    ]
    names = ("stitch.json", "insertions.parquet", "components.parquet")
    return [f"{pipeline.results.stitch(*pair)}/{name}" for pair in pairs for name in names]


def _folder(files: list[str]) -> str:
    return str(Path(files[0]).parent)
