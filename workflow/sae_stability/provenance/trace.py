"""The verb `trace`: the chain behind a result, from a picture down to the token blocks, the texts and the models."""

from json import dumps
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.provenance import links
from sae_stability.provenance.links import Link

_SHORT = 16  # digits of a digest in the table


def trace(file: Path, *, json: bool = False) -> str:
    """Show what a result is made from, step by step, and check every step.

    It takes the results folder alone, wherever that lies.

    Args:
        file: a file of a results folder: a picture, a table, a report, an SAE.
        json: print JSON.

    Returns:
        The steps, each before what it is made from: verb, file, fingerprint and digest; then the models and texts, and
        what made the results: commit, versions, machines.

    Raises:
        StudyError: the file is no result of the study, or a step is missing, damaged, or made from something else.
            The chain is printed first.
    """
    folder = links.results_folder(file)
    note = links.read_note(folder)
    first = _owner(folder, note, Path(file).absolute())
    names = links.chain(note, [first])
    steps = [links.link(folder, note, name) for name in names if name in note["results"]]
    sources = {name: note["sources"][name] for name in names if name in note["sources"]}
    makers = links.makers(folder)
    text = _json(note, first, steps, sources, makers) if json else _table(note, first, steps, sources, makers)
    broken = [step.fault for step in steps if step.fault]
    if not broken:
        return text
    print(text)
    more = f" (and {len(broken) - 1} more: see the lines with a !)" if len(broken) > 1 else ""
    raise StudyError(f"{broken[0]}{more}")


def _owner(folder: Path, note: dict, file: Path) -> str:
    """The result that a file belongs to, as one of its files or beside its first one."""
    place = str(file.relative_to(folder))
    for name, result in note["results"].items():
        if place in result["files"]:
            return name
    for name, result in note["results"].items():
        record = folder / result["files"][0]
        if record.parent in file.parents and record.is_file() and file in links.digests_in(record):
            return name
    raise StudyError(f"{file}: no result of study {note['study']!r}, as its {links.NOTE} tells; name another file")


def _json(note: dict, first: str, steps: list[Link], sources: dict, makers: dict) -> str:
    told = [{**step._asdict(), "made_by": makers.get(step.config_hash)} for step in steps]
    return dumps({"study": note["study"], "result": first, "steps": told, "sources": sources}, indent=1)


def _table(note: dict, first: str, steps: list[Link], sources: dict, makers: dict) -> str:
    rows = [("", "step", "verb", "file", "made from", "sha256")]
    for step in steps:
        digest = step.sha256[:_SHORT] if step.sha256 else "-"
        rows.append(("!" if step.fault else "", step.name, step.verb, step.file, step.config_hash, digest))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines = [f"Study {note['study']}: {first}", "", *lines, ""]
    for name, facts in sources.items():
        told = [f"{key} {_word(value)}" for key, value in facts.items() if key != "contents"]
        lines.append(", ".join([f"{name}: {told[0]}", *told[1:], *_contents(facts)]))
    lines += ["", *_made_by(steps, makers)]
    return "\n".join(lines)


def _contents(facts: dict) -> list[str]:
    """How much the note knows of what lay on the disk; `--json` lists it."""
    return [f"checksums or versions of {len(facts['contents'])} parts (--json)"] if "contents" in facts else []


def _word(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


def _made_by(steps: list[Link], makers: dict) -> list[str]:
    """A line for each set of commit, versions and machine, with the number of steps that it made."""
    counts: dict[str, int] = {}
    for step in steps:
        counts[_maker(makers.get(step.config_hash))] = counts.get(_maker(makers.get(step.config_hash)), 0) + 1
    return [f"{count} of {len(steps)} steps {words}" for words, count in counts.items()]


def _maker(job: dict | None) -> str:
    if job is None:
        return "left no word of what made them in the logs"
    commit = (
        f"at commit {job['commit']}{' with changes' if job['changed'] else ''}" if job["commit"] else "of no commit"
    )
    versions = ", ".join(f"{name} {version}" for name, version in job["packages"].items())
    gpu = f", {job['gpu']}" if job["gpu"] else ""
    machine = f"{job['processor']}, {job['cores']} cores{gpu}, {job['system']}"
    return f"made {commit} on {machine}; Python {job['python']}, {versions}"
