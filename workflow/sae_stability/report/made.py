"""How a paper was made: settings, versions, commit, time and machine."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sae_stability.figures import phrases
from sae_stability.made import made
from sae_stability.report.blocks import Block, paragraph, table
from sae_stability.report.evidence import Evidence


def making(records: Sequence[Path]) -> dict:
    """What a paper tells of how it was made, if it is made now.

    Args:
        records: the records of its figures, whose times say when they were drawn.

    Returns:
        What `made.made` gives, but for the time; and `drawn`, the first and the last time of drawing, UTC. None where
        there are no figures.
    """
    # Times of files, so that the same files give the same paper.
    days = sorted(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in records)
    told = {name: value for name, value in made().items() if name != "finished"}
    return told | {"drawn": [day.strftime("%Y-%m-%d %H:%M") for day in (days[0], days[-1])] if days else None}


def how_it_was_made(found: Evidence, making: dict) -> list[Block]:
    """The section's blocks.

    Args:
        found: what the paper is written from.
        making: as the function of that name gives it.
    """
    sources = [[phrases.escape(cell) for cell in row] for row in found.facts["sources"]]
    software = {"Python": making["python"], **making["packages"]}
    versions = [(phrases.escape(name), phrases.escape(version)) for name, version in software.items()]
    return [
        *paragraph(
            f"Study {phrases.escape(found.study)}, device {found.facts['device']}.",
            _commit(making),
            _times(making),
            f"Machine that wrote this paper: {phrases.escape(making['processor'])}, "
            f"{phrases.count(making['cores'], 'core')}, {phrases.escape(making['system'])}.",
        ),
        *paragraph(
            "A sentence of this paper stands here because its condition holds in the tables of this run, and its "
            "numbers are taken from them. Each figure has its table beside it, as Parquet and CSV, in the folder "
            "*figures* of the results. How each SAE was trained is recorded beside it; every job's own words are in "
            "*logs*; the jobs are in workflow-report.html."
        ),
        *table("Sources", ("what", "name", "version or checksum", "more"), sources),
        *table("Software that wrote this paper", ("package", "version"), versions),
    ]


def _commit(making: dict) -> str:
    if making["commit"] is None:
        return ""
    changed = " with changes that are not committed" if making["changed"] else ""
    return f"Code: git commit {phrases.escape(making['commit'])}{changed}."


def _times(making: dict) -> str:
    if making["drawn"] is None:
        return ""
    first, last = map(phrases.escape, making["drawn"])
    return (
        f"Its figures were drawn at {first} UTC."
        if first == last
        else f"Its figures were drawn from {first} to {last} UTC."
    )
