"""What every result is made from, by name: the chain from a picture down to the token blocks, the texts and the models.

It is written into the results folder, so that a result can be traced without the study's file, its model or Snakemake.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sae_stability.pipeline import activations, report
from sae_stability.pipeline.contents import Contents
from sae_stability.provenance.links import FORMAT
from sae_stability.study.parts import Model

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline


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
            found[" ".join(map(str, (stage, *words)))] = {
                "verb": _verb(pipeline, stage, module, words),
                "files": [pipeline.results.below(file) for file in files],
                "config_hash": fingerprint,
                "inputs": _flat(module.reads(pipeline, *words)),
                "sources": _sources_of(pipeline, stage, words),
            }
    return found


def _verb(pipeline: "Pipeline", stage: str, module: ModuleType, words: tuple) -> str:
    """The verb that makes a result: the stage's own name, unless its module says another."""
    if module is activations:
        return activations.verb(pipeline.study.passes[words[0]])
    return getattr(module, "VERB", stage)


def _flat(files: dict | Iterable) -> list[str]:
    """The files of lists and of mappings of them."""
    if isinstance(files, str):
        return [files]
    return [file for some in (files.values() if isinstance(files, dict) else files) for file in _flat(some)]


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
