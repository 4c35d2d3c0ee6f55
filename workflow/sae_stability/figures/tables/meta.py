"""Table of the figure `meta`: what meta-SAEs explain, how stable they are, and the parts of latents."""

from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.figures import published
from sae_stability.figures.tables import overlap
from sae_stability.interpret.measures import wilson

COLUMNS = ("series", "source", "cohort", "panel", "group", "detail", "a", "b", "x", "value", "n", "threshold")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Rows of seven panels.

    - `explained` and `explained uncentred`: variance explained (`value`) by a dictionary (`group`) with an encoder
      (`detail`), a row a meta-SAE, whose seed is `a`; `x` is L0, `n` the number of directions. Baselines have the
      source "baseline".
    - `stability`: the shared fraction of a pair `a`, `b` of a cohort (`group`); `detail` is "all" or "live", `n` the
      latents that count. Random dictionaries have the source "floor".
    - `parts`: share of latents of an SAE (`group`) that `x` meta-latents of the meta-SAE `a` make up; `n` its latents.
    - `cosines`: share of a dictionary's directions whose largest cosine with another (`group`) lies in the bin from
      `x`, with the meta-SAE `a`; `n` directions.
    - `graph`: of the `n` pairs of latents with a meta-latent of the meta-SAE `a` in common, the fraction that are also
      near one latent of a smaller SAE (`group`), at the cosine `x`. Pairs placed at random have the source "floor".
    - `choice`, where explanations were chosen by the parts of latents: the fraction chosen rightly (`detail` "right"),
      with the ends of its 95 % interval ("low", "high"), of the `n` latents that could be asked about; "unanswered" is
      the fraction of all sampled latents of which nothing could be asked. `a` is the meta-SAE. Chance has the source
      "floor".

    Rows with the source "published" are those of the paper. Of its cosines it gives the place `x` of the peak alone.

    Args:
        inputs: (cohort, overlap folder) of the meta-SAEs, then those of the cohorts that stand beside them, and
            (cohort, file) of the tables of meta-SAEs.

    Raises:
        StudyError: a missing or damaged table.
    """
    folders = [path for _, path in inputs if Path(path).suffix != ".parquet"]
    paths = {Path(path).stem: path for _, path in inputs if Path(path).suffix == ".parquet"}
    made = {name: files.read_table(paths[name])[0] for name in ("baselines", "parts", "cosines", "graph")}
    stability, threshold = _stability(folders)
    found = pd.concat(
        [
            *(_explained(made["baselines"]), stability, _parts(made["parts"]), _cosines(made["cosines"])),
            *([_graph(made["graph"])] if len(made["graph"]) else []),
            *([_choice(paths["choice"])] if "choice" in paths else []),
        ]
    )
    found = found.assign(series="this run", cohort=Path(folders[0]).name, threshold=threshold)
    found = pd.concat([found, pd.DataFrame(_published())])
    for column in ("a", "b", "detail"):
        found[column] = found[column].map(_name)
    return found[list(COLUMNS)].reset_index(drop=True)


def _explained(baselines: pd.DataFrame) -> pd.DataFrame:
    columns = {"dictionary": "group", "encoder": "detail", "seed": "a", "l0": "x", "n_directions": "n"}
    rows = baselines.rename(columns=columns)
    source = (rows["group"] == "meta-SAE").map({True: "trained", False: "baseline"})
    rows = rows.assign(source=source)
    return pd.concat(
        rows.assign(panel=column.replace("_", " "), value=rows[column])[
            ["source", "panel", "group", "detail", "a", "x", "value", "n"]
        ]
        for column in ("explained", "explained_uncentred")
    )


def _stability(folders: list[Path]) -> tuple[pd.DataFrame, float]:
    found, threshold = [], 0.0
    for folder in folders:
        columns = ["cohort", "a", "b", "latents", "source", "n", "shared"]
        pairs, threshold = overlap.read(folder, "pairs", columns)
        pairs = pairs[pairs["source"].isin(("trained", "floor"))]
        found.append(pairs.rename(columns={"latents": "detail", "shared": "value", "cohort": "group"}))
    rows = pd.concat(found).assign(panel="stability", x=float("nan"))
    return rows[["source", "panel", "group", "detail", "a", "b", "x", "value", "n"]], threshold


def _parts(parts: pd.DataFrame) -> pd.DataFrame:
    counts = parts.groupby(["sae", "seed", "meta_latents"], sort=False).size().rename("count").reset_index()
    n = counts.groupby(["sae", "seed"])["count"].transform("sum")
    rows = counts.assign(source="trained", panel="parts", value=counts["count"] / n, n=n)
    rows = rows.rename(columns={"sae": "group", "seed": "a", "meta_latents": "x"})
    return rows[["source", "panel", "group", "a", "x", "value", "n"]]


def _cosines(cosines: pd.DataFrame) -> pd.DataFrame:
    n = cosines.groupby(["of", "to", "seed"])["count"].transform("sum")
    rows = cosines.assign(source="trained", panel="cosines", value=cosines["count"] / n, n=n)
    rows = rows.assign(group=rows["of"] + " to " + rows["to"]).rename(columns={"seed": "a", "low": "x"})
    return rows[["source", "panel", "group", "a", "x", "value", "n"]]


def _graph(graph: pd.DataFrame) -> pd.DataFrame:
    columns = {"directions": "group", "seed": "a", "cosine": "x", "edges": "n"}
    rows = graph.rename(columns=columns).assign(panel="graph")
    sources = (("trained", "agreement"), ("floor", "chance"))
    return pd.concat(
        rows.assign(source=source, value=rows[column])[["source", "panel", "group", "a", "x", "value", "n"]]
        for source, column in sources
    )


def _choice(path: Path) -> pd.DataFrame:
    table, metadata = files.read_table(path, ["seed", "correct", "status"])
    rows = []
    for seed, some in table.groupby("seed"):
        asked = some[some["status"] == "ok"]
        found = {"unanswered": 1 - len(asked) / len(some)}
        if len(asked):
            found |= _right(int(asked["correct"].sum()), len(asked))
        rows += [{"a": seed, "source": "trained", "detail": k, "value": v, "n": len(asked)} for k, v in found.items()]
        rows.append(
            {"a": seed, "source": "floor", "detail": "right", "value": 1 / metadata["options"], "n": len(asked)}
        )
    return pd.DataFrame(rows).assign(panel="choice", group=Path(path).parent.name)


def _right(right: int, n: int) -> dict[str, float]:
    """The fraction chosen rightly, with its 95 % interval."""
    return dict(zip(("right", "low", "high"), wilson(right, n), strict=True))


def _published() -> list[dict]:
    row = {"series": published.CANONICAL, "source": "published", "cohort": "", "threshold": published.THRESHOLD}
    explained = row | {"panel": "explained", "x": published.META_K, "n": published.META_LATENTS}
    rows = [
        explained | {"group": dictionary, "detail": encoder, "value": value}
        for dictionary, encoder, value in published.META_EXPLAINED
    ]
    rows += [row | {"panel": "cosines", "group": group, "x": x} for group, x in published.META_COSINES.items()]
    rows.append(row | {"panel": "graph", "group": "gpt2-3072", "value": published.META_GRAPH})
    right, n = published.META_CHOICE
    chosen = row | {"panel": "choice", "group": "meta-SAE", "n": n}
    rows += [chosen | {"detail": detail, "value": value} for detail, value in _right(right, n).items()]
    return rows


def _name(value: object) -> str:
    """A seed or a word as text; empty where there is none."""
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else str(int(value))
