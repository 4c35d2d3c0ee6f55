"""A package `planted` whose modules a test writes, and what the code hash sees in it."""

import textwrap
from pathlib import Path

from sae_stability.pipeline import definitions, modules

CACHED = (modules.files, modules.module, modules.split, definitions.read, definitions._resolve, definitions._parts)


class Planted:
    """The package in the folder `root`, in the place of this project's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: dict[str, str]) -> None:
        """Write modules: path in the package -> text."""
        for name, text in {"__init__.py": "", **files}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        forget()

    def reached(self, files: dict[str, str], *roots: str, **given: tuple[str, ...]) -> set[str]:
        """What definitions reach once the files are written; all names are given and returned without `planted.`."""
        self.write(files)
        given = {name: [f"planted.{dotted}" for dotted in names] for name, names in given.items()}
        return {self._text(found) for found in definitions.reached([f"planted.{root}" for root in roots], **given)}

    def digest(self, files: dict[str, str], root: str) -> str:
        """The digest of a definition once the files are written."""
        self.write(files)
        (definition,) = definitions._definitions(f"planted.{root}")
        return definitions.read(definition).digest

    def _text(self, definition: definitions.Definition) -> str:
        """The module, and the first 40 characters of the definition and what follows on its lines."""
        lines = modules.files()[definition.module].read_text().splitlines()
        text = "\n".join(lines[definition.lines.start - 1 : definition.lines.stop - 1])[definition.node.col_offset :]
        return f"{definition.module.removeprefix('planted').lstrip('.')}: {' '.join(text.split())[:40]}"


def forget() -> None:
    """Empty the caches, which hold what modules said before."""
    for cached in CACHED:
        cached.cache_clear()
