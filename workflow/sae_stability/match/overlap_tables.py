"""The overlap tables of a cohort: how much its SAEs share, pair by pair, seed by seed and latent by latent.

Definitions at threshold t for a latent i of the base SAE A (reference: arXiv 2501.16615, matching definitions):

- same: i has the same counterpart in the encoder and in the decoder assignment, at any cosine;
- shared: same, and both cosines >= t (the definition used wherever one number is quoted);
- joint: both cosines >= t, counterparts may differ (the authors' notebook);
- max: the largest decoder and the largest encoder cosine of i are both >= t (many to one);
- decoder_only: decoder cosine >= t (the authors' bar charts).

"live" values count only latents of A that fired on the held-out rows, and a counterpart counts only if it fired too.
Every value is also computed for matched random dictionaries (source "floor"), and for random dictionaries whose encoder
equals their decoder, as in an SAE before training (source "tied", see `tied`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.match import intervals, row_geometry, seed_counts, subspace
from sae_stability.match.absolute import ABSOLUTE
from sae_stability.match.threshold import THRESHOLD
from sae_stability.ranges import Cosine

LATENTS = ("all", "live")
THRESHOLDS = np.arange(51) / 50  # of `thresholds_table`


@dataclass(frozen=True)
class Pair:
    """The match of two SAEs, A and B.

    Attributes:
        a, b: their seeds.
        source: "trained", "floor" or "tied".
        columns: the columns of the match file, by name; `(n,)` each, or `(m,)` for those over B's latents.
        metadata: of the match file, with the certificate of each side.
    """

    a: int
    b: int
    source: str
    columns: dict[str, np.ndarray]
    metadata: dict

    @property
    def same(self) -> np.ndarray:
        """`(n,)` bool: both assignments agree on a counterpart."""
        encoder, decoder = self.columns["counterpart_encoder"], self.columns["counterpart_decoder"]
        return (encoder == decoder) & (encoder >= 0)

    def base(self, latents: str) -> np.ndarray:
        """`(n,)` bool: the latents of A that count, "all" or the "live" ones."""
        return self.columns["alive"] if latents == "live" else np.ones_like(self.columns["alive"])

    def passes(self, test: str, threshold: float, latents: str) -> np.ndarray:
        """`(n,)` bool: latents of A that pass `test` ("shared", "joint", "max", "decoder_only", "mutual_nearest")."""
        decoder, encoder = ("best_decoder", "best_encoder") if test == "max" else ("counterpart_decoder",) * 2
        c = self.columns
        if test == "max":
            passed = (c["best_decoder_cosine"] >= threshold) & (c["best_encoder_cosine"] >= threshold)
        elif test == "mutual_nearest":
            decoder = encoder = "best_decoder"
            mutual = c["reverse_best_decoder"][c["best_decoder"]] == c["latent"]
            passed = mutual & (c["best_decoder_cosine"] >= threshold)
        else:
            passed = c["cosine_decoder"] >= threshold
            if test != "decoder_only":
                passed = passed & (c["cosine_encoder"] >= threshold)
                encoder = "counterpart_encoder"
            if test == "shared":
                passed = passed & self.same
        if latents == "live":
            passed = passed & c["alive"] & c["alive_b"][c[decoder]] & c["alive_b"][c[encoder]]
        return passed

    def agrees(self, latents: str) -> np.ndarray:
        """`(n,)` bool: latents of A that count and have the same counterpart in both assignments (live: a live one)."""
        agreed = self.same & self.base(latents)
        if latents == "live":
            agreed = agreed & self.columns["alive_b"][self.columns["counterpart_decoder"]]
        return agreed

    def shared_of(self, seed: int, threshold: float, latents: str) -> np.ndarray:
        """`(n,)` bool: the latents of SAE `seed`, which is A or B, that are shared with the other one."""
        shared = self.passes("shared", threshold, latents)
        if seed == self.a:
            return shared
        of_b = np.zeros_like(shared)
        of_b[self.columns["counterpart_decoder"][shared]] = True
        return of_b


def write_overlap(
    *,
    cohort: str,
    match: Sequence[Path],
    floor: Sequence[Path] = (),
    latents: Sequence[tuple[int, Path]] = (),
    sae: Sequence[tuple[int, Path]] = (),
    threshold: Cosine = THRESHOLD,
    config_hash: str = "",
    out: Path,
) -> None:
    """Write a cohort's tables into `out`: `pairs`, `thresholds`, `seeds`, `latents` and `intervals`, as `.parquet`.

    Args:
        cohort: name of the cohort.
        match: match file of a pair of the cohort's seeds; once for every pair.
        floor: match file of random dictionaries of the same shape; once for every repeat.
        latents: SEED=FILE, the evaluation's table of latents of each seed.
        sae: SEED=FOLDER, the SAE of each seed; with them `pairs` also says whether unshared latents span a common
            subspace, and `latents` how long each encoder row is and how close other decoder rows lie.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        config_hash: fingerprint of the matches, settings and code behind the tables, recorded in them.
        out: folder for the tables.

    Raises:
        StudyError: a pair is missing, is given twice, or belongs to a cohort or size other than the rest.
    """
    floors = [read_pair(path, "floor") for path in floor]
    evaluation = {int(seed): read_table(path)[0] for seed, path in latents}
    unevaluated = {seed for seed, table in evaluation.items() if table["rate"].isna().all()}
    trained = [_without_live(pair, unevaluated) for pair in (read_pair(path, "trained") for path in match)]
    _check(cohort, trained, floors, sorted(evaluation))
    floors_by_source = {"floor": floors, "tied": [tied(pair) for pair in floors]}
    all_pairs = [*trained, *floors_by_source["floor"], *floors_by_source["tied"]]
    out = Path(out)
    pairs = pairs_table(all_pairs, threshold)
    if sae:
        pairs = pairs.merge(
            subspace.table(trained, dict(sae), threshold), how="left", on=["a", "b", "source", "latents"]
        )
    pairs[ABSOLUTE] = [_mean_absolute_cosine(pair, latents) for pair in all_pairs for latents in LATENTS]
    geometry = {seed: row_geometry.of(path) for seed, path in sae}
    tables = {
        "thresholds": thresholds_table(all_pairs),
        "seeds": seed_counts.table(trained, floors_by_source, sorted(evaluation), threshold),
        "latents": latents_table(trained, evaluation, threshold, geometry),
        "intervals": intervals.table(pairs),
        "pairs": pairs,  # last: by this table a run tells whether all are finished
    }
    for name, table in tables.items():
        if "cohort" not in table:
            table.insert(0, "cohort", cohort)
        write_table(
            out / f"{name}.parquet", table, {"cohort": cohort, "threshold": threshold, "config_hash": config_hash}
        )


def read_pair(path: Path, source: str = "trained") -> Pair:
    """Read a match file.

    Raises:
        StudyError: it is missing or damaged, or no match file.
    """
    table, metadata = read_table(path)
    if "a" not in metadata or "counterpart_encoder" not in table:
        raise StudyError(f"{path}: not a match file; delete it and run again")
    columns = {name: table[name].to_numpy() for name in table}
    return Pair(metadata["a"]["seed"], metadata["b"]["seed"], source, columns, metadata)


def _without_live(pair: Pair, unevaluated: set[int]) -> Pair:
    """`pair`, with all latents dead if an SAE was evaluated on no activations, so that live values are NaN."""
    if not {pair.a, pair.b} & unevaluated:
        return pair
    dead = np.zeros_like(pair.columns["alive"])
    return replace(pair, columns=pair.columns | {"alive": dead, "alive_b": dead})


def tied(random: Pair) -> Pair:
    """A pair of random dictionaries with each encoder replaced by its decoder.

    SAEs start training with equal encoder and decoder (`training.initial_weights`; sparsify, dictionary_learning and
    SAELens start the same way). Both assignments are then equal, so two untrained SAEs have the same counterpart for
    every latent. Compare "same counterpart" with this floor: it is almost 0 where encoder and decoder are independent.
    """
    columns = {name: random.columns[name.replace("encoder", "decoder")] for name in random.columns}
    metadata = random.metadata | {"encoder": random.metadata["decoder"]}
    return replace(random, source="tied", columns=columns, metadata=metadata)


def _check(cohort: str, trained: list[Pair], floors: list[Pair], seeds: list[int]) -> None:
    """Check that every pair of seeds is there once, and that all pairs are of this cohort and of one size."""
    expected = {(a, b) for a in seeds for b in seeds if a < b}
    present = [(min(p.a, p.b), max(p.a, p.b)) for p in trained]
    if set(present) != expected or len(present) != len(expected):
        missing = sorted(expected - set(present))
        raise StudyError(
            f"overlap of cohort {cohort}: seeds {seeds} make {len(expected)} pairs, each needed once; there are "
            f"{len(present)} match files{f', pair {missing[0]} is missing' if missing else ''}; match all pairs first"
        )
    foreign = [p for p in trained if p.metadata["a"]["cohort"] != cohort]
    if foreign:
        raise StudyError(
            f"overlap of cohort {cohort}: a match file is of cohort {foreign[0].metadata['a']['cohort']}; give match "
            f"files of {cohort} only"
        )
    sizes = {len(p.columns["latent"]) for p in trained + floors}
    if len(sizes) > 1:
        raise StudyError(
            f"overlap of cohort {cohort}: match files and floors must have one number of latents, but have "
            f"{sorted(sizes)}; delete those of other sizes and run again"
        )


def pairs_table(pairs: list[Pair], threshold: float) -> pd.DataFrame:
    """One row per pair, source and choice of latents (all or live): fractions, mean cosines, gaps per latent.

    `mean_cosine_decoder` averaged over pairs is PW-MCC (Song et al., arXiv 2505.20254): the mean over seed pairs of
    (1/n) max over permutations of the sum of matched signed decoder cosines. `mean_best_decoder` and
    `mean_best_decoder_reverse` are MMCS (Sharkey et al. 2022) from A to B and from B to A: mean_i max_j cos(a_i, b_j).
    PW-MCC with |cosine| is SAELens' `mean_correlation_coefficient`; `write_overlap` adds it, last.
    `mutual_nearest`: latents whose nearest decoder row has them as its nearest, with cosine >= t (arXiv 2603.25325).
    """
    return pd.DataFrame([pair_row(pair, latents, threshold) for pair in pairs for latents in LATENTS])


def pair_row(pair: Pair, latents: str, threshold: float) -> dict:
    """One row of `pairs_table`. Mean matched cosines leave out latents without a counterpart (where B is smaller)."""
    base = pair.base(latents)
    n = int(base.sum())
    row = {"a": pair.a, "b": pair.b, "source": pair.source, "latents": latents, "n": n}
    row["shared"] = _fraction(pair.passes("shared", threshold, latents), n)
    row["same_counterpart"] = _fraction(pair.agrees(latents), n)
    for test in ("joint", "max", "decoder_only"):
        row[test] = _fraction(pair.passes(test, threshold, latents), n)
    for side in ("decoder", "encoder"):
        matched = pair.columns[f"counterpart_{side}"] >= 0
        row[f"mean_cosine_{side}"] = _mean(pair.columns[f"cosine_{side}"], base & matched)
    for side in ("decoder", "encoder"):
        row[f"mean_best_{side}"] = _mean(pair.columns[f"best_{side}_cosine"], base)
    alive_b = pair.columns["alive_b"]
    base_b = alive_b if latents == "live" else np.ones_like(alive_b)
    for side in ("decoder", "encoder"):
        row[f"mean_best_{side}_reverse"] = _mean(pair.columns[f"reverse_best_{side}_cosine"], base_b)
    row["mutual_nearest"] = _fraction(pair.passes("mutual_nearest", threshold, latents), n)
    for side in ("encoder", "decoder"):
        row[f"gap_{side}"] = pair.metadata[side]["gap"] / len(base)
    return row


def _mean_absolute_cosine(pair: Pair, latents: str) -> float:
    """PW-MCC with |cosine|, which the match records; it is of all latents, so NaN for the live ones."""
    return pair.metadata.get(ABSOLUTE, np.nan) if latents == "all" else np.nan


def thresholds_table(pairs: list[Pair]) -> pd.DataFrame:
    """The fractions at every threshold 0, 0.02 ... 1 (arXiv 2501.16615, appendix).

    `same` is the same-counterpart fraction, which does not depend on the threshold.
    """
    rows = []
    for pair in pairs:
        for latents in LATENTS:
            base = pair.base(latents)
            n = int(base.sum())
            same = _fraction(pair.agrees(latents), n)
            for threshold in THRESHOLDS:
                row = {"a": pair.a, "b": pair.b, "source": pair.source, "latents": latents, "threshold": threshold}
                for test in ("shared", "joint", "max"):
                    row[test] = _fraction(pair.passes(test, threshold, latents), n)
                rows.append(row | {"same": same})
    return pd.DataFrame(rows)


def latents_table(
    pairs: list[Pair], evaluation: dict[int, pd.DataFrame], threshold: float, geometry: dict[int, pd.DataFrame]
) -> pd.DataFrame:
    """One row per seed and latent.

    `stability` is the fraction of the other seeds in which the latent is shared (per-feature stability, after
    Gerasimov et al., arXiv 2606.12138, with the one-to-one definition in place of max cosine > t).
    `mean_cosine` is the mean over other seeds of the mean of its matched decoder and encoder cosine (arXiv 2501.16615,
    Fig. 3).
    `init_similarity_*` is the cosine of the trained row with its initial value: near 1, training hardly moved it.
    `geometry` gives the columns of `row_geometry.of` of each seed; none for a seed without.
    """
    seeds = sorted(evaluation)
    n = len(pairs[0].columns["latent"]) if pairs else len(evaluation[seeds[0]])
    tables = []
    for seed in seeds:
        shared_with = np.zeros(n, np.int64)
        cosine = np.zeros(n)
        own_pairs = [pair for pair in pairs if seed in (pair.a, pair.b)]
        for pair in own_pairs:
            shared_with += pair.shared_of(seed, threshold, "all")
            cosine += (_matched_cosine(pair, "decoder", seed) + _matched_cosine(pair, "encoder", seed)) / 2
        n_others = max(len(own_pairs), 1)
        table = pd.DataFrame(
            {"seed": seed, "latent": np.arange(n), "shared_with": shared_with, "n_others": len(own_pairs)}
        )
        table["stability"] = shared_with / n_others if own_pairs else np.nan
        table["mean_cosine"] = cosine / n_others if own_pairs else np.nan
        for column in ("rate", "alive", "init_similarity_encoder", "init_similarity_decoder"):
            if column in evaluation[seed]:
                table[column] = evaluation[seed][column].to_numpy()
        if seed in geometry:
            table = pd.concat([table, geometry[seed]], axis=1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _matched_cosine(pair: Pair, side: str, seed: int) -> np.ndarray:
    """`(n,)` matched cosine of each latent of SAE `seed`, which is A or B."""
    cosine = pair.columns[f"cosine_{side}"]
    if seed == pair.a:
        return cosine
    of_b = np.full(cosine.size, np.nan)
    of_b[pair.columns[f"counterpart_{side}"]] = cosine
    return of_b


def _fraction(passed: np.ndarray, n: int) -> float:
    return float(passed.sum()) / n if n else np.nan


def _mean(values: np.ndarray, base: np.ndarray) -> float:
    return float(values[base].mean()) if base.any() else np.nan
