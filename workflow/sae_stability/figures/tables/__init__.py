"""The table step: overlap tables of one or several cohorts -> one tidy table a figure. Imports no plotting library."""

from pathlib import Path

from sae_stability import files
from sae_stability.figures import registry


def write_table(*, figure: str, input: list[tuple[str, Path]], config_hash: str = "", out: Path) -> None:
    """Make a figure's tidy table, and write it as Parquet and as CSV.

    Args:
        figure: kind of the figure.
        input: LABEL=PATH of a table to read, once for each, in the order to draw; the figure's `table` function says
            what label and path mean to it.
        config_hash: fingerprint of the inputs and the code behind the table, recorded in it.
        out: file for the table, ending in .parquet; the CSV file is written beside it.

    Raises:
        StudyError: no such figure, a missing or damaged input, or a label that the figure has no place for.
    """
    table = registry.load(figure, "table").table(input)
    csv = Path(out).with_suffix(".csv")
    with files.atomic(csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    files.write_table(out, table, {"figure": figure, "config_hash": config_hash, "csv_sha256": files.sha256(csv)})
