"""Paths, fingerprints, commands, resources and costs of every stage, as plain Python.

A stage is a module here. Its functions take a `Pipeline` and parts of its study (a cohort, a seed, a chunk) and never
Snakemake's wildcards, so that each can be called and tested by itself. By convention they are:

- `inputs` and `outputs`: the files that a job reads and writes;
- `jobs`: the jobs of the stage; only where they depend on what is finished;
- `command`: the settings of a job and the files that its rule declares, as words of a command line;
- `memory` (MB), `threads` and `minutes`: what a job asks for;
- `cost`: what the stage costs, for `plan`;
- `results`: what the stage makes, name -> (files, fingerprint). The first file records the fingerprint;
- `reads`: the files of other results that one result is made from, by its name;
- `VERB`: the verb that makes the results, where it has not the stage's name.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path

from sae_stability.files import remembered, write_json
from sae_stability.pipeline import (
    activations,
    choice,
    consensus,
    corpus,
    drawings,
    evaluate,
    explain,
    explorer,
    external,
    figures,
    firing,
    floors,
    fresh_tokens,
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
    train,
    workflow_report,
)
from sae_stability.pipeline.blocks import blocks_of
from sae_stability.pipeline.chain import provenance
from sae_stability.pipeline.contents import Contents
from sae_stability.pipeline.fingerprints import Fingerprints
from sae_stability.pipeline.results import Results
from sae_stability.pipeline.unfinished import Unfinished, note_stale, unfinished
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

STAGES = (
    corpus,
    activations,
    train,
    external,
    evaluate,
    match,
    firing,
    substitution,
    consensus,
    meta,
    stitch,
    floors,
    overlap,
    explain,
    score,
    choice,
    figures,
    report,
    explorer,
    workflow_report,
)
"""Every stage, in the order in which they run."""

FINGERPRINTED = {
    "corpus": corpus,
    "activations": activations,
    "train": train,
    "external": external,
    "evaluate": evaluate,
    "match": match,
    "firing": firing,
    "substitution": substitution,
    "consensus": consensus,
    "meta": meta,
    "stitch": stitch,
    "floors": floors,
    "overlap": overlap,
    "tables": figures,
    "drawings": drawings,
    "summary": summary,
    "report": report,
    "explorer": explorer,
    "workflow_report": workflow_report,
    "explain": explain,
    "score": score,
    "fresh_tokens": fresh_tokens,
    "similarity": similarity,
    "choice": choice,
    "score_summary": score_summary,
}
"""The stages whose results record what they were made from. Most have no rule for a finished result."""


class Pipeline:
    """A study, the paths and fingerprints of its results, and which results are unfinished."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.results = Results(study.results)
        self.fingerprints = Fingerprints(study, Contents(Path(self.results.contents)))

    @property
    def saes(self) -> list[tuple[Cohort | ExternalCohort, int]]:
        """Cohort and seed of every SAE."""
        return [(cohort, seed) for cohort in self.study.cohorts.values() for seed in cohort.seeds]

    def check(self) -> None:
        """Find out what is unfinished, and note what is stale for the rules that `stale` is asked for.

        Raises:
            StudyError: as `unfinished` does.
        """
        note_stale(
            Path(self.results.stale),
            [file for stage in self._standing.values() for files in stage.stale.values() for file in files],
        )

    def note_provenance(self, config: dict) -> None:
        """Write what every result is made from into the results folder, unless that stands there already.

        Args:
            config: the study's whole config, as plain data.
        """
        note, found = Path(self.results.provenance), provenance(self, config)
        # JSON makes lists of tuples.
        if remembered(note) != json.loads(json.dumps(found)):
            write_json(note, found)

    @functools.cached_property
    def unfinished(self) -> dict[str, list]:
        """The names of the results that have still to be made, by stage.

        Raises:
            StudyError: as `unfinished` does.
        """
        return {name: found.names for name, found in self._standing.items()}

    def is_stale(self, stage: str, names: Iterable) -> bool:
        """Whether one of these results of a stage is there but is not what the study asks for."""
        return not self._standing[stage].stale.keys().isdisjoint(names)

    @functools.cached_property
    def _standing(self) -> dict[str, Unfinished]:
        return {name: unfinished(stage.results(self)) for name, stage in FINGERPRINTED.items()}

    @functools.cached_property
    def blocks(self) -> dict[str, list[tuple[int, ...]]]:
        """The blocks of seeds that each cohort has still to train."""
        found = {}
        for slug, cohort in self.study.trained.items():
            untrained = {seed for name, seed in self.unfinished["train"] if name == slug}
            found[slug] = blocks_of(cohort, untrained, functools.partial(self.results.blocks_begun, slug))
        return found

    @functools.cached_property
    def block_of(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """(cohort, seed) of every SAE that has still to be trained -> the block that it is trained in."""
        return {(cohort, seed): block for cohort, blocks in self.blocks.items() for block in blocks for seed in block}
