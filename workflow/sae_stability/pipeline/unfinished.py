"""Which results have still to be made, and which are finished."""

import os
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_metadata

RECORDS = Path(".snakemake", "metadata")


def fingerprint_in(file: str) -> str | None:
    """The fingerprint that a result, JSON or a table, records; None where there is no such result."""
    try:
        return (read_metadata(file) if file.endswith(".parquet") else read_json(file))["config_hash"]
    except (StudyError, KeyError, TypeError):
        return None


def unfinished(results: dict, records: Path = RECORDS) -> list:
    """The names of the results that have still to be made: a file is missing, or was made from something else.

    Snakemake would retrain every SAE of a hookpoint when a missing shard is extracted again for a new seed, although
    the same sources give the same bytes. So a finished result has no rule: Snakemake takes it as a given file.

    Args:
        results: name -> (files, fingerprint). The first file records the fingerprint that it was made from.
        records: the folder of Snakemake's records.

    Raises:
        StudyError: a result was made from something else and Snakemake's records are gone. Snakemake knows of a
            changed setting by its records alone, so it would take such a result for a finished one.
    """
    todo, stale = [], []
    for name, (files, fingerprint) in results.items():
        if not all(map(os.path.exists, files)):
            todo.append(name)
        elif fingerprint_in(files[0]) != fingerprint:
            stale.append(files[0])
            todo.append(name)
    if stale and not any(records.glob("*")):
        raise StudyError(
            f"{stale[0]}: made from other settings or data than the study's, and Snakemake's records (.snakemake) of "
            f"it are gone ({len(stale)} such files); delete them, or restore the study they were made by"
        )
    return todo
