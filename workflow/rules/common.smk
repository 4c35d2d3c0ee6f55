"""What the rules share: the study, the paths of its results, and what each result was made from."""

import dataclasses
import functools
import hashlib
import json
import shlex

from sae_stability.code_hash import code_hash
from sae_stability.config import Study, complete
from sae_stability.config_schema import load_yaml
from sae_stability.errors import StudyError

ENVIRONMENT = "../../envs/sae-stability.yaml"

try:
    for path in workflow.configfiles:
        # Snakemake has read these files too, but would not have seen a key given twice.
        load_yaml(path)
    study = Study.from_config(complete(config, Path(workflow.basedir, "config.yaml")))
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


def key(*parts) -> str:
    """A fingerprint of plain data: what a result was made from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dataclasses.asdict).encode()).hexdigest()[:16]


def finished(file: str, made_from: str) -> bool:
    """Whether a JSON result is there and records that it was made from just this.

    Snakemake would retrain every SAE of a hookpoint when a missing shard is extracted again for a new seed, although
    the same settings give the same bytes. A finished SAE is therefore a given file to it, not the output of a rule.
    """
    try:
        return json.loads(Path(file).read_text())["config_hash"] == made_from
    except (OSError, ValueError, KeyError, TypeError):
        return False


def any_of(names) -> str:
    """A wildcard's pattern that matches these names and no other."""
    return "|".join(map(re.escape, names)) or "(?!)"


def sae_of(wildcards):
    """The cohort and the seed that the wildcard `sae` stands for."""
    cohort, seed = wildcards.sae.split("/")
    return study.cohorts[cohort], int(seed.removeprefix("seed-"))
