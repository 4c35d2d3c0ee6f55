"""The verb `archive`: a study's tables, figures, reports and site with its config and lock, as one RO-Crate."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sae_stability import files, made
from sae_stability.errors import StudyError
from sae_stability.provenance import links
from sae_stability.study.build import complete
from sae_stability.study.schema import load_yaml, schema

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

FOLDER = "results"
"""The folder of an archive that holds the results."""
CONFIG, LOCK = "config.yaml", "constraints.txt"
_ABOUT = "Which features of sparse autoencoders are the model's, and which are their seeds'"
# Stages whose results are large, and needed for nothing that an archive is for; of these only what tells of them.
_LARGE = ("corpus", "activations", "train", "external", "fresh_tokens")
# The texts of whole contexts and pools are in the site, as far as it shows them.
_LEFT_OUT = ("contexts", "pools")
_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".csv": "text/csv",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".rst": "text/x-rst",
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".yaml": "application/yaml",
    ".txt": "text/plain",
}


def archive(
    *,
    study: Path = Path("config.yaml"),
    lock: Path = Path("envs/constraints.txt"),
    license: str = "https://spdx.org/licenses/CC-BY-4.0",
    out: Path | None = None,
) -> str:
    """Pack a finished study into one zip file, from which `rebuild` makes figures and report again.

    The file is an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1). It holds no activations, no SAEs and no token blocks.

    Args:
        study: the study's file.
        lock: the versions of the packages that the study ran with.
        license: address of the licence that you give the archive.
        out: the archive; NAME.zip in the results folder if left out.

    Returns:
        What was written.

    Raises:
        StudyError: the study is not finished, or one of its results is damaged or was made from something else.
    """
    config = complete(load_yaml(study))
    folder = Path(config.get("results", schema()["properties"]["results"]["default"]))
    if not (folder / links.NOTE).is_file():
        raise StudyError(f"{folder / links.NOTE}: missing, so there is nothing to pack; run the study first")
    note = links.read_note(folder)
    if json.loads(json.dumps(config)) != note["config"]:
        raise StudyError(
            f"{folder}: its last run was of another config than {study}; run this study again, then pack it"
        )
    if not lock.is_file():
        raise StudyError(f"{lock}: no such file; name the list of package versions with --lock")
    packed = sorted(set(_packed(folder, note)))
    out = out or folder / f"{note['study']}.zip"
    with tempfile.TemporaryDirectory() as work, files.atomic(out) as temporary:
        _write(Path(work), note, folder, packed, lock, license, temporary)
    return f"{out}: {len(packed)} files of {folder}, {out.stat().st_size / 1e6:.0f} MB"


def _packed(folder: Path, note: dict) -> Iterator[str]:
    """The files that an archive holds, below the results folder, each checked.

    Raises:
        StudyError: a result is missing or damaged, or was made from something else than the study asks for.
    """
    yield links.NOTE
    for name, result in note["results"].items():
        if name.partition(" ")[0] == "explorer" and not (folder / result["files"][0]).exists():
            continue  # a study that measures no firing makes it only where it is asked for
        if name.partition(" ")[0] in _LARGE:
            files.read_json(folder / result["files"][0])
            yield result["files"][0]
            continue
        links.check(folder, result)
        stated = {path for file in result["files"] for path in links.digests_in(folder / file)}
        for path in {*(folder / file for file in result["files"]), *stated}:
            place = path.relative_to(folder)
            if path.suffix != ".safetensors" and place.parts[0] not in _LEFT_OUT:
                yield str(place)
    # The site's own pages and scripts, which are no results.
    site = folder / "explorer"
    yield from (str(path.relative_to(folder)) for path in site.rglob("*") if path.is_file() and path.suffix in _TYPES)


def _write(work: Path, note: dict, folder: Path, packed: list[str], lock: Path, license: str, out: Path) -> None:
    """Write the archive; `work` is an empty folder for what is written for it alone."""
    from rocrate.rocrate import ROCrate

    config, jobs, made_by = work / CONFIG, work / links.MADE, links.makers(folder)
    config.write_text(yaml.safe_dump(note["config"], sort_keys=False, allow_unicode=True), encoding="utf-8")
    files.write_json(jobs, {"jobs": [{**job, "config_hash": [mark]} for mark, job in made_by.items()]})
    ended = max((job["finished"] for job in made_by.values()), default=made.made()["finished"])
    crate = ROCrate(version="1.1")
    crate.name = f"sae-stability: study {note['study']}"
    crate.description = note["paper"]["facts"]["about"] or _ABOUT
    crate.datePublished = made.made()["finished"]
    crate.license = license
    held = {name: crate.add_file(folder / name, f"{FOLDER}/{name}", properties=_about(name)) for name in packed}
    told = [
        crate.add_file(config, CONFIG, properties=_about(CONFIG, "The study's whole config")),
        crate.add_file(lock, LOCK, properties=_about(LOCK, "Versions of all packages")),
    ]
    crate.add_file(jobs, f"{FOLDER}/{links.MADE}", properties=_about(links.MADE, "What made each result, and where"))
    _add_run(crate, note, ended, told, [held[name] for name in packed if "/" not in name])
    crate.write_zip(out)


def _add_run(crate: "ROCrate", note: dict, ended: str, told: list, results: list) -> None:
    """Say in an archive's description that this software made the results from the config and what it names."""
    from rocrate.model.contextentity import ContextEntity

    software = {"@type": "SoftwareApplication", "name": "sae-stability"}
    software["version"] = made.made()["packages"].get("sae-stability", "unknown")
    tool = ContextEntity(crate, "#sae-stability", software)
    given = [
        ContextEntity(crate, f"#{name.replace(' ', '-')}", _source(name, facts))
        for name, facts in note["sources"].items()
    ]
    action = {"@type": "CreateAction", "name": f"Run of study {note['study']}", "endTime": ended}
    run = ContextEntity(crate, "#run", action)
    crate.add(tool, *given, run)
    run["instrument"], run["object"], run["result"] = tool, [*told, *given], results
    crate.root_dataset["mentions"] = run


def _about(name: str, words: str = "") -> dict:
    """What an archive says of a file."""
    return {"name": words or name, "encodingFormat": _TYPES.get(Path(name).suffix, "application/octet-stream")}


def _source(name: str, facts: dict) -> dict:
    """A model, a text, a matrix or an SAE from outside."""
    told = [f"{key} {value}" for key, value in facts.items() if key != "contents"]
    return {"@type": "Thing", "name": name, "description": ", ".join(told)}
