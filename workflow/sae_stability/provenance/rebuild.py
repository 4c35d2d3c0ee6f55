"""The verb `rebuild`: figures and report of an archive, made again from its tables; no GPU, no model, no Snakemake."""

import zipfile
import zlib
from pathlib import Path

from sae_stability import files, made
from sae_stability.errors import StudyError
from sae_stability.figures.drawings import write_figure
from sae_stability.provenance import links
from sae_stability.provenance.archive import FOLDER
from sae_stability.report.paper import write_report

_DRAWN = ("svg", "pdf", "png", "caption")
_REPORT = ("report.html", "report.pdf", "report.json")


def rebuild(*, archive: Path, out: Path) -> str:
    """Make the figures and the report of an archive again from its tables, and compare them with the archive's.

    Args:
        archive: a file that `archive` wrote.
        out: a folder that is empty or not there yet, for all results of the archive, those made again among them.

    Returns:
        What was made.

    Raises:
        StudyError: the file is no such archive, or it is damaged; the folder is not empty; or a file made again has
            other bytes than the archive's.
    """
    if out.exists() and any(out.iterdir()):
        raise StudyError(f"{out}: not empty; name another folder")
    try:
        with zipfile.ZipFile(archive) as packed:
            return _rebuilt(packed, archive, out)
    # What zipfile raises for bytes that are not as they were written.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise StudyError(f"{archive}: no archive of a study, or damaged ({error})") from None


def _rebuilt(packed: zipfile.ZipFile, archive: Path, out: Path) -> str:
    names = {name.removeprefix(f"{FOLDER}/"): name for name in packed.namelist() if name.startswith(f"{FOLDER}/")}
    if links.NOTE not in names:
        raise StudyError(f"{archive}: no archive of a study: it holds no {FOLDER}/{links.NOTE}")
    _extract(packed, names, out)
    note = links.read_note(out)
    paper = note["paper"]
    for name in (paper["overlap"], *(file for _, file in (*paper["evaluation"], *paper["figures"]))):
        _check_inside(archive, name, out)
    again = _figures(note, out)
    # The record tells how the archive's report was made, which the one made again repeats.
    before = files.read_json(out / "report.json")
    _report(note, out)
    again += _REPORT
    other = [name for name in again if (out / name).read_bytes() != packed.read(names[name])]
    if not other:
        return f"{out}: {len(again)} files made again, with the bytes of the archive; open {out}/report.html"
    versions = _other_versions(before["made"])
    raise StudyError(
        f"{out}: {len(other)} of {len(again)} files made again differ from the archive's, such as {other[0]}"
        + (f"; packages differ: {', '.join(versions)}" if versions else "")
    )


def _extract(packed: zipfile.ZipFile, names: dict[str, str], out: Path) -> None:
    """Write the archive's results into a folder; only files below it, whatever their names say."""
    for name, inside in names.items():
        place = out / name
        if not name or name.endswith("/"):
            continue
        _check_inside(packed.filename, name, out)
        with files.atomic(place) as temporary:
            temporary.write_bytes(packed.read(inside))


def _check_inside(archive: str | Path, name: str, out: Path) -> None:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise StudyError(f"{archive}: names a file {name!r} that would lie outside {out}")


def _figures(note: dict, out: Path) -> list[str]:
    """Draw every figure from its table; returns the files."""
    made_again = []
    for kind, record in note["paper"]["figures"]:
        place = out / record
        places = {name: place.with_suffix(".rst" if name == "caption" else f".{name}") for name in _DRAWN}
        files.verify(file=[place.with_suffix(".parquet")])
        mark = files.read_json(place)["config_hash"]
        for path in (place, *places.values()):
            path.unlink()
        table = place.with_suffix(".parquet")
        write_figure(figure=kind, table=table, style=note["paper"]["style"], config_hash=mark, record=place, **places)
        made_again += [str(path.relative_to(out)) for path in (place, *places.values())]
    return made_again


def _report(note: dict, out: Path) -> None:
    """Write the report, with what the archive's own says of its making."""
    paper, record = note["paper"], out / "report.json"
    write_report(
        **{name: paper[name] for name in ("study", "base", "facts")},
        overlap=out / paper["overlap"],
        evaluation=[(cohort, out / file) for cohort, file in paper["evaluation"]],
        figure=[(kind, out / file) for kind, file in paper["figures"]],
        config_hash=files.read_json(record)["config_hash"],
        made=record,
        **{ending: out / f"report.{ending}" for ending in ("html", "pdf")},
        record=record,
    )


def _other_versions(told: dict) -> list[str]:
    """The packages whose version here is not the one that the archive's report was written with."""
    now = {"Python": made.made()["python"], **made.made()["packages"]}
    before = {"Python": told["python"], **told["packages"]}
    return [
        f"{name} {version} here, {before[name]} there"
        for name, version in now.items()
        if before.get(name, version) != version
    ]
