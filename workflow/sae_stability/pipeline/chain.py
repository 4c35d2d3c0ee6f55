"""What every result is made from, by name: the chain from a picture down to the token blocks, the texts and the models.

It is written into the results folder, so that a result can be traced without the study's file, its model or Snakemake.
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sae_stability.pipeline import (
    activations,
    choice,
    consensus,
    corpus,
    evaluate,
    explain,
    explorer,
    figures,
    firing,
    match,
    meta,
    overlap,
    report,
    score,
    score_summary,
    similarity,
    stitch,
    substitution,
    summary,
    workflow_report,
)
from sae_stability.pipeline.contents import Contents
from sae_stability.provenance.links import FORMAT
from sae_stability.study.parts import Model

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_VERBS = {
    "corpus": "tokenize",
    "external": "convert",
    "consensus": "consensus",
    "meta": "meta-baselines",
    "floors": "floor",
    "tables": "figure-table",
    "drawings": "figure",
    "workflow_report": "record",
    "fresh_tokens": "fresh-tokens",
    "similarity": "explanation-similarity",
    "score_summary": "score-summary",
}
"""The verb that makes a stage's results, where it has not the stage's own name."""


def provenance(pipeline: "Pipeline", config: dict) -> dict:
    """What the results folder says of where its results come from.

    Args:
        pipeline: the study's.
        config: the study's whole config, as plain data.

    Returns:
        `format`, `study`, `config`. `sources`: name -> facts of every model, text, matrix and SAE made elsewhere.
        `results`: name -> `verb`, `files`, `config_hash` and `made_from`, the names of other results and of sources.
        `paper`: what the figures and the paper can be made again from. Paths lie below the results folder.
    """
    results = _results(pipeline)
    owners = {file: name for name, result in results.items() for file in result["files"]}
    # Shards are in the list that is their manifest.
    folders = {str(Path(file).parent): name for file, name in owners.items() if file.endswith("/manifest.json")}
    for result in results.values():
        inside = [pipeline.results.below(file) for file in result.pop("inputs")]
        named = [owners.get(file) or folders.get(str(Path(file).parent)) for file in inside]
        result["made_from"] = [*dict.fromkeys([*filter(None, named), *result.pop("sources")])]
    paper = report.paper(pipeline)
    for part in ("evaluation", "figures"):
        paper[part] = [[name, pipeline.results.below(file)] for name, file in paper[part]]
    return {
        "format": FORMAT,
        "study": pipeline.study.name,
        "config": config,
        "sources": _sources(pipeline),
        "results": results,
        "paper": paper | {"overlap": pipeline.results.below(paper["overlap"]), "style": pipeline.study.style},
    }


def _results(pipeline: "Pipeline") -> dict[str, dict]:
    """Every result by its name, with the files and the sources that it is made from."""
    from sae_stability.pipeline import FINGERPRINTED

    found = {}
    for stage, module in FINGERPRINTED.items():
        for name, (files, fingerprint) in module.results(pipeline).items():
            words = (name,) if isinstance(name, str) else name
            inputs = _INPUTS[stage](pipeline, *words) if stage in _INPUTS else []
            found[" ".join(map(str, (stage, *words)))] = {
                "verb": _verb(pipeline, stage, words),
                "files": [pipeline.results.below(file) for file in files],
                "config_hash": fingerprint,
                "inputs": _flat(inputs),
                "sources": _sources_of(pipeline, stage, words),
            }
    return found


def _verb(pipeline: "Pipeline", stage: str, words: tuple) -> str:
    return activations.verb(pipeline.study.passes[words[0]]) if stage == "activations" else _VERBS.get(stage, stage)


def _flat(files: dict | Iterable) -> list[str]:
    """The files of lists and of mappings of them."""
    if isinstance(files, str):
        return [files]
    return [file for some in (files.values() if isinstance(files, dict) else files) for file in _flat(some)]


def _chunks(pipeline: "Pipeline", slug: str, _seed: int) -> list[str]:
    """The chunks that an SAE is trained on."""
    cohort = pipeline.study.cohorts[slug]
    at = (cohort.pass_, cohort.hook_slug)
    return [pipeline.results.manifest(*at, chunk) for chunk in range(cohort.chunks)]


# By stage; a stage without a line reads no other result.
_INPUTS: dict[str, Callable] = {
    "activations": lambda pipeline, pass_, chunk, _hook: activations.source(
        pipeline, pipeline.study.passes[pass_], chunk
    ),
    "train": _chunks,
    "evaluate": lambda pipeline, slug, seed: evaluate.inputs(pipeline, pipeline.study.cohorts[slug], (seed,)),
    "match": lambda pipeline, *pair: match.inputs(pipeline, [pair]),
    "firing": lambda pipeline, *name: firing.inputs(pipeline, [name]),
    "substitution": lambda pipeline, *pair: substitution.inputs(pipeline, [pair]),
    "consensus": lambda pipeline, slug: consensus.inputs(pipeline, pipeline.study.cohorts[slug]),
    "meta": lambda pipeline, slug: meta.inputs(pipeline, pipeline.study.cohorts[slug]),
    "choice": lambda pipeline, slug: choice.inputs(pipeline, pipeline.study.cohorts[slug]),
    "stitch": lambda pipeline, slug, number: stitch.inputs(pipeline, slug, [number]),
    "overlap": lambda pipeline, slug: overlap.inputs(pipeline, pipeline.study.cohorts[slug]),
    "tables": lambda pipeline, slug: figures.inputs(pipeline, pipeline.study.figures[slug]),
    "drawings": lambda pipeline, slug: [pipeline.results.figure(slug, "parquet")],
    "summary": lambda pipeline, _name: summary.inputs(pipeline),
    "report": lambda pipeline, _name: report.inputs(pipeline),
    "explorer": lambda pipeline, _name: explorer.inputs(pipeline),
    "workflow_report": lambda pipeline, _name: workflow_report.inputs(pipeline),
    "explain": lambda pipeline, explainer, cohort, seed: explain.inputs(pipeline, (explainer, cohort, [seed])),
    "score": lambda pipeline, *names: score.inputs(pipeline, (*names[:3], [names[3]])),
    "fresh_tokens": lambda pipeline, slug: corpus.outputs(pipeline, pipeline.study.tokens[slug]),
    "similarity": similarity.inputs,
    "score_summary": score_summary.inputs,
}


def _sources_of(pipeline: "Pipeline", stage: str, words: tuple) -> list[str]:
    """The names of the models and data from outside that a result is made from."""
    study = pipeline.study
    if stage in ("corpus", "fresh_tokens"):
        tokens = study.tokens[words[0]]
        return [f"text {tokens.corpus.slug}", f"model {tokens.model.slug}"]
    if stage == "activations":
        pass_ = study.passes[words[0]]
        matrix = [f"matrix {pass_.slug}"] if pass_.matrix else []
        return matrix + ([f"model {pass_.model.slug}"] if pass_.model else [])
    return [f"SAE {words[0]} {words[1]}"] if stage == "external" else []


def _sources(pipeline: "Pipeline") -> dict[str, dict]:
    """Name, revision and checksums of everything that comes from outside."""
    study, contents = pipeline.study, Contents(Path(pipeline.results.contents))
    found = {f"model {slug}": _model(model, contents) for slug, model in study.models.items()}
    for slug, text in study.corpora.items():
        found[f"text {slug}"] = _known({**text.documents, "seed": text.seed, "contents": contents.named_corpus(text)})
    for pass_ in study.passes.values():
        if pass_.matrix:
            found[f"matrix {pass_.slug}"] = {"name": str(pass_.matrix), "sha256": contents.of([pass_.matrix])[0]}
    for slug, cohort in study.external.items():
        for seed in cohort.seeds:
            found[f"SAE {slug} {seed}"] = _known(dataclasses.asdict(cohort.saes[seed]))
    return found


def _model(model: Model, contents: Contents) -> dict:
    names = ("name", "revision", "sha256", "dtype", "random_seed")
    return _known({**{name: getattr(model, name) for name in names}, "contents": contents.named_model(model)})


def _known(facts: dict) -> dict:
    return {name: value for name, value in facts.items() if value not in (None, {})}
