"""Which results have still to be made, which of these are stale, and which are finished.

A result says itself what it was made from, and that alone counts: Snakemake's own records may be lost, or the results
may have been copied.
"""

import os
from pathlib import Path
from typing import NamedTuple

from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_metadata, remembered, write_json


class Unfinished(NamedTuple):
    """What a stage has still to make.

    Attributes:
        names: the names of the results.
        stale: name -> files, for those results that are there, whole or in part, but are not what the study asks for.
    """

    names: list
    stale: dict[object, list[str]]


def fingerprint_in(file: str) -> str | None:
    """The fingerprint that a result, JSON or a table, records; None where it records none."""
    try:
        return (read_metadata(file) if file.endswith(".parquet") else read_json(file))["config_hash"]
    except (StudyError, KeyError, TypeError):
        return None


def unfinished(results: dict) -> Unfinished:
    """The results that have still to be made: a file is missing, or they were made from something else.

    Snakemake would retrain every SAE of a hookpoint when a missing shard is extracted again for a new seed, although
    the same sources give the same bytes. So a finished result has no rule: Snakemake takes it as a given file.

    Args:
        results: name -> (files, fingerprint). The first file records the fingerprint that it was made from.

    Raises:
        StudyError: a result is there but does not say what it was made from.
    """
    found = Unfinished([], {})
    silent = []
    for name, (files, fingerprint) in results.items():
        there = list(filter(os.path.exists, files))
        made_from = fingerprint_in(files[0]) if files[0] in there else None
        if files[0] in there and made_from is None:
            silent.append(files[0])
        if made_from != fingerprint or len(there) < len(files):
            found.names.append(name)
            if there:
                found.stale[name] = there
    if silent:
        raise StudyError(
            f"{silent[0]}: is damaged, or does not say what it was made from ({len(silent)} such files); delete it and "
            "run again"
        )
    return found


def note_stale(note: Path, stale: list[str]) -> None:
    """Write the files of stale results into `note`, unless it lists them already, and keep it newer than they are.

    It is an input of the rules that make them, so Snakemake makes them again.
    """
    newest = max((os.stat(file).st_mtime for file in stale), default=0)
    if remembered(note) != {"stale": stale} or (stale and note.stat().st_mtime <= newest):
        write_json(note, {"stale": stale})
        if note.stat().st_mtime <= newest:  # a clock was wrong
            os.utime(note, (newest + 1, newest + 1))
