"""Overlap tables -> a tidy table a figure -> the figure and its caption."""

from typing import TYPE_CHECKING

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline import choice, explain, meta
from sae_stability.pipeline.command import flags, folders, keyed
from sae_stability.pipeline.consensus import TABLES as CONSENSUS_TABLES
from sae_stability.pipeline.cost import Cost, on_cores
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Figure

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_TABLE_SECONDS, _DRAWING_SECONDS = 1.0, 3.5  # of one, besides the start of its job

VERB = "figure-table"
"""The verb that makes the results."""

_FIGURE_BYTES = 500_000  # a figure in all formats, with its table


def inputs(pipeline: "Pipeline", figure: Figure) -> dict[str, list[str]]:
    """The files that a figure's table is made from: overlap tables, and what its kind reads besides."""
    places, wanted = pipeline.results, FIGURES[figure.figure].extra
    cohorts = [pipeline.study.cohorts[cohort] for _, cohort in figure.inputs]
    return {
        "tables": [
            file for _, cohort in labelled(pipeline.study, figure) for file in places.overlap_tables(cohort.slug)
        ],
        "matches": [places.match(cohort.slug, *cohort.pairs[0]) for cohort in cohorts if "match" in wanted],
        "pairs": [
            make(cohort.slug, *pair)
            for name, make in (("matches", places.match), ("cofiring", places.cofiring))
            for cohort in cohorts
            for pair in cohort.pairs
            if name in wanted
        ],
        "firing": [places.firing(*sae) for sae in _saes(pipeline.study, figure) if "firing" in wanted],
        "quality": [places.quality(*sae) for sae in _saes(pipeline.study, figure) if "evaluation" in wanted],
        "substitution": [
            file
            for cohort in cohorts
            for pair in cohort.pairs
            for file in places.substitution(cohort.slug, *pair)
            if "substitution" in wanted
        ],
        "consensus": [
            places.consensus(cohort.slug, f"{name}.parquet")
            for cohort in cohorts
            for name in CONSENSUS_TABLES
            if "consensus" in wanted
        ],
        "meta": [file for cohort in cohorts if "meta" in wanted for file in _meta(pipeline, cohort)],
        "flat": [
            file
            for cohort in cohorts
            if "meta" in wanted
            for other in meta.flat(pipeline.study, cohort)
            for file in places.overlap_tables(other.slug)
        ],
        "stitch": [file for _, file in stitched(pipeline, figure)],
        "scores": [places.scores(*names) for names in scored(pipeline.study, figure)],
        "explained": [file for c in cohorts if "explained" in wanted for file in interpreted_files(pipeline, c)],
        "similarity": [
            places.similarity(pipeline.study.interpret.drawn[0], c.slug) for c in cohorts if "similarity" in wanted
        ],
    }


def results(pipeline: "Pipeline") -> dict:
    """The table of every figure, and what it is made from."""
    places = pipeline.results
    return {
        slug: ([places.figure(slug, ending) for ending in ("parquet", "csv")], pipeline.fingerprints.table(figure))
        for slug, figure in pipeline.study.figures.items()
    }


def reads(pipeline: "Pipeline", slug: str) -> dict[str, list[str]]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.figures[slug])


def table_command(pipeline: "Pipeline", figure: Figure) -> str:
    """The kind of figure, and label and place of every source: a cohort's folder of overlap tables, or a file."""
    files = inputs(pipeline, figure)
    cohorts = [cohort for _, cohort in figure.inputs]
    labels = [label for label, _ in labelled(pipeline.study, figure)]
    sources = list(zip(labels, folders(files["tables"]), strict=True))
    sources += stitched(pipeline, figure)
    if files["matches"]:
        sources += zip(cohorts, files["matches"], strict=True)
    if files["quality"]:
        sources += zip((cohort for cohort, _ in _saes(pipeline.study, figure)), files["quality"], strict=True)
    # Only figures of one cohort read these.
    sources += [(cohorts[0], folder) for folder in folders(files["flat"])]
    alone = ("pairs", "firing", "explained", "similarity", "substitution", "consensus", "meta")
    sources += [(cohorts[0], file) for name in alone for file in files[name]]
    names = ("/".join(names[:3]) for names in scored(pipeline.study, figure))
    sources += zip(names, files["scores"], strict=True)
    first = flags(figure=figure.figure, config_hash=pipeline.fingerprints.table(figure))
    return " ".join([first, *(flags(input=keyed(label, path)) for label, path in sources)])


