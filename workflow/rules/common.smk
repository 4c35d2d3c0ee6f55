"""What the rules share: the study, its pipeline, and what wildcards stand for."""

import json
import re

from sae_stability import pipeline as stages
from snakemake.cli import get_argument_parser

from sae_stability.errors import StudyError
from sae_stability.pipeline.forced import not_forced
from sae_stability.pipeline.resources import gpus
from sae_stability.pipeline.runs import check_folder, claim, runs_jobs
from sae_stability.study.build import Study, complete
from sae_stability.study.checks import check_place
from sae_stability.study.schema import load_yaml
from sae_stability.study.sources import check_sources

ENVIRONMENT = "../../envs/sae-stability.yaml"


def asked_for():
    """What the command line asks for. Snakemake reads its rules before it keeps its own flags."""
    of_snakemake = workflow.is_main_process and Path(sys.argv[0]).stem in ("snakemake", "__main__")
    return get_argument_parser().parse_known_args(sys.argv[1:])[0] if of_snakemake else None


asked = asked_for()
runs = runs_jobs(asked) if asked else not workflow.dryrun
note = None
try:
    check_place(ROOT, Path.cwd())
    for path in workflow.configfiles:
        # Snakemake has read these files too, but would not have seen a key given twice.
        load_yaml(path)
    whole = complete(config, ROOT / "config.yaml")
    study = Study.from_config(whole)
    pipeline = stages.Pipeline(study)
    results = pipeline.results
    check_folder(Path(results.root))
    if asked and runs:
        note = claim(Path(results.root), Path(".snakemake/locks"))
    check_sources(study, Path(results.checked))
    pipeline.check()
    if workflow.is_main_process and runs:
        pipeline.note_provenance(whole)
except StudyError as error:
    # Not a WorkflowError: that would add the place in this file, which is not where the mistake is.
    sys.exit(f"error: {error}")
except OSError as error:
    place, reason = error.filename or results.root, error.strerror or error
    sys.exit(f"error: {place}: {reason}; the results folder must be writable and have room, or name another one")
if note:
    print(note, file=sys.stderr)


def since(stage, *names):
    """An input that makes a job run where one of its results is there but is not what the study asks for."""
    return results.stale if pipeline.is_stale(stage, names) else ancient(results.stale)


def given(stage, name, files):
    """Inputs of a job whose result may be finished: their times then do not count."""
    return files if name in pipeline.unfinished[stage] else ancient(files)


GPUS = gpus(study)

if asked and (asked.forceall or asked.forcerun or asked.force):
    if note := not_forced(pipeline, asked.forceall, asked.forcerun, asked.targets if asked.force else ()):
        print(note, file=sys.stderr)


def growing(amount):
    """Memory of a job, a number or a function of wildcards: twice as much in each attempt."""
    return lambda wildcards, attempt: (amount(wildcards) if callable(amount) else amount) * 2 ** (attempt - 1)


def lasting(minutes):
    """Time of a job, likewise: twice as much in each attempt, up to a day, which is as much as many clusters allow."""

    def limit(wildcards, attempt):
        first = minutes(wildcards) if callable(minutes) else minutes
        return max(first, min(first * 2 ** (attempt - 1), 24 * 60))

    return limit


def any_of(names) -> str:
    """A wildcard's pattern that matches these names and no other."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def cohort_of(wildcards):
    """The cohort that the wildcards name."""
    return study.cohorts[wildcards.cohort]


def chunk_of(wildcards) -> int:
    """The chunk that the wildcards name; a rule without that wildcard trains on a cohort's last one."""
    return int(wildcards.chunk) if "chunk" in wildcards.keys() else cohort_of(wildcards).chunks - 1


def figure_of(wildcards):
    """The figure that the wildcards name."""
    return study.figures[wildcards.figure]
