"""The overlap tables of a cohort: how much its SAEs share, pair by pair, seed by seed and latent by latent.

Definitions at threshold t for a latent i of the base SAE A (reference: arXiv 2501.16615, matching definitions):

- same: i has the same counterpart in the encoder and in the decoder assignment, at any cosine;
- shared: same, and both cosines >= t (the definition used wherever one number is quoted);
- joint: both cosines >= t, counterparts may differ (the authors' notebook);
- max: the largest decoder and the largest encoder cosine of i are both >= t (many to one);
- decoder_only: decoder cosine >= t (the authors' bar charts).

"live" values count only base latents that fired on the held-out rows, and a counterpart must have fired to count.
Every value stands beside the same estimate on matched random dictionaries (source "floor"), and on such with the
encoder equal to the decoder (source "tied"), as they are before the first step of training: see `tied`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.match import intervals, seed_counts, subspace

LATENTS = ("all", "live")
SWEEP = np.arange(51) / 50


@dataclass(frozen=True)
class Pair:
    """One match file: names of the two SAEs, its columns as arrays and its certificates."""

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
        """`(n,)` bool: the latents of A that count."""
        return self.columns["alive"] if latents == "live" else np.ones_like(self.columns["alive"])

    def passes(self, test: str, threshold: float, latents: str) -> np.ndarray:
        """`(n,)` bool: latents of A that pass `test` ("shared", "joint", "max", "decoder_only", "mutual_nearest")."""
        decoder, encoder = ("best_decoder", "best_encoder") if test == "max" else ("counterpart_decoder",) * 2
        c = self.columns
        if test == "max":
            passed = (c["best_decoder_cosine"] >= threshold) & (c["best_encoder_cosine"] >= threshold)
        elif test == "mutual_nearest":
            decoder = encoder = "best_decoder"
            returned = c["reverse_best_decoder"][c["best_decoder"]] == c["latent"]
            passed = returned & (c["best_decoder_cosine"] >= threshold)
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
        """`(n,)` bool: which latents of SAE `seed`, either end of the pair, are shared with the other end."""
        shared = self.passes("shared", threshold, latents)
        if seed == self.a:
            return shared
        turned = np.zeros_like(shared)
        turned[self.columns["counterpart_decoder"][shared]] = True
        return turned


def write_overlap(
    *,
    cohort: str,
    match: Sequence[Path],
    floor: Sequence[Path] = (),
    latents: Sequence[tuple[int, Path]] = (),
    sae: Sequence[tuple[int, Path]] = (),
    threshold: float = 0.7,
    out: Path,
) -> None:
    """Write `pairs`, `thresholds`, `seeds`, `latents` and `intervals` `.parquet` of a cohort into folder `out`.

    Args:
        cohort: name of the cohort.
        match: match files of every pair of the cohort's seeds, each once.
        floor: match files of random dictionaries of the same shape.
        latents: SEED=FILE, the evaluation's table of latents of each seed.
        sae: SEED=FOLDER, the SAE of each seed; with them `pairs` also says whether unshared latents span a common
            subspace.
        threshold: the cosine from which a latent counts as shared, in [0, 1] (the papers: 0.7).
        out: folder for the tables.

    Raises:
        StudyError: a pair is missing, stands twice, or belongs to another cohort or size.
    """
    random = [_read(path, "floor") for path in floor]
    evaluation = {int(seed): read_table(path)[0] for seed, path in latents}
    unseen = {seed for seed, table in evaluation.items() if table["rate"].isna().all()}
    trained = [_without_live(pair, unseen) for pair in (_read(path, "trained") for path in match)]
    _check(cohort, trained, random, sorted(evaluation))
    floors_of = {"floor": random, "tied": [tied(pair) for pair in random]}
    every = [*trained, *floors_of["floor"], *floors_of["tied"]]
    out = Path(out)
    pairs = pairs_table(every, threshold)
    if sae:
        pairs = pairs.merge(
            subspace.table(trained, dict(sae), threshold), how="left", on=["a", "b", "source", "latents"]
        )
    tables = {
        "pairs": pairs,
        "thresholds": thresholds_table(every),
        "seeds": seed_counts.table(trained, floors_of, sorted(evaluation), threshold),
        "latents": latents_table(trained, evaluation, threshold),
        "intervals": intervals.table(pairs),
    }
    for name, table in tables.items():
        if "cohort" not in table:
            table.insert(0, "cohort", cohort)
        write_table(out / f"{name}.parquet", table, {"cohort": cohort, "threshold": threshold})


def _read(path: Path, source: str) -> Pair:
    table, metadata = read_table(path)
    if "a" not in metadata or "counterpart_encoder" not in table:
        raise StudyError(f"{path}: not a match file; delete it and run again")
    columns = {name: table[name].to_numpy() for name in table}
    return Pair(metadata["a"]["seed"], metadata["b"]["seed"], source, columns, metadata)


def _without_live(pair: Pair, unseen: set[int]) -> Pair:
    """`pair` as it is; or with no live latents, so that live values are NaN, where an SAE was shown no activations."""
    if not {pair.a, pair.b} & unseen:
        return pair
    dead = np.zeros_like(pair.columns["alive"])
    return replace(pair, columns=pair.columns | {"alive": dead, "alive_b": dead})


def tied(random: Pair) -> Pair:
    """A pair of random dictionaries as it would be were each encoder equal to its decoder.

    SAEs are so before training (`training.initial_weights`; sparsify, dictionary_learning and SAELens start in the same
    way), and then both assignments are the same: two SAEs that learned nothing have the same counterpart everywhere.
    Compare "same counterpart" with this value; independent dictionaries have almost none.
    """
    columns = {name: random.columns[name.replace("encoder", "decoder")] for name in random.columns}
    metadata = random.metadata | {"encoder": random.metadata["decoder"]}
    return replace(random, source="tied", columns=columns, metadata=metadata)


def _check(cohort: str, trained: list[Pair], random: list[Pair], seeds: list[int]) -> None:
    """Every pair of seeds once, of this cohort and one size."""
    wanted = {(a, b) for a in seeds for b in seeds if a < b}
    found = [(min(p.a, p.b), max(p.a, p.b)) for p in trained]
    if set(found) != wanted or len(found) != len(wanted):
        missing = sorted(wanted - set(found))
        raise StudyError(
            f"overlap of cohort {cohort}: seeds {seeds} need each of their {len(wanted)} pairs once, "
            f"got {len(found)} match files{f', pair {missing[0]} missing' if missing else ''}; match all pairs first"
        )
    strangers = [p for p in trained if p.metadata["a"]["cohort"] != cohort]
    if strangers:
        raise StudyError(
            f"overlap of cohort {cohort}: a match file is of cohort {strangers[0].metadata['a']['cohort']}"
        )
    sizes = {len(p.columns["latent"]) for p in trained + random}
    if len(sizes) > 1:
        raise StudyError(
            f"overlap of cohort {cohort}: match files and floors differ in number of latents: {sorted(sizes)}"
        )


def pairs_table(pairs: list[Pair], threshold: float) -> pd.DataFrame:
    """One row a pair, source and choice of latents: fractions, mean cosines, proof gaps per latent.

    `mean_cosine_decoder` averaged over pairs is PW-MCC (Song et al., arXiv 2505.20254): the mean over seed pairs of
    (1/n) max over permutations of the sum of matched signed decoder cosines. `mean_best_decoder` and
    `mean_best_decoder_reverse` are MMCS (Sharkey et al. 2022) from A to B and from B to A: mean_i max_j cos(a_i, b_j).
    `mutual_nearest`: latents whose nearest decoder row has them as its nearest, with cosine >= t (arXiv 2603.25325).
    """
    return pd.DataFrame([pair_row(pair, latents, threshold) for pair in pairs for latents in LATENTS])


def pair_row(pair: Pair, latents: str, threshold: float) -> dict:
    """One row of `pairs_table`. In mean cosines, latents that have no counterpart (in a smaller SAE B) do not count."""
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


def thresholds_table(pairs: list[Pair]) -> pd.DataFrame:
    """The fractions at every threshold 0, 0.02 ... 1 (paper, appendix).

    `same` is the same-counterpart fraction, which does not depend on the threshold.
    """
    rows = []
    for pair in pairs:
        for latents in LATENTS:
            base = pair.base(latents)
            n = int(base.sum())
            same = _fraction(pair.agrees(latents), n)
            for threshold in SWEEP:
                row = {"a": pair.a, "b": pair.b, "source": pair.source, "latents": latents, "threshold": threshold}
                for test in ("shared", "joint", "max"):
                    row[test] = _fraction(pair.passes(test, threshold, latents), n)
                rows.append(row | {"same": same})
    return pd.DataFrame(rows)


def latents_table(pairs: list[Pair], evaluation: dict[int, pd.DataFrame], threshold: float) -> pd.DataFrame:
    """One row a seed and latent.

    `stability` is the fraction of the other seeds in which the latent is shared (per-feature stability, after
    Gerasimov et al., arXiv 2606.12138, with the one-to-one definition in place of max cosine > t).
    `mean_cosine` is the mean over other seeds of the mean of its matched decoder and encoder cosine (paper, Fig. 3).
    `init_similarity_*` is the cosine of the trained row with its own initial value (did it move at all?).
    """
    seeds = sorted(evaluation)
    n = len(pairs[0].columns["latent"]) if pairs else len(evaluation[seeds[0]])
    tables = []
    for seed in seeds:
        shared_with = np.zeros(n, np.int64)
        cosine = np.zeros(n)
        mine = [pair for pair in pairs if seed in (pair.a, pair.b)]
        for pair in mine:
            shared_with += pair.shared_of(seed, threshold, "all")
            cosine += (_matched_cosine(pair, "decoder", seed) + _matched_cosine(pair, "encoder", seed)) / 2
        others = max(len(mine), 1)
        table = pd.DataFrame({"seed": seed, "latent": np.arange(n), "shared_with": shared_with, "n_others": len(mine)})
        table["stability"] = shared_with / others if mine else np.nan
        table["mean_cosine"] = cosine / others if mine else np.nan
        for column in ("rate", "alive", "init_similarity_encoder", "init_similarity_decoder"):
            if column in evaluation[seed]:
                table[column] = evaluation[seed][column].to_numpy()
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _matched_cosine(pair: Pair, side: str, seed: int) -> np.ndarray:
    """`(n,)` matched cosine of each latent of SAE `seed`, either end of the pair."""
    cosine = pair.columns[f"cosine_{side}"]
    if seed == pair.a:
        return cosine
    turned = np.full(cosine.size, np.nan)
    turned[pair.columns[f"counterpart_{side}"]] = cosine
    return turned


def _fraction(passed: np.ndarray, n: int) -> float:
    return float(passed.sum()) / n if n else np.nan


def _mean(values: np.ndarray, base: np.ndarray) -> float:
    return float(values[base].mean()) if base.any() else np.nan