def labelled(study: Study, figure: Figure) -> list[tuple[str, Cohort | ExternalCohort]]:
    """The cohorts whose overlap tables a figure reads, each with the label under which its kind expects them."""
    if "depths" in FIGURES[figure.figure].extra:
        return [found for _, cohort in figure.inputs for found in meta.depths(study, study.cohorts[cohort])]
    return [(label, study.cohorts[cohort]) for label, cohort in figure.inputs]


def cost(study: Study, rates: Rates) -> Cost:
    """A table and a drawing for each figure."""
    count = len(study.figures)
    spent = on_cores(rates, 2 * count, count * (_TABLE_SECONDS + _DRAWING_SECONDS))
    return Cost("figures", 2 * count, **spent, written=count * _FIGURE_BYTES, peak=count * _FIGURE_BYTES)


def interpreted_files(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> list[str]:
    """Explanations and scores of every SAE of a cohort, and the first one's matches."""
    places, (explainer, scorer) = pipeline.results, pipeline.study.interpret.drawn
    return [
        *(places.explanations(explainer, cohort.slug, seed) for seed in cohort.seeds),
        *(places.scores(explainer, scorer, cohort.slug, seed) for seed in cohort.seeds),
        *explain.matches(pipeline, cohort, list(cohort.seeds)).values(),
    ]


def stitched(pipeline: "Pipeline", figure: Figure) -> list[tuple[str, str]]:
    """Every file of the chain that a figure draws, with the number of its pair.

    Where both SAEs of a pair are of one cohort, their match follows, with the side of the larger SAE: NUMBER/b; and
    the cohort's table of pairs, which says from which cosine a latent counts as shared.
    """
    if figure.stitch is None:
        return []
    places, found = pipeline.results, []
    for number, ((cohort, small), (other, large)) in pipeline.study.stitches[figure.stitch].pairs.items():
        files = places.stitch_files(figure.stitch, number)
        found += [(str(number), file) for file in files if "/sae/" not in file.removeprefix(places.root)]
        if cohort == other:
            side = "b" if small < large else "a"
            found.append((f"{number}/{side}", places.match(cohort, *sorted((small, large)))))
            pairs = next(file for file in places.overlap_tables(cohort) if file.endswith("/pairs.parquet"))
            found.append((f"{number}/overlap", pairs))
    return found


def _meta(pipeline: "Pipeline", cohort: Cohort) -> list[str]:
    """What is measured of a cohort of meta-SAEs."""
    chosen = choice.taken_apart(pipeline.study, cohort) is not None
    return [*pipeline.results.meta(cohort.slug), *([pipeline.results.choice(cohort.slug)] if chosen else [])]


def scored(study: Study, figure: Figure) -> list[tuple[str, str, str, int]]:
    """Explainer, scorer, cohort and seed of every table of scores that a figure reads."""
    if "scores" not in FIGURES[figure.figure].extra:
        return []
    return [
        (*names, cohort, seed)
        for names in study.interpret.scores
        for cohort, seed in _saes(study, figure)
        if cohort in study.interpret.cohorts
    ]


def _saes(study: Study, figure: Figure) -> list[tuple[str, int]]:
    """Cohort and seed of every SAE that a figure is about."""
    return [(cohort, seed) for _, cohort in figure.inputs for seed in study.cohorts[cohort].seeds]
