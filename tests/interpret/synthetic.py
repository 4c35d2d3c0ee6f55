"""A cohort of SAEs that is written down, not trained: which latent fires on which word is known.

Every SAE has one latent a word of `WORDS`. Latent i of the first SAE fires on WORDS[i]; in the others, latent
`order[i]` does. Blocks are sentences of 8 words. Two latents stand apart: `RARE` fires in too few windows, and
`DEAD` never.
"""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.files import write_table
from sae_stability.sae.formats import own

WORDS = ["river", "stone", "lamp", "cloud", "garden", "engine", "letter", "window", "bridge", "forest"]
RARE, DEAD = 10, 11
N_LATENTS = 12
FILLERS = ["the", "a", "holds", "breaks", "near", "under", "old", "quiet", "at", "dawn", "over", "water"]
BLOCKS = 400


@dataclasses.dataclass
class Cohort:
    """The files of a synthetic cohort, by seed, as (seed, path) pairs; and where latent i of the first SAE went."""

    folder: Path
    seeds: tuple[int, ...]
    places: dict[int, list[int]]
    sentences: list[list[str]]

    def files(self, name: str) -> list[tuple[int, Path]]:
        seeds = self.seeds[1:] if name == "match" else self.seeds
        return [(seed, self.folder / name / (f"seed-{seed}" + (".parquet" if name != "sae" else ""))) for seed in seeds]


def cohort(folder: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Cohort:
    """Write a cohort's contexts, pools, SAEs and matches."""
    rng = random.Random(0)
    # Two planted words a sentence, each with its neighbours from the fillers.
    sentences = []
    for _ in range(BLOCKS):
        sentence = [rng.choice(FILLERS) for _ in range(8)]
        for place in rng.sample(range(1, 8), 2):
            sentence[place] = rng.choice(WORDS)
        sentences.append(sentence)
    for block in range(4):
        sentences[block][0] = "zebra"  # what RARE fires on
    places = {}
    for seed in seeds:
        order = list(range(N_LATENTS))
        if seed != seeds[0]:
            random.Random(seed).shuffle(order)
        places[seed] = order
        _write(folder, seed, order, sentences)
    for seed in seeds[1:]:
        table = pd.DataFrame({"latent": range(N_LATENTS), "counterpart_encoder": places[seed]})
        table = table.assign(counterpart_decoder=places[seed], cosine_decoder=np.linspace(0.1, 0.9, N_LATENTS))
        write_table(folder / "match" / f"seed-{seed}.parquet", table)
    return Cohort(folder, seeds, places, sentences)


def word(latent: int) -> str | None:
    """What a latent of the first SAE fires on."""
    return "zebra" if latent == RARE else WORDS[latent] if latent < len(WORDS) else None


def _write(folder: Path, seed: int, order: list[int], sentences: list[list[str]]) -> None:
    fires_on = {order[latent]: word(latent) for latent in range(N_LATENTS)}
    rows = []
    for latent, fired_word in fires_on.items():
        if fired_word is None:
            continue
        rng = random.Random(f"{seed} {latent}")
        firing = [block for block, sentence in enumerate(sentences) if fired_word in sentence]
        silent = rng.sample([block for block in range(len(sentences)) if block not in firing], 24)
        rng.shuffle(firing)
        for number, block in enumerate(firing[:40]):
            split = ("explain", "score")[number % 2]
            stratum = "top" if number < 20 else f"decile-{number % 10 + 1}"
            rows.append(_context(latent, stratum, split, block, sentences[block], fired_word))
        for number, block in enumerate(silent):
            rows.append(_context(latent, "random", ("explain", "score")[number % 2], block, sentences[block], ""))
    write_table(folder / "contexts" / f"seed-{seed}.parquet", pd.DataFrame(rows))
    pool = [
        {
            "block": block,
            "position": 0,
            "pieces": _pieces(sentence),
            "latents": [latent for latent, fired_word in fires_on.items() if fired_word in sentence],
        }
        for block, sentence in enumerate(sentences)
    ]
    write_table(folder / "pool" / f"seed-{seed}.parquet", pd.DataFrame(pool))
    rows = np.eye(N_LATENTS, dtype=np.float32)[np.argsort(order)]
    # The decoder row of each latent leans to that of the next word, so that one neighbour is nearest.
    rows = rows + 0.5 * np.roll(rows, 1, axis=1)
    zeros = np.zeros(N_LATENTS, np.float32)
    tensors = {"encoder": rows, "decoder": rows, "encoder_bias": zeros, "decoder_bias": zeros}
    settings = {"architecture": "topk", "n_latents": N_LATENTS, "d_model": N_LATENTS, "k": 2}
    own.save(folder / "sae" / f"seed-{seed}", tensors, settings)


def _context(latent: int, stratum: str, split: str, block: int, sentence: list[str], fired_word: str) -> dict:
    activations = [1.0 if found == fired_word else 0.0 for found in sentence]
    return {
        "latent": latent,
        "stratum": stratum,
        "split": split,
        "activation": max(activations),
        "block": block,
        "position": 0,
        "pieces": _pieces(sentence),
        "activations": activations,
    }


def _pieces(sentence: list[str]) -> list[str]:
    return [sentence[0], *(f" {found}" for found in sentence[1:])]
