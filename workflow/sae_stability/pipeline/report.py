"""Everything -> the study's key numbers in words -> the report."""

import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sae_stability.pipeline import overlap
from sae_stability.pipeline.code_hash import code_hash
from sae_stability.pipeline.command import flags, folders, keyed
from sae_stability.pipeline.cost import Cost
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Pass

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_SEEDS_OF = {"init": "the initial weights", "order": "the order of the data", "both": "weights and order"}


def summary_inputs(pipeline: "Pipeline") -> dict[str, list[str]]:
    """Every cohort's overlap tables and every SAE's quality."""
    quality = [pipeline.results.quality(cohort.slug, seed) for cohort, seed in pipeline.saes]
    return {"tables": overlap.outputs(pipeline), "quality": quality}


def summary_code() -> str:
    """The hash of the code that writes the key numbers."""
    return code_hash("summary")


def summary_command(pipeline: "Pipeline") -> str:
    """What the study is about, and every cohort's tables and SAEs among the job's inputs."""
    files, cohorts = summary_inputs(pipeline), pipeline.study.cohorts
    first = next(iter(cohorts))
    words = [flags(study=pipeline.study.name, base=first)]
    words += [
        flags(about=keyed(name, value))
        for name, value in about(pipeline.study, cohorts[first]).items()
        if value is not None
    ]
    tables = zip(cohorts, folders(files["tables"]), strict=True)
    quality = zip(pipeline.saes, files["quality"], strict=True)
    words += [flags(overlap=f"{cohort}={folder}") for cohort, folder in tables]
    words += [flags(evaluation=f"{cohort.slug}={file}") for (cohort, _), file in quality]
    return " ".join(words)


def about(study: Study, cohort: Cohort | ExternalCohort) -> dict[str, object]:
    """What the report's first page says of a cohort: name and value of each setting; one of None is left out."""
    told = _about_activations(cohort.pass_) if cohort.pass_ else {}
    told |= {"hookpoint": cohort.hookpoint, "latents": f"{cohort.n_latents:,}", "width": f"{cohort.d_model:,}"}
    if cohort.slug in study.external:
        return told | {"SAEs": "made elsewhere", "seeds": len(cohort.seeds)}
    return told | {
        "architecture": cohort.architecture,
        "k": cohort.k,
        "training tokens": f"{cohort.tokens:,}",
        "epochs": cohort.epochs,
        "seeds": f"{len(cohort.seeds)}, of {_SEEDS_OF[cohort.varied]}",
    }


def inputs(pipeline: "Pipeline") -> list[str]:
    """What the report shows: every figure with its caption, and the key numbers."""
    figures = pipeline.study.figures
    return [pipeline.results.figure(figure, ending) for figure in figures for ending in ("svg", "rst")] + [
        pipeline.results.summary
    ]


def snakemake_command(snakefile: str, configfiles: Iterable[str], config: Iterable[str] | None) -> str:
    """What Snakemake needs to see the same study again: its Snakefile, its files, and changes on the command line."""
    # Relative paths: a study that was moved with its results is not another study.
    words = {
        "--snakefile": [os.path.relpath(snakefile)],
        "--configfile": [os.path.relpath(path) for path in configfiles],
        "--config": config or [],
    }
    quoted = {flag: " ".join(shlex.quote(str(word)) for word in some) for flag, some in words.items()}
    return " ".join(f"{flag} {some}" for flag, some in quoted.items() if some)


def cost(_study: Study, _rates: dict) -> Cost:
    """The key numbers in words, and the page."""
    return Cost("report", jobs=2)


def _about_activations(pass_: Pass) -> dict[str, object]:
    if pass_.tokens is None:
        return {"matrix": pass_.matrix}
    documents = {name: value for name, value in pass_.tokens.corpus.documents.items() if value is not None}
    words = {name: " ".join(value) if isinstance(value, list) else value for name, value in documents.items()}
    return {
        "model": pass_.model.name,
        "revision": pass_.model.revision,
        "corpus": ", ".join(f"{name} {value}" for name, value in words.items()),
    }
