"""What the rules share: the study, the paths of its results, and what each result was made from."""

import dataclasses
import functools
import json
import shlex

from sae_stability.code_hash import code_hash
from sae_stability.config import Study, complete
from sae_stability.config_schema import load_yaml
from sae_stability.errors import StudyError
from sae_stability.identity import Contents, check_sources, key

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
    """What a JSON result says it was made from; None where there is no such result."""
    try:
        return json.loads(Path(file).read_text())["config_hash"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unfinished(files_of, made_from) -> list[str]:
    """The SAEs for which a stage has still to run: a file is missing, or the first one says it was made otherwise.

    Snakemake would retrain every SAE of a hookpoint when a missing shard is extracted again for a new seed, although
    the same sources give the same bytes. A finished SAE is therefore a given file to it, not the output of a rule.
    """
    todo, stale = [], []
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            files = files_of(cohort, seed)
            if not all(map(os.path.exists, files)):
                todo.append(f"{cohort.slug}/seed-{seed}")
            elif recorded(files[0]) != made_from(cohort, seed):
                stale.append(files[0])
                todo.append(f"{cohort.slug}/seed-{seed}")
    if stale and not any(Path(".snakemake", "metadata").glob("*")):
        # Snakemake would see nothing to do: it knows of a changed setting only by its own records.
        sys.exit(
            f"error: {stale[0]}: made from other settings or data than the study's, and Snakemake's records (.snakemake) "
            f"of it are gone ({len(stale)} such files); delete them, or restore the study they were made by"
        )
    return todo


def any_of(names) -> str:
    """A wildcard's pattern that matches these names and no other."""
    return "|".join(map(re.escape, names)) or "(?!)"


def sae_of(wildcards):
    """The cohort and the seed that the wildcard `sae` stands for."""
    cohort, seed = wildcards.sae.split("/")
    return study.cohorts[cohort], int(seed.removeprefix("seed-"))
