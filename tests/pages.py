"""Code that the pages show, for tests that run it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "docs" / "contributing.md"
FORMATS = ROOT / "docs" / "formats.md"


def section(page: Path, heading: str) -> str:
    """The text below a heading of the second level."""
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)[1]


def files(text: str) -> dict[str, str]:
    """The code blocks that follow a line `PATH`: and are a whole file, by path."""
    return {path: code for path, kind, code in _named_blocks(text) if kind != "diff"}


def changes(text: str) -> list[tuple[str, str, str]]:
    """(path, old, new) of every hunk in the `diff` blocks that follow a line `PATH`:."""
    found = []
    for path, kind, code in _named_blocks(text):
        if kind == "diff":
            for hunk in re.split(r"^@@\n", code, flags=re.MULTILINE):
                lines = hunk.splitlines(keepends=True)
                old, new = (
                    "".join(line[1:] or "\n" for line in lines if line[0] != left_out) for left_out in ("+", "-")
                )
                found.append((path, old, new))
    return found


def _named_blocks(text: str) -> list[tuple[str, str, str]]:
    return re.findall(r"`([\w./-]+)`:\n\n```(\w+)\n(.*?)```", text, re.DOTALL)


def column_types(text: str) -> dict[str, str]:
    """Column -> type, from the tables of a section that have a line a column (`column | type | meaning`)."""
    found = {}
    for cells in _rows(text, "column"):
        found |= dict.fromkeys(names(cells[0]), cells[1])
    return found


def columns_of_each(text: str, head: str) -> dict[str, set[str]]:
    """Name -> its columns, from the table of a section with a line a file or kind; `head` is its first heading."""
    found: dict[str, set[str]] = {}
    for cells in _rows(text, head):
        columns = names(cells[2])
        if cells[2].startswith("those of "):
            columns = found[columns[0]] | set(columns[1:])
        found |= {name: set(columns) for name in names(cells[0])}
    return found


def names(cell: str) -> list[str]:
    """What stands between backticks outside parentheses; `x_{a,b}` is x_a and x_b."""
    found = []
    for name in re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell)):
        before, choices, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", name).groups()
        found += [f"{before}{choice}{after}" for choice in (choices or "").split(",")]
    return found


def _rows(text: str, head: str) -> list[list[str]]:
    """The cells of each line of the tables whose first heading is `head`."""
    tables = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for table in tables for line in table.splitlines()]
