"""Windows of text: the contexts of an SAE, by latent and split, and how they are written for a judge."""

import dataclasses
import functools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_columns, read_table

EXPLAIN, SCORE = "explain", "score"
RANDOM = "random"
_CONTEXT_COLUMNS = ["latent", "stratum", "split", "block", "position", "pieces", "activations"]
_POOL_COLUMNS = ["block", "position", "pieces", "latents"]


@dataclasses.dataclass(frozen=True)
class Window:
    """A run of tokens: where it stands, its pieces of text, and the latent's activation on each.

    Attributes:
        place: (block, position of the first token), which names the window.
        stratum: what it was sampled as.
    """

    place: tuple[int, int]
    stratum: str
    pieces: tuple[str, ...]
    activations: tuple[float, ...]

    @functools.cached_property
    def text(self) -> str:
        """The text as it stands in the document."""
        return "".join(self.pieces).strip()

    @property
    def firing(self) -> tuple[bool, ...]:
        """Whether the latent fires on each token."""
        return tuple(value > 0 for value in self.activations)

    def marked(self, marks: Iterable[bool]) -> str:
        """The text with `<<` and `>>` around each run of marked tokens; such signs in the text are spaced out."""
        parts, inside = [], False
        for piece, mark in zip(self.pieces, marks, strict=True):
            piece = piece.replace("<<", "< <").replace(">>", "> >")
            if mark and not inside:
                space = piece[: len(piece) - len(piece.lstrip())]
                parts += [space, "<<"]
                piece = piece[len(space) :]
            elif inside and not mark:
                parts.append(">>")
            parts.append(piece)
            inside = mark
        return ("".join(parts) + (">>" if inside else "")).strip()

    @functools.cached_property
    def words(self) -> tuple[str, ...]:
        """The words and signs of the text, in lower case."""
        return tuple(words(self.text))

    @functools.cached_property
    def firing_words(self) -> tuple[int, ...]:
        """Which of `words` hold a token that the latent fires on."""
        raw = "".join(self.pieces)
        lead = len(raw) - len(raw.lstrip())
        spans, start = [], -lead
        for piece, fires in zip(self.pieces, self.firing, strict=True):
            # The space before a word belongs to its token, but is no part of the word.
            if fires and piece.strip():
                spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
            start += len(piece)
        found = _WORD.finditer(self.text)
        return tuple(
            place
            for place, match in enumerate(found)
            if any(match.start() < end and begin < match.end() for begin, end in spans)
        )


_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """The words and signs of a text, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


class Contexts:
    """The contexts of one SAE, for some of its latents.

    Args:
        path: the table of contexts.
        latents: the latents to keep.

    Raises:
        StudyError: the table is missing, or lacks a column.
    """

    def __init__(self, path: Path, latents: Iterable[int]) -> None:
        table = _read(path, _CONTEXT_COLUMNS, [("latent", "in", [int(latent) for latent in latents])])
        self._windows: dict[tuple[int, str, bool], list[Window]] = {}
        for row in zip(*(table[name].tolist() for name in _CONTEXT_COLUMNS), strict=True):
            latent, stratum, split, block, position, pieces, activations = row
            window = Window((block, position), stratum, tuple(pieces), tuple(map(float, activations)))
            self._windows.setdefault((latent, split, stratum != RANDOM), []).append(window)

    def positives(self, latent: int, split: str) -> list[Window]:
        """The windows in which a latent fires, strongest first."""
        windows = self._windows.get((latent, split, True), [])
        return sorted(windows, key=lambda window: (-max(window.activations), window.place))

    def negatives(self, latent: int, split: str) -> list[Window]:
        """Windows in which a latent does not fire, by place."""
        return sorted(self._windows.get((latent, split, False), []), key=lambda window: window.place)

    def blocks(self, latent: int, split: str) -> set[int]:
        """The blocks that a split of a latent takes windows from."""
        both = (self._windows.get((latent, split, fires), []) for fires in (True, False))
        return {window.place[0] for windows in both for window in windows}


class Pool:
    """Windows that all SAEs of a cohort have in common, and the latents of one SAE that fire in each.

    Args:
        path: the table of the pool.

    Raises:
        StudyError: the table is missing, or lacks a column.

    Attributes:
        windows: by place. The activations in them are not known and stand as 0.
    """

    def __init__(self, path: Path) -> None:
        table = _read(path, _POOL_COLUMNS)
        rows = zip(*(table[name].tolist() for name in _POOL_COLUMNS), strict=True)
        self.windows: dict[tuple[int, int], Window] = {}
        self._fires: dict[int, set[tuple[int, int]]] = {}
        for block, position, pieces, latents in rows:
            place = (block, position)
            self.windows[place] = Window(place, RANDOM, tuple(pieces), (0.0,) * len(pieces))
            for latent in latents:
                self._fires.setdefault(int(latent), set()).add(place)

    def fires(self, latent: int) -> set[tuple[int, int]]:
        """Where the windows are in which a latent fires."""
        return self._fires.get(latent, set())


def live_latents(contexts: Path) -> np.ndarray:
    """The latents that have contexts, ascending: those that fire.

    Raises:
        StudyError: the table is missing.
    """
    return np.unique(_read(contexts, ["latent"])["latent"].to_numpy())


def _read(path: Path, columns: list[str], filters: list[tuple] | None = None) -> pd.DataFrame:
    known = read_columns(path)
    if missing := [name for name in columns if name not in known]:
        raise StudyError(f"{path}: has no column {', '.join(missing)}; delete it and run again")
    return read_table(path, columns, filters)[0]
