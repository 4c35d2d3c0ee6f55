"""Which features of a sparse autoencoder are the model's, and which are its seed's?

snakemake --cores all                                         the study in config.yaml
snakemake --cores all --configfile studies/bring-your-own.yaml   another study
snakemake --cores all saes                                    up to a stage: activations, saes, matches, overlap, figures
"""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# Snakemake follows a chain of chunks by recursion: hundreds of them pass Python's usual limit.
sys.setrecursionlimit(20_000)

# Jobs run `python -m sae_stability`, with the Python that runs Snakemake and the library of this very checkout.
LIBRARY = str(Path(workflow.basedir, "workflow"))
sys.path.insert(0, LIBRARY)
os.environ.update(
    PYTHONPATH=LIBRARY,
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
)


include: "workflow/rules/common.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/settings.smk"
include: "workflow/rules/blocks.smk"


pathvars:
    results=study.results,
    logs=f"{study.results}/logs",


wildcard_constraints:
    cohort=r"[a-z0-9-]+",
    seed=r"\d+",
    chunk=r"\d{4}",


report: Path(study.results, "summary.rst").absolute()


include: "workflow/rules/corpus.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/given.smk"
include: "workflow/rules/match.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",


rule activations:
    input:
        [file for pass_ in study.passes.values() for file in activation_files(pass_)],


rule saes:
    input:
        expand("<results>/evaluation/{sae}.json", sae=SAES),


rule matches:
    input:
        [match_file(cohort.slug, a, b) for cohort in study.cohorts.values() for a, b in cohort.pairs],


rule overlap_tables:
    input:
        [file for cohort in study.cohorts for file in overlap_files(cohort)],


rule figures:
    input:
        expand("<results>/figures/{figure}.svg", figure=study.figures),
        "<results>/summary.rst",
