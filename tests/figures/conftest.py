"""Synthetic cohorts: overlap tables and match files in the study's own formats, without a model."""

import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.figures import tables
from sae_stability.figures.registry import FIGURES
from sae_stability.interpret.samples import NEAR

NAN = float("nan")


def pair_row(a, b, source, latents, n, shared, **other) -> dict:
    """A row of pairs.parquet; what is not given follows from `shared`."""
    row = {"cohort": "base", "a": a, "b": b, "source": source, "latents": latents, "n": n, "shared": shared}
    row |= {"same_counterpart": float(np.minimum(1.0, shared + 0.4)), "joint": shared + 0.01, "max": shared + 0.03}
    row |= {"subspace_rank": 9.0, "subspace_overlap": 0.4, "subspace_random": 0.3, "subspace_random_std": 0.01}
    row |= {"decoder_only": shared + 0.1, "mean_cosine_decoder": 0.6, "mean_cosine_encoder": 0.5}
    row |= {"mean_absolute_cosine_decoder": 0.61 if latents == "all" else NAN}
    return row | other


@dataclass
class Cohort:
    """Where a synthetic cohort's overlap folder and first match file lie."""

    overlap: Path
    match: Path


class Maker:
    """Makes synthetic cohorts below one folder."""

    def __init__(self, root: Path):
        self.root = root

    def pairs(self, name: str, rows: list[dict], metadata: dict | None = None) -> Path:
        """An overlap folder that holds pairs.parquet alone."""
        files.write_table(self.root / "overlap" / name / "pairs.parquet", pd.DataFrame(rows), metadata)
        return self.root / "overlap" / name

    def cohort(
        self,
        name: str,
        *,
        size: int = 384,
        shared: float = 0.3,
        seeds: int = 2,
        live: bool = True,
        floor: bool = True,
        random: int = 0,
    ) -> Cohort:
        """A whole cohort whose pairs share about `shared`; without `live` every latent is dead."""
        generator = np.random.default_rng([random, size, seeds])
        fractions = {
            pair: float(np.clip(shared + generator.normal(0, 0.02), 0, 0.9))
            for pair in itertools.combinations(range(seeds), 2)
        }
        at_live = 1.12 if live else NAN
        rows = []
        for (a, b), fraction in fractions.items():
            rows.append(pair_row(a, b, "trained", "all", size, fraction))
            rows.append(pair_row(a, b, "trained", "live", int(0.9 * size) if live else 0, fraction * at_live))
        blank = {} if floor else {key: NAN for key in rows[0] if isinstance(rows[0][key], float)}
        for rep, latents, source in itertools.product(range(2), ("all", "live"), ("floor", "tied")):
            values = {"same_counterpart": 0.003, "joint": 0.0, "max": 0.0, "decoder_only": 0.0, **blank}
            values |= {"mean_cosine_decoder": 0.13 + 0.01 * rep, "mean_cosine_encoder": 0.13} if floor else {}
            values |= {"same_counterpart": 1.0} if floor and source == "tied" else {}
            rows.append(
                pair_row(rep, rep, source, latents, size, blank.get("shared", 0.0), **_without(values, "shared"))
            )
        for row in rows:
            row["cohort"] = name
        folder = self.pairs(name, rows)
        files.write_table(folder / "thresholds.parquet", _thresholds(name, fractions, at_live, floor))
        files.write_table(folder / "seeds.parquet", _seeds(name, seeds, shared, at_live, floor))
        return Cohort(folder, self._match(name, size, shared, live, generator))

    def _match(self, name: str, size: int, shared: float, live: bool, generator) -> Path:
        hit = generator.random(size) < shared + 0.1
        decoder = np.where(hit, generator.beta(9, 1.2, size), generator.beta(5, 9, size))
        encoder = np.clip(decoder - 0.08 + generator.normal(0, 0.05, size), 0, 1)
        partner = generator.permutation(size)
        other = np.where(hit | (generator.random(size) < 0.4), partner, np.roll(partner, 1))
        alive = (generator.random(size) < 0.9) if live else np.zeros(size, bool)
        table = pd.DataFrame(
            {
                "latent": np.arange(size),
                "counterpart_encoder": other,
                "cosine_encoder": encoder,
                "counterpart_decoder": partner,
                "cosine_decoder": decoder,
                "alive": alive,
                "alive_b": alive[::-1],
            }
        )
        path = self.root / "matches" / name / "0-1.parquet"
        files.write_table(path, table, {"a": {"cohort": name, "seed": 0}, "b": {"cohort": name, "seed": 1}})
        return path

    def substitution(self, name: str, seeds: int = 5, **_) -> list[tuple[str, Path]]:
        """The tables of substitution and pooling of every pair."""
        found, rng = [], np.random.default_rng(0)
        for a, b in itertools.combinations(range(seeds), 2):
            cosine = rng.uniform(0.1, 1, 60)
            ablation = rng.uniform(0.001, 0.002, 60)
            latents = {"latent": np.arange(60), "cosine_decoder": cosine, "shared": cosine > 0.7, "fired": 5}
            latents |= {"ablation": ablation, "swap": ablation * (1.1 - cosine), "floor": ablation * 1.8}
            curve = [(change, x, 0.2 + x * s) for change, s in (("ablation", 1), ("swap", 0.3), ("floor", 1.7))
                     for x in (0, 0.5, 1)]  # fmt: skip
            pools = [("none", 0, 0.2), ("unshared", 20, 0.19), ("shared", 20, 0.2), ("random directions", 20, 0.198)]
            pools = [(*pool, 20.0, 16.0) for pool in (*pools, ("all unshared", 40, 0.18))]
            tables = {
                "": pd.DataFrame(latents),
                "-curve": pd.DataFrame(curve, columns=["change", "fraction", "fvu"]),
                "-pooling": pd.DataFrame(pools, columns=["pool", "n_added", "fvu", "candidates", "l0"]),
            }
            for part, table in tables.items():
                found.append((name, self.root / "substitution" / name / f"{a}-{b}{part}.parquet"))
                files.write_table(found[-1][1], table, {"threshold": 0.7})
        return found

    def consensus(self, name: str, seeds: int = 5, **_) -> list[tuple[str, Path]]:
        """The tables of the stage `consensus`."""
        m = np.arange(2, seeds + 1)
        curve = [
            {"series": series, "m": level, "n_latents": 80 // level, "k": 4.0, "fvu": 0.1 * level + more, "l0": 4.0}
            for series, more in (("consensus", 0.1), ("random", 0.3), ("frequent", 0.2))
            for level in m
        ]
        curve.append({"series": "seed", "m": 0, "n_latents": 100, "k": 8.0, "fvu": 0.15, "l0": 8.0})
        left_out = [
            (seed, level, 80 // level, 0.6 + 0.05 * level, 0.5 + 0.05 * level, 0.4)
            for seed in range(seeds)
            for level in m[:-1]
        ]
        found = np.arange(1, seeds + 1)
        levels = {"n_seeds": found, "groups": 90 // found, "consistent": 80 // found, "latents": 100}
        triple = {"a": 0, "b": 1, "c": 2, "paths": 40, "closed": 30, "contradicted": 2, "expected_closed": 12.0}
        tables = {
            "curve": pd.DataFrame(curve).assign(ce=NAN),
            "heldout": pd.DataFrame(
                left_out, columns=["heldout", "m", "n_latents", "shared", "shared_members", "shared_seed"]
            ),
            "levels": pd.DataFrame(levels).assign(expected_latents=100.0),
            "triples": pd.DataFrame([triple]).assign(error=0.02),
        }
        paths = [self.root / "consensus" / name / f"{part}.parquet" for part in tables]
        for path, table in zip(paths, tables.values(), strict=True):
            files.write_table(path, table, {"threshold": 0.7})
        return [(name, path) for path in paths]

    def meta(self, name: str, seeds: int = 5, **_) -> list[tuple[str, Path]]:
        """Baselines, parts and cosines of meta-SAEs."""
        rng, found = np.random.default_rng(0), []
        described = [("meta-SAE", "trained"), ("small", "kept"), ("random directions", "kept")]
        baselines = [
            (seed, dictionary, encoder, 96, 90, 4.0, 0.6 - place + 0.01 * seed, 0.61 - place)
            for seed in range(seeds)
            for place, (dictionary, encoder) in enumerate(described)
        ]
        columns = ["seed", "dictionary", "encoder", "n_latents", "n_directions", "l0", "explained"]
        names = ("meta-latents to meta-latents", "meta-latents to latents", "latents to meta-latents")
        parts = {"sae": "base seed 0", "latent": np.arange(50), "meta_latents": rng.integers(0, 8, 50)}
        bins = {"low": [0.5, 0.55], "count": [3, 7]}
        cosines = [dict(zip(("of", "to"), pair.split(" to "), strict=True)) for pair in names]
        tables = {
            "baselines": pd.DataFrame(baselines, columns=[*columns, "explained_uncentred"]),
            "parts": pd.concat([pd.DataFrame(parts).assign(seed=seed) for seed in range(seeds)]),
            "cosines": pd.concat([pd.DataFrame(bins).assign(**of, seed=s) for of in cosines for s in range(seeds)]),
        }
        near = {"directions": "small", "edges": 100, "cosine": 0.5, "agreement": 0.25, "chance": 0.05}
        tables["graph"] = pd.DataFrame([{"seed": seed} | near for seed in range(seeds)])
        status = np.where(np.arange(20) < 18, "ok", "no_explanation")
        choice = {"latent": np.arange(20), "correct": np.arange(20) % 2 == 0, "status": status}
        tables["choice"] = pd.concat([pd.DataFrame(choice).assign(seed=seed) for seed in range(seeds)])
        for part, table in tables.items():
            found.append((name, self.root / "meta" / name / f"{part}.parquet"))
            files.write_table(found[-1][1], table, {"options": 5})
        return found

    def measured(
        self, name: str, *, size: int = 384, seeds: int = 5, shared: float = 0.3, live: bool = True, **_
    ) -> dict[str, list[Path]]:
        """Matches and co-firing of every pair, firing of every SAE, and the table of latents of the cohort."""
        generator = np.random.default_rng(size)
        entropy, alive = generator.uniform(0, 8, size), np.full(size, live)
        found = {"matches": [], "cofiring": [], "firing": []}
        latents = {"cohort": name, "latent": np.arange(size), "init_similarity_decoder": generator.random(size)}
        latents |= {"encoder_norm": generator.random(size), "decoder_density": generator.random(size)}
        for seed in range(seeds):
            rate = 10 ** generator.uniform(-4, -1, size) if live else np.zeros(size)
            table = pd.DataFrame({"latent": np.arange(size), "rate": rate, "token_entropy": entropy if live else NAN})
            found["firing"].append(self._stage("firing", name, f"seed-{seed}", table))
        for a, b in itertools.combinations(range(seeds), 2):
            # Latents that fire on few tokens are shared.
            cosine = np.where(entropy + generator.normal(0, 1, size) < 8 * shared, 0.9, generator.uniform(0, 0.6, size))
            match = {"latent": np.arange(size), "alive": alive, "alive_b": alive}
            match |= {f"counterpart_{side}": np.arange(size) for side in ("encoder", "decoder")}
            match |= {f"cosine_{side}": cosine for side in ("encoder", "decoder")}
            found["matches"].append(self._stage("matches", name, f"{a}-{b}", pd.DataFrame(match)))
            pairings = [
                {"pairing": pairing, "latent": np.arange(size), "correlation": value, "jaccard": value}
                for pairing, value in (("decoder", cosine**2 if live else NAN), ("shuffled", 0.01 if live else NAN))
            ]
            cofiring = pd.concat([pd.DataFrame(pairing) for pairing in pairings])
            found["cofiring"].append(self._stage("cofiring", name, f"{a}-{b}", cofiring))
        table = pd.concat([pd.DataFrame(latents | {"seed": seed}) for seed in range(seeds)])
        files.write_table(self.root / "overlap" / name / "latents.parquet", table)
        return found

    def scored(
        self, name: str, *, size: int = 384, seeds: int = 5, shared: float = 0.3, live: bool = True, **_
    ) -> dict[str, list[Path]]:
        """Explanations and scores of 40 latents of every SAE, the first SAE's matches, similarity, and evaluations.

        Latent i of an SAE is the counterpart of latent i of any other. Shared ones score higher.
        """
        generator = np.random.default_rng(seeds)
        latent, sample = np.arange(size), np.arange(40)
        common = generator.random(size) < shared
        cosine = np.where(common, 0.9, generator.uniform(0.1, 0.69, size))
        found = {"explanations": [], "scores": [], "matches": [], "similarity": [], "evaluation": []}
        for seed in range(seeds):
            said = {"latent": sample, "first_latent": sample, "explanation": f'fires on "{seed}", _any* <word>'}
            table = pd.DataFrame(said | {"status": "ok" if live else "too_rare"})
            found["explanations"].append(self._stage("explanations/lexical", name, f"seed-{seed}", table))
            table = pd.concat([self._scores(sample, by, draw, common, live, generator) for by, draw in DRAWS])
            found["scores"].append(self._stage("scores/lexical/detection", name, f"seed-{seed}", table))
        for b in range(1, seeds):
            match = {f"counterpart_{side}": latent for side in ("encoder", "decoder")}
            match |= {f"cosine_{side}": cosine for side in ("encoder", "decoder")}
            found["matches"].append(self._stage("matches", name, f"0-{b}", pd.DataFrame(match)))
        values = {"seed": 1, "first_latent": sample, "counterpart": sample, "cosine_decoder": cosine[sample]}
        values |= {"similarity": 0.8, "unmatched": 0.5, "best": 0.9}
        path = self.root / "explanations" / "lexical" / name / "similarity.parquet"
        files.write_table(path, pd.DataFrame(values)[: 40 if live else 0], {"first": 0})
        found["similarity"].append(path)
        found["evaluation"].append(self.evaluation(name, n_rows=10_000))
        row = {"cohort": name, "latent": latent, "shared_with": common * (seeds - 1), "n_others": seeds - 1}
        row |= {"mean_cosine": cosine, "rate": generator.uniform(0.01, 0.1, size) * live}
        latents = pd.concat([pd.DataFrame(row | {"seed": seed}) for seed in range(seeds)])
        files.write_table(self.root / "overlap" / name / "latents.parquet", latents)
        return found

    def _scores(self, sample, by: str, draw: int, common, live: bool, generator) -> pd.DataFrame:
        score = 0.5 + 0.3 * common[sample] * (by == "own") + generator.normal(0, 0.05, len(sample))
        row = {"latent": sample, "first_latent": sample, "draw": draw, "explained_by": by, "negatives": "random"}
        row |= {"balanced_accuracy": score if live else NAN, "status": "ok" if live else "too_rare"}
        return pd.DataFrame(row)

    def stitched(
        self, *, live: bool = True, shared: float = 0.3, threshold: float = 0.7, **_
    ) -> list[tuple[str, Path]]:
        """Two pairs of a chain: SAEs of two sizes, and two seeds of one cohort with their match."""
        found, rng, n = [], np.random.default_rng(0), 60
        for number, saes in ((1, ("size-30/seed-0", "base/seed-0")), (2, ("base/seed-0", "base/seed-1"))):
            folder, cosine = self.root / "stitch" / str(number), rng.uniform(0.1, 1, n)
            insertions = {"latent": np.arange(n), "max_cosine": cosine, "fired": 9 * live, "delta_mse": cosine - 0.6}
            insertions["kind"] = np.where(cosine < 0.7, "novel", "reconstruction")
            insertions["activation_cosine"] = cosine**2 if live else NAN
            swaps = {"n_small": 1, "n_large": [1, 2, 1], "delta_mse": [0.01, 0.0, -0.02], "delta_l0": [-0.1, 0, 0.1]}
            added = pd.DataFrame({"step": [1, 2], "latent": [3, 4], "mse": [2.1, 2.5], "l0": [17, 18]})
            rates = {"false_positive_rate": [0, 0.2, 1], "true_positive_rate": [0, 0.9, 1]}
            roc = pd.DataFrame({"cosine": [0.1, 0.6, np.inf]} | rates)
            steps = {"phase": ["start", "novel", "novel", "swap", "unpartnered"], "mse": [2.0, 1.9, 1.8, 1.7, 1.75]}
            steps |= {"step": range(5), "fvu": [0.2, 0.19, 0.18, 0.17, 0.175], "l0": [16, 17, 18, 17.5, 17]}
            steps["n_latents"] = np.array([30, 35, 40, 62, 60]) * number
            tables = {
                "insertions": pd.DataFrame(insertions),
                "roc": roc if live else roc.assign(**dict.fromkeys(rates, NAN)),
                "swaps": pd.DataFrame(swaps)[: 3 if shared else 0],
                "reconstruction": added[: 2 if shared else 0],
            }
            for name, table in (tables | {"path": pd.DataFrame(steps)}).items():
                files.write_table(folder / f"{name}.parquet", table)
            facts = {"small": f"results/saes/{saes[0]}", "large": f"results/saes/{saes[1]}", "threshold": 0.7}
            facts |= {"auc": 0.9 if live else None, "youden_threshold": 0.55 if live else None, "n_large": n}
            facts |= {"n_small": 30, "d_model": 16, "bias": "count"}
            facts["mse_by_bias"] = {side: {"own": 2.0, "other": 2.1} for side in ("small", "large")}
            counts = {"census": [[0, 1, 30], [1, 0, 4], [1, 1, 15], [1, 2, 5], [2, 1, 3]], "components": 57}
            counts["largest_component_share"] = 0.05
            files.write_json(folder / "stitch.json", facts | counts | {"live": counts if live else None})
            found += [(str(number), path) for path in (*sorted(folder.glob("*.parquet")), folder / "stitch.json")]
        counterpart = rng.permutation(n)
        match = {"counterpart_encoder": counterpart, "counterpart_decoder": counterpart}
        match |= dict.fromkeys(("cosine_encoder", "cosine_decoder"), rng.uniform(0, 1, n) ** 0.5 * (shared > 0))
        found.append(("2/b", self._stage("matches", "base", "0-1", pd.DataFrame(match))))
        overlap = self.pairs("stitched", [pair_row(0, 1, "trained", "all", n, shared)], {"threshold": threshold})
        return [*found, ("2/overlap", overlap / "pairs.parquet")]

    def _stage(self, stage: str, name: str, file: str, table: pd.DataFrame) -> Path:
        path = self.root / stage / name / f"{file}.parquet"
        files.write_table(path, table)
        return path

    def evaluation(self, name: str, **values: float) -> Path:
        """An evaluation JSON."""
        path = self.root / "evaluation" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"fvu": 0.15, "l0": 16.0, "dead_fraction": 0.02, "n_rows": 1000, **values}))
        return path

    def scores(self, scorer: str, name: str, seed: int) -> Path:
        """The scores of an SAE: 20 latents, three draws, and the explanations of other latents on the first."""
        generator = np.random.default_rng(seed)
        said_of = ("none",) if scorer == "intruder" else ("own", "own", "own", "shuffled")
        rows = [
            {"latent": latent, "explained_by": by, "negatives": negatives, "status": status}
            | {"balanced_accuracy": generator.uniform(0.4, 0.6) + 0.3 * (by != "shuffled") if status == "ok" else NAN}
            for latent in range(20)
            for by in said_of
            for negatives in ("random", NEAR)
            for status in ["failed" if latent == 19 else "ok"]
        ]
        path = self.root / "scores" / "lexical" / scorer / name / f"seed-{seed}.parquet"
        files.write_table(path, pd.DataFrame(rows))
        return path


