"""What the rules share: the study, the paths of its results, and what each result was made from."""

import dataclasses
import functools
import json
import shlex

from sae_stability.pipeline.code_hash import code_hash
from sae_stability.study.build import Study, complete
from sae_stability.study.schema import load_yaml
from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_metadata
from sae_stability.pipeline.contents import Contents
from sae_stability.study.sources import check_sources
from sae_stability.fingerprint import key
from sae_stability.pipeline.batches import batches
from sae_stability.match.limits import KEPT_BYTES

ENVIRONMENT = "../../envs/sae-stability.yaml"

try:
    for path in workflow.configfiles:
        # Snakemake has read these files too, but would not have seen a key given twice.
        load_yaml(path)
    study = Study.from_config(complete(config, Path(workflow.basedir, "config.yaml")))
    check_sources(study, Path(study.results, "checked.json"))
except StudyError as error:
    # Not a WorkflowError: that would add the place in this file, which is not where the mistake is.
    sys.exit(f"error: {error}")

# A GPU is asked for only where the study computes on one; else jobs would queue for the one GPU of the default profile.
GPUS = int(study.device == "cuda")
SAES = [f"{cohort.slug}/seed-{seed}" for cohort in study.cohorts.values() for seed in cohort.seeds]


def flags(**settings) -> str:
    """Settings as command-line flags; None is left out."""
    words = []
    for name, value in settings.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(words)


def recorded(file: str) -> str | None:
    """What a result, JSON or a table, says it was made from; None where there is no such result."""
    try:
        return (read_metadata(file) if file.endswith(".parquet") else read_json(file))["config_hash"]
    except (StudyError, KeyError, TypeError):
        return None


def unfinished(results: dict) -> list:
    """Those of `results`, name -> (files, what made from), that have still to be made.

    A file is missing, or the first one says it was made otherwise. Snakemake would retrain every SAE of a hookpoint when
    a missing shard is extracted again for a new seed, although the same sources give the same bytes. A finished
    result is therefore a given file to it, not the output of a rule.
    """
    todo, stale = [], []
    for name, (files, made_from) in results.items():
        if not all(map(os.path.exists, files)):
            todo.append(name)
        elif recorded(files[0]) != made_from:
            stale.append(files[0])
            todo.append(name)
    if stale and not any(Path(".snakemake", "metadata").glob("*")):
        # Snakemake would see nothing to do: it knows of a changed setting only by its own records.
        sys.exit(
            f"error: {stale[0]}: made from other settings or data than the study's, and Snakemake's records (.snakemake) "
            f"of it are gone ({len(stale)} such files); delete them, or restore the study they were made by"
        )
    return todo


def of_saes(files_of, made_from) -> dict:
    """A stage's results for every SAE, as `unfinished` takes them."""
    return {
        f"{cohort.slug}/seed-{seed}": (files_of(cohort, seed), made_from(cohort, seed))
        for cohort in study.cohorts.values()
        for seed in cohort.seeds
    }


def job_rules(slug: str, results: dict, n_latents: int, d_model: int) -> dict:
    """Rule names, and the pairs of one shape that the job of each still has to make; `results` as for `unfinished`.

    Pairs are put into batches before the finished ones are left out. On a cluster every job reads these files anew, when
    others have finished: what a job makes must hang on nothing but its own files.
    """
    todo = set(unfinished(results))
    parts = batches(list(results), n_latents, d_model)
    # Capitals: no slug holds any.
    endings = [f"_PART{number}" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [""]
    unmade = {ending: [pair for pair in part if pair in todo] for ending, part in zip(endings, parts)}
    return {slug.replace("-", "_") + ending: pairs for ending, pairs in unmade.items() if pairs}


def any_of(names) -> str:
    """A wildcard's pattern that matches these names and no other."""
    return "|".join(map(re.escape, names)) or "(?!)"


def sae_of(wildcards):
    """The cohort and the seed that the wildcard `sae` stands for."""
    cohort, seed = wildcards.sae.split("/")
    return study.cohorts[cohort], int(seed.removeprefix("seed-"))
