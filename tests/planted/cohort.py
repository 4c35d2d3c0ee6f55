"""A cohort of three SAEs of which everything is known, and all tables that the project's verbs make of it.

The rows are sums of orthonormal directions. What each SAE has:

- `SHARED` directions that all SAEs have. The first SAE has direction d itself; the others c d + sqrt(1 - c²) w with
  a direction w of their own that no row has. So a latent's cosine with the first SAE's is c, its activation is c times
  as strong, and between the other two SAEs the cosine is c². The first `WORDS` of them fire on one token each;
  the others fire at random, at rates that halve from one to the next.
- a split: rows hold s + 2 u or s + 2 v. One SAE has two latents for that, the others one, s itself.
- `OWN` directions that rows have and no other SAE does, and dead latents.

Encoder rows are decoder rows, so both assignments agree wherever the truth is unique.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations.writer import ChunkWriter, stored_order
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.files import read_table
from sae_stability.firing.contexts import ContextSettings
from sae_stability.firing.job import measure_firing
from sae_stability.firing.substitution_job import measure_substitution
from sae_stability.interpret.explain import explain_latents
from sae_stability.interpret.score import score_latents
from sae_stability.match.floors import write_floors
from sae_stability.match.overlap_tables import write_overlap
from sae_stability.match.pairs import match_pairs
from sae_stability.models.source import ModelSource
from sae_stability.sae import formats
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.weights import Weights
from tests import tiny

SEEDS = (0, 1, 2)
PAIRS = tuple(itertools.combinations(SEEDS, 2))
WORDS, RATED = 8, 8
SHARED = WORDS + RATED
OWN, N_LATENTS, D = 8, 29, 96
SPLIT_SEED = 1  # the SAE with two latents for the split direction
COSINES = np.where(np.arange(SHARED) % 4 == 3, 0.6, 0.95)  # c of each shared direction
RATES = 0.3 * 0.5 ** np.arange(RATED)
OWN_RATE, SPLIT_RATE = 0.1, 0.2
CONTEXT = 30


@dataclass
class PlantedCohort:
    """The folder of all tables, and what was planted.

    Attributes:
        rows: (rows, D): the activations.
        fires: (rows, SHARED) bool.
        tokens: (rows,).
        word_tokens: (WORDS,): the token of each word latent.
        places: seed -> (SHARED,): where the shared latents lie in that SAE.
        kinds: seed -> (N_LATENTS,): "shared", "split", "own", or "dead".
    """

    folder: Path
    rows: np.ndarray
    fires: np.ndarray
    tokens: np.ndarray
    word_tokens: np.ndarray
    places: dict[int, np.ndarray]
    kinds: dict[int, np.ndarray]

    def table(self, *parts: str):
        return read_table(self.folder.joinpath(*parts))[0]

    def sae(self, seed: int) -> Path:
        return self.folder / "saes" / "base" / f"seed-{seed}"

    def by_seed(self, stage: str, seeds=SEEDS) -> list[tuple[int, Path]]:
        return [(seed, self.folder / stage / f"seed-{seed}.parquet") for seed in seeds]

    def cosine(self, a: int, b: int) -> np.ndarray:
        """(SHARED,): the planted cosine of the shared latents of two SAEs."""
        return COSINES if a == 0 else COSINES**2


def make_cohort(folder: Path) -> PlantedCohort:
    """Plant the cohort and run every verb on it."""
    tokens, places = _token_set(folder)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32)
    take = iter(basis)
    directions = np.stack([next(take) for _ in range(SHARED)])
    private = {seed: np.stack([next(take) for _ in range(SHARED)]) for seed in SEEDS[1:]}
    own = {seed: np.stack([next(take) for _ in range(OWN)]) for seed in SEEDS}
    split, left, right = (next(take) for _ in range(3))
    word_tokens = np.argsort(-np.bincount(tokens))[2 : 2 + WORDS]
    n = len(tokens)
    fires = np.concatenate([tokens[:, None] == word_tokens, rng.random((n, RATED)) < RATES], axis=1)
    rows = (fires * rng.uniform(1, 2, (n, SHARED))) @ directions
    for some in own.values():
        rows += ((rng.random((n, OWN)) < OWN_RATE) * rng.uniform(1, 2, (n, OWN))) @ some
    side = np.where(rng.random(n)[:, None] < 0.5, left, right)
    rows += ((rng.random(n) < SPLIT_RATE) * rng.uniform(1, 2, n))[:, None] * (split + 2 * side)
    rows = rows.astype(np.float32)
    _store(folder / "heldout", rows, places)
    found = PlantedCohort(folder, rows, fires, tokens, word_tokens, {}, {})
    for seed in SEEDS:
        shared = directions
        if seed:
            c = COSINES[:, None].astype(np.float32)
            shared = c * directions + np.sqrt(1 - c**2) * private[seed]
        pieces = [(split + 2 * one) / 5**0.5 for one in (left, right)] if seed == SPLIT_SEED else [split]
        dead = N_LATENTS - SHARED - OWN - len(pieces)
        # A dead latent's direction is in no row; its encoder is pushed below 0 so that rounding never makes it fire.
        unused = np.stack([next(take) for _ in range(dead)])
        decoder = np.concatenate([shared, own[seed], np.stack(pieces), unused])
        names = np.repeat(["shared", "own", "split", "dead"], [SHARED, OWN, len(pieces), dead])
        bias = np.where(names == "dead", -1.0, -1e-3).astype(np.float32)
        # The latent for one side of the split must not fire on the other: (s + 2u)(s + 2v) / 5 is a fifth of its own.
        bias[names == "split"] = -1.0 if seed == SPLIT_SEED else -1e-3
        order = rng.permutation(N_LATENTS) if seed else np.arange(N_LATENTS)
        found.places[seed] = np.argsort(order)[:SHARED]
        found.kinds[seed] = names[order]
        weights = Weights(decoder[order], decoder[order], bias[order], np.zeros(D, np.float32), activation="relu")
        formats.write(found.sae(seed), weights, "own")
    _run(found)
    return found


def _token_set(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a token set; the tokens of its held-out rows, and their token indices."""
    source = ModelSource(str(tiny.tiny_bert(folder / "model")))
    sizes = {"context_length": CONTEXT, "packing": True, "heldout_tokens": 9000}
    write_token_set(tiny.sentences(400), source, **sizes, train_tokens=500, chunk_tokens=500, out=folder / "tokens")
    ((_, some, kept),) = BlockFile(folder / "tokens", "heldout").kept()
    places = np.flatnonzero(kept.ravel())
    return some.tokens.ravel()[places], places