# Whose explanation, and number of the draw.
DRAWS = (("own", 0), ("own", 1), ("shuffled", 0))


def _without(values: dict, key: str) -> dict:
    return {name: value for name, value in values.items() if name != key}


def _thresholds(name: str, fractions: dict, at_live: float, floor: bool) -> pd.DataFrame:
    grid = np.arange(51) / 50
    rows = []
    for (a, b), fraction in fractions.items():
        curve = (fraction + 0.45 * np.exp(-((grid / 0.5) ** 4))) * (1 - grid**8)
        for latents, scale in (("all", 1.0), ("live", at_live)):
            for threshold, value in zip(grid, np.minimum(curve * scale, 1.0), strict=True):
                rows.append((name, a, b, "trained", latents, threshold, value, value + 0.01, value + 0.05, 0.8))
    for rep, latents in itertools.product(range(2), ("all", "live")):
        for threshold in grid:
            value = 0.004 * (threshold < 0.1) if floor else NAN
            rows.append(
                (
                    name,
                    rep,
                    rep,
                    "floor",
                    latents,
                    threshold,
                    value,
                    float(threshold < 0.12),
                    float(threshold < 0.14),
                    0.004,
                )
            )
    keys = ["cohort", "a", "b", "source", "latents", "threshold"]
    return pd.DataFrame(rows, columns=[*keys, "shared", "joint", "max", "same"])


