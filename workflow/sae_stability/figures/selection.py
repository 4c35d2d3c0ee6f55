"""Choosing rows of a figure's table."""

import pandas as pd


def rows_where(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows whose columns have these values: `rows_where(table, source="trained", latents="all")`."""
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def all_and_live(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of this run's SAEs that count all latents, and those that count live latents only."""
    trained = rows_where(rows, source="trained")
    return rows_where(trained, latents="all"), rows_where(trained, latents="live")