def _store(chunk: Path, rows: np.ndarray, places: np.ndarray) -> None:
    order = stored_order(places, 3)
    metadata = {"model": "planted", "revision": None, "hookpoint": "planted", "context_length": CONTEXT}
    capacity = np.bincount(order.shard(places), minlength=3)
    writer = ChunkWriter(chunk, D, "float32", order, capacity, metadata | {"config_hash": "activations"})
    writer.add(torch.from_numpy(rows), places)
    writer.finish({"keep_special": False})


def _run(cohort: PlantedCohort) -> None:
    """The verbs, in the order of the workflow."""
    folder, chunk = cohort.folder, cohort.folder / "heldout"
    saes = [(seed, cohort.sae(seed)) for seed in SEEDS]
    named = [(str(seed), path) for seed, path in saes]
    evaluate(
        sae=[path for _, path in saes],
        chunk=chunk,
        out_json=[folder / "evaluation" / f"seed-{seed}.json" for seed in SEEDS],
        out_parquet=[path for _, path in cohort.by_seed("evaluation")],
    )
    matches = {pair: folder / "matches" / "{}-{}.parquet".format(*pair) for pair in PAIRS}
    latents = dict(cohort.by_seed("evaluation"))
    match_pairs(
        a=[cohort.sae(a) for a, _ in PAIRS],
        b=[cohort.sae(b) for _, b in PAIRS],
        latents_a=[latents[a] for a, _ in PAIRS],
        latents_b=[latents[b] for _, b in PAIRS],
        out=list(matches.values()),
    )
    floors = [folder / "floors" / f"{rep}.parquet" for rep in range(3)]
    write_floors(n_latents=N_LATENTS, d_model=D, rep=range(3), out=floors)
    write_overlap(
        cohort="base", match=list(matches.values()), floor=floors, latents=list(latents.items()), out=folder / "overlap"
    )
    files = {"{}-{}".format(*pair): path for pair, path in matches.items()}
    measure_firing(
        sae=named,
        chunk=chunk,
        tokens=folder / "tokens",
        out=_names(cohort.by_seed("firing")),
        contexts_out=_names(cohort.by_seed("contexts")),
        pool_out=_names(cohort.by_seed("pools")),
        match=list(files.items()),
        cofiring_out=[(name, folder / "cofiring" / f"{name}.parquet") for name in files],
        contexts=ContextSettings(window=6, pool=400),
        work=folder / "work",
    )
    outs = {"out": "", "curve_out": "-curve", "pooling_out": "-pooling"}
    measure_substitution(
        sae=named,
        chunk=chunk,
        match=list(files.items()),
        **{
            flag: [(name, folder / "substitution" / "base" / f"{name}{part}.parquet") for name in files]
            for flag, part in outs.items()
        },
    )
    of_first = [(seed, matches[0, seed]) for seed in SEEDS[1:]]
    contexts = cohort.by_seed("contexts")
    explained = cohort.by_seed("explanations")
    sampled = {"latents": N_LATENTS, "judge": {"kind": "lexical"}}
    explain_latents(contexts=contexts, match=of_first, out=explained, explainer="lexical", **sampled)
    score_latents(
        contexts=contexts,
        pool=cohort.by_seed("pools"),
        sae=saes,
        match=of_first,
        explanations=explained,
        out=cohort.by_seed("scores"),
        kind="detection",
        **sampled,
    )


def _names(files: list[tuple[int, Path]]) -> list[tuple[str, Path]]:
    return [(str(seed), path) for seed, path in files]
