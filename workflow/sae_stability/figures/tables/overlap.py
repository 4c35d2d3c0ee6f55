"""Reading a cohort's overlap tables, and the long form that the figures over several cohorts share."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import published as paper
from sae_stability.match.threshold import THRESHOLD

PAIR_STATISTICS = ("shared", "same_counterpart", "joint", "decoder_only")
COSINES = ("mean_cosine_decoder", "mean_cosine_encoder")

PAIR_COLUMNS = (
    *("series", "value", "x", "size", "cohort", "a", "b", "source", "latents", "statistic", "fraction", "n"),
    "threshold",
)


def read(folder: str | Path, name: str, columns: Iterable[str]) -> tuple[pd.DataFrame, float]:
    """Read `folder/name.parquet`.

    Returns:
        The table, and the threshold it was made with.

    Raises:
        StudyError: the file is missing, damaged, or lacks one of `columns`.
    """
    path = Path(folder) / f"{name}.parquet"
    table, metadata = files.read_table(path)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"{path}: has no column {', '.join(missing)}; delete it and run again")
    return table, float(metadata.get("threshold", THRESHOLD))


def number(label: str) -> float:
    """The number in the label of a sweep's cohort ("384", "2400000").

    Raises:
        StudyError: it is not a positive number, so a logarithmic axis has no place for it.
    """
    try:
        value = float(label)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise StudyError(f"sweep value {label!r}: a positive number is needed to place it on the axis")
    return value


def pair_rows(
    inputs: list[tuple[str, Path]], place: Callable[[str], float], statistics: tuple[str, ...] = PAIR_STATISTICS
) -> pd.DataFrame:
    """One row for each cohort, pair, source, latents and statistic, in the long form `PAIR_COLUMNS`.

    Args:
        inputs: (label, overlap folder) of each cohort.
        place: label -> position on the axis.
        statistics: the columns of the overlap tables to take.

    Returns:
        Sorted by x, then in the order of the overlap tables. `size` is the number of latents of the cohort's SAEs;
        `n` the denominator of `fraction`.
    """
    rows = [_cohort_rows(label, folder, place(label), statistics) for label, folder in inputs]
    return pd.concat(rows).sort_values("x", kind="stable", ignore_index=True)


def pair_rows_in_order(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`pair_rows` with the labels at 0, 1, 2 ... in the order given; cohorts with the same label share a place."""
    place = {label: float(number) for number, label in enumerate(dict.fromkeys(label for label, _ in inputs))}
    return pair_rows(inputs, place.__getitem__)


def _cohort_rows(label: str, folder: Path, x: float, statistics: tuple[str, ...]) -> pd.DataFrame:
    keys = ["cohort", "a", "b", "source", "latents", "n"]
    pairs, threshold = read(folder, "pairs", [*keys, *statistics])
    rows = pairs.melt(
        id_vars=keys, value_vars=list(statistics), var_name="statistic", value_name="fraction", ignore_index=True
    )
    size = int(pairs.loc[pairs["latents"] == "all", "n"].max())
    rows = rows.assign(series="this run", value=label, x=x, size=size, threshold=threshold)
    return rows.astype({"a": str, "b": str})[list(PAIR_COLUMNS)]


def only_folder(inputs: list[tuple[str, Path]]) -> Path:
    """The overlap folder of a figure that draws one cohort.

    Raises:
        StudyError: there are several inputs, or none.
    """
    if len(inputs) != 1:
        raise StudyError(f"this figure draws one cohort: it needs one overlap folder as input, not {len(inputs)}")
    return inputs[0][1]


def split_evaluations(inputs: list[tuple[str, Path]]) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """The inputs that are overlap folders, and those that are evaluations (JSON)."""
    evaluations = [(label, path) for label, path in inputs if Path(path).suffix == ".json"]
    return [given for given in inputs if given not in evaluations], evaluations


def quality(evaluations: list[tuple[str, Path]], names: tuple[str, ...]) -> pd.DataFrame:
    """Means over each cohort's SAEs.

    Args:
        evaluations: (cohort, evaluation JSON) of each SAE.
        names: the keys to read.

    Returns:
        Columns `cohort` and `names`, one row for each cohort.
    """
    found = [
        {"cohort": cohort, **{name: files.read_json(path)[name] for name in names}} for cohort, path in evaluations
    ]
    table = pd.DataFrame(found, columns=["cohort", *names]).astype(dict.fromkeys(names, float))
    return table.groupby("cohort", as_index=False).mean()


def sweep_table(
    inputs: list[tuple[str, Path]], published: dict[float, tuple[float, float]], size: int | None = None
) -> pd.DataFrame:
    """The pairs of every cohort at its value of a setting, with the paper's Figure 4.

    Args:
        inputs: (the setting's value as text, overlap folder) of each cohort.
        published: the setting's value -> (joint, same_counterpart).
        size: number of latents of the published SAEs; None where that number is the setting.

    Returns:
        Columns `PAIR_COLUMNS`.
    """
    paper_rows = _published_sweep(published, size, ("joint", "same_counterpart"))
    return with_published(pair_rows(inputs, number), paper_rows)


def cosine_table(
    inputs: list[tuple[str, Path]], published: dict[float, tuple[float, float]], size: int | None = None
) -> pd.DataFrame:
    """As `sweep_table`, but of the mean cosines of matched rows, `COSINES`, which stand in the column `fraction`."""
    paper_rows = _published_sweep(published, size, COSINES)
    return with_published(pair_rows(inputs, number, COSINES), paper_rows)


def _published_sweep(
    published: dict[float, tuple[float, float]], size: int | None, statistics: tuple[str, str]
) -> list[dict]:
    return [
        published_row(
            series=paper.MODEL, value=f"{x:g}", x=x, size=size or int(x), statistic=statistic, fraction=fraction
        )
        for x, fractions in published.items()
        for statistic, fraction in zip(statistics, fractions, strict=True)
    ]


def published_row(*, series: str, value: str, x: float, size: int, statistic: str, fraction: float) -> dict:
    """One published value as a row of `PAIR_COLUMNS`: source "published", all latents, the paper's threshold."""
    return {
        **{"series": series, "value": value, "x": x, "size": size, "cohort": "", "a": "", "b": ""},
        **{"source": "published", "latents": "all", "statistic": statistic, "fraction": fraction, "n": size},
        "threshold": paper.THRESHOLD,
    }


def with_published(rows: pd.DataFrame, published: list[dict]) -> pd.DataFrame:
    """`rows` of this run followed by the published ones."""
    return pd.concat([rows, pd.DataFrame(published, columns=rows.columns)], ignore_index=True)
