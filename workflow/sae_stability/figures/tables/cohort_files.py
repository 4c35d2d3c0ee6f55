"""The files of a cohort's SAEs and pairs among a figure's inputs."""

from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError


def folder_of(inputs: list[tuple[str, Path]]) -> Path:
    """The folder of overlap tables.

    Raises:
        StudyError: there is none, or several.
    """
    folders = [path for _, path in inputs if Path(path).suffix != ".parquet"]
    if len(folders) != 1:
        raise StudyError(f"this figure draws one cohort: it needs one overlap folder as input, not {len(folders)}")
    return folders[0]


def of_pairs(inputs: list[tuple[str, Path]], stage: str) -> dict[tuple[int, int], pd.DataFrame]:
    """The tables of a stage ("matches", "cofiring"), by the two seeds.

    Raises:
        StudyError: there is none, or one is missing or damaged.
    """
    found = {tuple(map(int, path.stem.split("-"))): files.read_table(path)[0] for path in _paths(inputs, stage)}
    return dict(sorted(found.items()))


def of_saes(inputs: list[tuple[str, Path]], stage: str) -> dict[int, pd.DataFrame]:
    """The tables of a stage ("firing"), by seed.

    Raises:
        StudyError: there is none, or one is missing or damaged.
    """
    found = {int(path.stem.removeprefix("seed-")): files.read_table(path)[0] for path in _paths(inputs, stage)}
    return dict(sorted(found.items()))


def _paths(inputs: list[tuple[str, Path]], stage: str) -> list[Path]:
    """The files RESULTS/STAGE/COHORT/FILE.parquet."""
    paths = [Path(path) for _, path in inputs if Path(path).parent.parent.name == stage]
    if not paths:
        raise StudyError(f"this figure needs the tables of a cohort in {stage}/COHORT/")
    return paths