def _seeds(name: str, seeds: int, shared: float, at_live: float, floor: bool) -> pd.DataFrame:
    rows = []
    for latents, scale in (("all", 1.0), ("live", at_live)):
        found = min(shared * scale, 0.95) if scale == scale else NAN
        for m in range(2, seeds + 1):
            only = (1 - found) ** ((m - 1) ** 0.5)
            rows.append((name, "trained", latents, "only_in_base", m, only, 0.01 * m, 5 * m))
            rows.append((name, "floor", latents, "only_in_base", m, 1.0 if floor else NAN, NAN, 1))
        weights = np.array([abs(m - seeds / 2) + 1 for m in range(1, seeds + 1)])
        for m, weight in enumerate(weights / weights.sum(), start=1):
            trained = weight if scale == scale else NAN
            rows.append((name, "trained", latents, "in_exactly", m, trained, 0.01, seeds))
            rows.append((name, "floor", latents, "in_exactly", m, float(m == 1) if floor else NAN, NAN, 1))
    return pd.DataFrame(rows, columns=["cohort", "source", "latents", "statistic", "m", "mean", "std", "n"])


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """A maker of synthetic cohorts in this test's folder."""
    return Maker(tmp_path)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> dict[str, list[tuple[str, Path]]]:
    """The inputs of every figure of a small synthetic study, by figure."""
    return {figure: study_inputs(Maker(tmp_path_factory.mktemp(figure)), figure) for figure in FIGURES}


