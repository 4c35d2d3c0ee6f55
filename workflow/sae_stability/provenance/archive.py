"""The verb `archive`: a study's tables, figures, reports and site with its config and lock, as one RO-Crate."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from sae_stability import files, made
from sae_stability.errors import StudyError
from sae_stability.provenance import links
from sae_stability.study.build import complete
from sae_stability.study.schema import load_yaml

FOLDER = "results"
"""The folder of an archive that holds the results."""
CONFIG, LOCK = "config.yaml", "constraints.txt"
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
    folder = Path(config.get("results", FOLDER))
    if not (folder / links.NOTE).is_file():
        raise StudyError(f"{folder / links.NOTE}: missing, so there is nothing to pack; run the study first")
    note = links.read_note(folder)
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
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    config, jobs = work / CONFIG, work / links.MADE
    config.write_text(yaml.safe_dump(note["config"], sort_keys=False, allow_unicode=True), encoding="utf-8")
    made_by = links.makers(folder)
    files.write_json(jobs, {"jobs": [{**job, "config_hash": [mark]} for mark, job in made_by.items()]})
    crate = ROCrate(version="1.1")
    now = made.made()
    crate.name = f"sae-stability: study {note['study']}"
    crate.description = note["paper"]["facts"]["about"] or (
        "Which features of sparse autoencoders are the model's, and which are their seeds': tables, figures and report "
        f"of study {note['study']}."
    )
    crate.datePublished = now["finished"]
    crate.license = license
    report = {name: crate.add_file(*_place(folder, name), properties=_about(name)) for name in packed}
    sources = [crate.add_file(config, CONFIG, properties=_about(CONFIG, "The study's whole config"))]
    sources.append(crate.add_file(lock, LOCK, properties=_about(LOCK, "Versions of all packages")))
    crate.add_file(
        jobs, f"{FOLDER}/{links.MADE}", properties=_about(links.MADE, "Commit, versions and machine of jobs")
    )
    tool = ContextEntity(crate, "#sae-stability", {"@type": "SoftwareApplication", "name": "sae-stability"})
    tool["version"] = now["packages"].get("sae-stability", "unknown")
    given = [
        ContextEntity(crate, f"#{name.replace(' ', '-')}", _source(name, facts))
        for name, facts in note["sources"].items()
    ]
    action = {"@type": "CreateAction", "name": f"Run of study {note['study']}"}
    action["endTime"] = max((job["finished"] for job in made_by.values()), default=now["finished"])
    run = ContextEntity(crate, "#run", action)
    crate.add(tool, *given, run)
    run["instrument"], run["object"] = tool, [*sources, *given]
    run["result"] = [report[name] for name in packed if "/" not in name]
    crate.root_dataset["mentions"] = run
    crate.write_zip(out)


def _place(folder: Path, name: str) -> tuple[Path, str]:
    return folder / name, f"{FOLDER}/{name}"


def _about(name: str, words: str = "") -> dict:
    """What an archive says of a file."""
    return {"name": words or name, "encodingFormat": _TYPES.get(Path(name).suffix, "application/octet-stream")}


def _source(name: str, facts: dict) -> dict:
    """A model, a text, a matrix or an SAE from outside."""
    told = [f"{key} {value}" for key, value in facts.items() if key != "contents"]
    return {"@type": "Thing", "name": name, "description": ", ".join(told)}
