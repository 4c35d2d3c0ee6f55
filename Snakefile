"""Which features of a sparse autoencoder are the model's, and which are its seed's?

snakemake --cores all                                         the study in config.yaml
snakemake --cores all --configfile studies/bring-your-own.yaml   another study
snakemake --cores all saes                                    up to a stage: activations, saes, matches, all_firing, overlap_tables, figures
"""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# Snakemake follows a chain of chunks by recursion: hundreds of them pass Python's usual limit.
sys.setrecursionlimit(20_000)

# Jobs run `python -m sae_stability`, with the Python that runs Snakemake and the library that lies beside this file,
# also where another workflow uses this one as a module.
ROOT = Path(str(workflow.current_basedir))
LIBRARY = str(ROOT / "workflow")
sys.path.insert(0, LIBRARY)
os.environ.update(
    # A file beside the study, such as random.py, must not stand in for a module of Python.
    PYTHONSAFEPATH="1",
    PYTHONPATH=os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")])),
    # `sbatch` and `sacct` in the profile's folder hold out while a Slurm cluster's controller is away.
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), str(ROOT / "profiles" / "slurm" / "bin"), *os.get_exec_path()]
    ),
)


include: "workflow/rules/common.smk"


pathvars:
    logs=results.path("logs"),


wildcard_constraints:
    cohort=r"[a-z0-9-]+",
    seed=r"\d+",
    chunk=r"\d{4}",
    explainer=r"[a-z0-9-]+",
    scorer=r"[a-z0-9-]+",


report: Path(results.summary).absolute()


include: "workflow/rules/corpus.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/match.smk"
include: "workflow/rules/firing.smk"
include: "workflow/rules/substitution.smk"
include: "workflow/rules/consensus.smk"
include: "workflow/rules/meta.smk"
include: "workflow/rules/stitch.smk"
include: "workflow/rules/floors.smk"
include: "workflow/rules/overlap.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/choice.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/explorer.smk"
include: "workflow/rules/workflow_report.smk"


rule all:
    default_target: True
    input:
        results.report("html"),
        results.workflow_report,
        stages.firing.all_outputs(pipeline),
        stages.stitch.all_outputs(pipeline),
        stages.explain.targets(pipeline),
        stages.similarity.targets(pipeline),
        stages.score_summary.targets(pipeline),
        stages.explorer.targets(pipeline),


rule activations:
    input:
        [file for pass_ in study.passes.values() for file in stages.activations.outputs(pipeline, pass_)],


rule saes:
    input:
        [results.quality(cohort.slug, seed) for cohort, seed in pipeline.saes],


rule matches:
    input:
        [results.match(cohort.slug, a, b) for cohort in study.cohorts.values() for a, b in cohort.pairs],


rule overlap_tables:
    input:
        stages.overlap.outputs(pipeline),


rule figures:
    input:
        [results.figure(figure, "svg") for figure in study.figures],
        results.summary,