@pytest.fixture(scope="session")
def table_of(study, tmp_path_factory) -> Callable[[str], Path]:
    """A function that gives the written table of a figure of `study`, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("tables")

    @functools.cache
    def made(figure: str) -> Path:
        path = folder / f"{figure}.parquet"
        tables.write_table(figure=figure, input=study[figure], out=path)
        return path

    return made


@pytest.fixture(name="study_inputs")
def study_inputs_fixture():
    """The function behind `study`, for tests that vary what the cohorts hold."""
    return study_inputs


HOOK = "encoder.layer.{}.output.dense:in"
# Label, number of latents and shared fraction of the cohorts beside the base; layers are out of order on purpose.
SWEEPS = {
    "size": [("192", 192, 0.4), ("768", 768, 0.2), ("1536", 1536, 0.12)],
    "k": [("8", 384, 0.42), ("32", 384, 0.18)],
    "tokens": [("600000", 384, 0.03), ("1200000", 384, 0.14)],
    "layer": [(HOOK.format(layer), 384, 0.1 + 0.06 * layer) for layer in (5, 0, 1, 2, 3, 4)]
    + [(HOOK.format(layer), 1536, 0.02 + 0.03 * layer) for layer in range(6)],
    "position": [("residual stream", 384, 0.35), ("MLP output", 384, 0.3), ("attention output", 384, 0.22)],
    "randomness": [("order", 384, 0.42), ("both", 384, 0.28)],
    "controls": [("frozen decoder", 384, 0.0), ("soft-frozen decoder", 384, 0.02), ("random model", 384, 0.1)],
    "architecture": [
        *(("topk", 384, shared) for shared in (0.4, 0.3, 0.2)),
        *(("gated", 384, shared) for shared in (0.5, 0.42, 0.3)),
        *(("relu", 384, shared) for shared in (0.35, 0.33)),
    ],
}
# FVU and L0 of the cohorts of the figure over architectures; the last one, the base, is reached by no other's FVU.
QUALITY = [(0.17, 8.0), (0.15, 16.1), (0.12, 31.8), (0.2, 8.3), (0.16, 15.8), (0.13, 33), (0.19, 7.9), (0.14, 32.5)]
QUALITY += [(0.4, 16.4)]
COSINES = {f"{name}-cosine": name for name in ("size", "k", "tokens")}
SWEEPS |= {figure: SWEEPS[name] for figure, name in COSINES.items()}
BASE_LABEL = {
    "size": "384",
    "k": "16",
    "tokens": "2400000",
    "randomness": "init",
    "controls": "trained",
    "architecture": "jumprelu",
}
BASE_LABEL |= {figure: BASE_LABEL[name] for figure, name in COSINES.items()}
# What a figure of explanations and scores reads.
SCORED = dict.fromkeys(("score-similarity", "score-sharers", "score-partner"), ("explanations", "scores", "matches"))
SCORED |= {"pairs-table": ("explanations", "scores", "matches"), "explanation-similarity": ("similarity",)}
SCORED["firing-similarity"] = ("evaluation",)
# The stages whose tables a figure of one cohort reads.
MEASURED = {"predictors": ("matches", "firing"), "functional": ("matches", "cofiring")}


def study_inputs(make: Maker, figure: str, **options) -> list[tuple[str, Path]]:
    """The inputs of one figure; `options` go to every cohort."""
    cohorts = [
        (label, make.cohort(f"{figure}-{index}", **{"size": size, "shared": shared, **options}).overlap)
        for index, (label, size, shared) in enumerate(SWEEPS.get(figure, []))
    ]
    if figure in ("layer", "position"):
        return cohorts
    if FIGURES[figure].stitched:
        return make.stitched(**options)
    base = make.cohort("base", **{"seeds": 5, **options})
    if figure == "joint":
        return [("0-1", base.match), ("base", base.overlap)]
    if figure in ("substitution", "pooling"):
        return [("base", base.overlap), *make.substitution("base", **options)]
    if figure == "consensus":
        return [("base", base.overlap), *make.consensus("base", **options)]
    if figure == "meta":
        flat = make.cohort("flat", size=96, **options)
        return [("base", base.overlap), ("base", flat.overlap), *make.meta("base", **options)]
    if figure == "meta-depth":
        depths = {"0": 384, "1": 96, "2": 24, "flat 1": 96}
        steps = [(label, make.cohort(f"depth-{label}", size=size, **options)) for label, size in depths.items()]
        return [(label, cohort.overlap) for label, cohort in steps]
    if MEASURED.get(figure):
        tables = make.measured("base", **options)
        return [("base", base.overlap), *(("base", file) for stage in MEASURED[figure] for file in tables[stage])]
    if SCORED.get(figure):
        tables = make.scored("base", **options)
        return [("base", base.overlap), *(("base", file) for stage in SCORED[figure] for file in tables[stage])]
    inputs = [*cohorts, (BASE_LABEL.get(figure, "base"), base.overlap)]
    if figure == "controls":
        inputs = [inputs[-1], *inputs[:-1]]
        names = [path.name for _, path in inputs]
        inputs += [
            (c, make.evaluation(f"{c}/seed-{seed}", fvu=0.1 + 0.1 * i)) for i, c in enumerate(names) for seed in (0, 1)
        ]
        inputs += [
            (f"lexical/{s}/{c}", make.scores(s, c, seed))
            for s in ("detection", "intruder")
            for c in names[:2]
            for seed in (0, 1)
        ]
    if figure == "architecture":
        names = [path.name for _, path in inputs]
        inputs += [(c, make.evaluation(c, fvu=fvu, l0=l0)) for c, (fvu, l0) in zip(names, QUALITY, strict=True)]
    return inputs
