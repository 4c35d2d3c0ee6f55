"""The links of a chain: each result's files, checked against the digests and the fingerprint that they record."""

from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from sae_stability import files, made
from sae_stability.errors import StudyError

NOTE = "provenance.json"
"""The file of a results folder that says what every result is made from."""
MADE = "made.json"
"""The file of an archive that says what the jobs' logs say of machines and versions."""
FORMAT = "sae-stability provenance 1"


class Link(NamedTuple):
    """A result in a chain.

    Attributes:
        name: stage and name.
        verb: what makes it.
        file: its first file, which records the fingerprint; below the results folder.
        config_hash: the fingerprint of what the study makes it from.
        sha256: digest of that file; None where it is missing or cannot be read.
        made_from: names of the results and sources that it is made from.
        fault: what is wrong with it, in one line; None if nothing is.
    """

    name: str
    verb: str
    file: str
    config_hash: str
    sha256: str | None
    made_from: list[str]
    fault: str | None


def results_folder(file: Path) -> Path:
    """The results folder that a file lies in.

    Raises:
        StudyError: the file lies in none.
    """
    for folder in Path(file).absolute().parents:
        if (folder / NOTE).is_file():
            return folder
    raise StudyError(
        f"{file}: no folder above it holds {NOTE}, which a run writes into its results folder; name a file of such a "
        "folder, or run the study again to have it written"
    )


def read_note(folder: Path) -> dict:
    """What a results folder says of where its results come from.

    Raises:
        StudyError: it is missing or damaged, or of another version.
    """
    note = files.read_json(folder / NOTE)
    if note.get("format") != FORMAT:
        raise StudyError(f"{folder / NOTE}: of format {note.get('format')!r}; this version reads {FORMAT!r}")
    return note


def chain(note: dict, names: Iterable[str]) -> list[str]:
    """These names, and those of all results and sources behind them; each before what it is made from."""
    graph: dict[str, list[str]] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in graph:
            graph[name] = note["results"].get(name, {}).get("made_from", [])
            todo += graph[name]
    return [*TopologicalSorter(graph).static_order()][::-1]


def link(folder: Path, note: dict, name: str) -> Link:
    """A result and its state.

    Args:
        folder: the results folder.
        note: what `read_note` gives.
        name: the result's name.
    """
    result = note["results"][name]
    first = folder / result["files"][0]
    try:
        check(folder, result)
        fault = None
    except StudyError as error:
        fault = str(error)
    digest = files.sha256(first) if first.is_file() else None
    found = (name, result["verb"], result["files"][0], result["config_hash"], digest, result["made_from"], fault)
    return Link(*found)


def check(folder: Path, result: dict) -> None:
    """Check that a result's files are there, are as they were written, and were made from what the study says.

    Raises:
        StudyError: the first file of which that is not so.
    """
    first = folder / result["files"][0]
    stated: dict[Path, str] = {}
    for path in (folder / file for file in result["files"]):
        stated |= digests_in(path)
    for path in (folder / file for file in result["files"]):
        if path in stated:
            continue
        if not path.is_file():
            raise StudyError(f"{path}: missing; run the study again")
        if path.suffix == ".parquet":
            files.read_sealed(path)
    for path, digest in stated.items():
        if path.is_file() and files.sha256(path) != digest:
            raise StudyError(f"{path}: damaged or changed, its digest does not fit; delete it and run again")
        # Shards may be gone after use: they are in no list of a result's files.
        if not path.is_file() and str(path.relative_to(folder)) in result["files"]:
            raise StudyError(f"{path}: missing; run the study again")
    record = files.read_metadata(first) if first.suffix == ".parquet" else files.read_json(first)
    if record.get("config_hash") != result["config_hash"]:
        raise StudyError(
            f"{first}: made from other settings, data or code ({record.get('config_hash')}) than the study's last run "
            f"asks for ({result['config_hash']}); run it again"
        )


def digests_in(path: Path) -> dict[Path, str]:
    """The digests that a file states of files beside it: a record, a manifest, a cfg.json, a table with a CSV.

    Raises:
        StudyError: the file is missing or damaged.
    """
    found: dict[str, str] = {}
    if path.suffix == ".parquet":
        metadata = files.read_metadata(path)
        found = {path.with_suffix(".csv").name: metadata["csv_sha256"]} if "csv_sha256" in metadata else {}
    elif path.suffix == ".json":
        content = files.read_json(path)
        found = dict(content.get("sha256", {}))
        if "weights_sha256" in content:
            found["sae.safetensors"] = content["weights_sha256"]
        if str(content.get("format")).startswith("sae-stability activations"):
            found = {shard["name"]: shard["sha256"] for shard in content["shards"]}
        if str(content.get("format")).startswith("sae-stability tokens"):
            found = {part["file"]: part["sha256"] for part in (content["heldout"], *content["chunks"])}
    return {path.with_name(name): digest for name, digest in found.items()}


def makers(folder: Path) -> dict[str, dict]:
    """Fingerprint -> what the latest job with it says of commit, versions, machine and time."""
    said = files.remembered(folder / MADE).get("jobs", [])
    for log in sorted((folder / "logs").rglob("*.log")):
        said += made.lines_in(log)
    latest: dict[str, dict] = {}
    for job in sorted(said, key=lambda job: job["finished"]):
        for fingerprint in job["config_hash"]:
            latest[fingerprint] = {name: value for name, value in job.items() if name != "config_hash"}
    return latest
