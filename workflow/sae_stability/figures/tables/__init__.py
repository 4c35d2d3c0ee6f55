"""The table step: overlap tables of one or several cohorts -> one tidy table a figure. Imports no plotting library."""

from pathlib import Path

from sae_stability import files
from sae_stability.figures import registry


def write_table(*, figure: str, inputs: list[tuple[str, Path]], out: Path) -> None:
    """Make the tidy table of `figure` and write it to `out` (Parquet), and beside it as CSV.

    Args:
        figure: a name in `registry.FIGURES`.
        inputs: (label, path); what the path is and what the label means, the figure's `table` says.
        out: `figures/NAME.parquet`.

    Raises:
        StudyError: no such figure, a missing or damaged input, or a label that the figure cannot place.
    """
    table = registry.load(figure, "table").table(inputs)
    files.write_table(out, table, {"figure": figure})
    with files.atomic(Path(out).with_suffix(".csv")) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
