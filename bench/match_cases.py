"""Pairs of dictionaries to match: trained ones, and synthetic ones that are hard in a known way."""

from pathlib import Path

import numpy as np

ACTIVATIONS = Path("results/activations/minilm/encoder.layer.3.output.dense/chunk-0000")
TRAINED = Path("results/bench")
LATENTS, SEEDS = 8192, (1, 2)
ROWS = 400_000  # rows of the chunk; more tokens take several epochs


def perturbed(n, d, generator, alive=0.6):
    """Like two trained seeds: `alive` of the rows are noisy copies of common ones (cosine 0.4 to 1), others random."""
    common = generator.standard_normal((n, d), dtype=np.float32)
    dead = generator.random(n) > alive
    pair = []
    noise = 1.2 * generator.random((n, 1), dtype=np.float32)
    for _ in range(2):
        rows = common + noise * generator.standard_normal((n, d), dtype=np.float32)
        rows[dead] = generator.standard_normal((dead.sum(), d), dtype=np.float32)
        pair.append(rows)
    return pair[0], pair[1][generator.permutation(n)]


def dead_block(n, d, generator):
    """Nine rows in ten are unrelated random rows, as never-updated latents are."""
    return perturbed(n, d, generator, alive=0.1)


def near_copies(n, d, generator):
    """Half of the rows lie in 64 tight clusters (cosine 0.9975), of unequal size in a and b: feature splitting."""
    a, b = perturbed(n, d, generator)
    centres = generator.standard_normal((64, d), dtype=np.float32)
    for rows in (a, b):
        noise = 0.05 * generator.standard_normal((n // 2, d), dtype=np.float32)
        rows[: n // 2] = centres[generator.integers(0, 64, n // 2)] + noise
    return a, b


def exact_copies(n, d, generator):
    """A quarter of the rows are exact copies of 16 rows, unequal in number in a and b."""
    a, b = perturbed(n, d, generator)
    centres = generator.standard_normal((16, d), dtype=np.float32)
    for rows in (a, b):
        rows[: n // 4] = centres[generator.integers(0, 16, n // 4)]
    return a, b


def hubs(n, d, generator):
    """Eight rows of b are close to every row of a."""
    a, b = perturbed(n, d, generator)
    hub = generator.standard_normal((1, d), dtype=np.float32)
    b[:8] = hub + 0.05 * generator.standard_normal((8, d), dtype=np.float32)
    return a + np.float32(0.7) * hub, b


def zero_rows(n, d, generator):
    """A fifth of the rows of a and three tenths of b are zero."""
    a, b = perturbed(n, d, generator)
    a[generator.random(n) < 0.2] = 0
    b[generator.random(n) < 0.3] = 0
    return a, b


def unequal_sizes(n, d, generator):
    """Three quarters as many rows in a as in b."""
    a, b = perturbed(n, d, generator)
    return a[: n * 3 // 4], b


def trained(tokens: int):
    """Decoders of two seeds, trained on `tokens` activations of the embedded study's model unless they exist."""
    from sae_stability.match.pairs import dictionaries

    return tuple(dictionaries(_trained_sae(tokens, seed))["decoder"] for seed in SEEDS)


def _trained_sae(tokens: int, seed: int) -> Path:
    out = TRAINED / f"{LATENTS}-latents-{tokens}-tokens/seed-{seed}"
    if not (out / "sae.safetensors").exists():
        from sae_stability.sae.training.settings import TrainSettings
        from sae_stability.sae.training.train import train_chunk

        settings = TrainSettings(
            n_latents=LATENTS,
            k=32,
            tokens=tokens,
            epochs=-(-tokens // ROWS),
            chunk_tokens=ROWS,
            batch_size=2048,
            learning_rate=1e-3,
            normalisation="centre-scale",
            init_seed=seed,
            hookpoint="encoder.layer.3.output.dense",
        )
        train_chunk(chunk=ACTIVATIONS, chunk_index=0, settings=settings, out=out, threads=2)
    return out


SYNTHETIC = {
    "perturbed": perturbed,
    "dead_block": dead_block,
    "near_copies": near_copies,
    "exact_copies": exact_copies,
    "hubs": hubs,
    "zero_rows": zero_rows,
    "unequal_sizes": unequal_sizes,
}


def pair(case: str, n: int, d: int):
    """The two dictionaries of a case; `trained-TOKENS` or a name in SYNTHETIC."""
    if case.startswith("trained-"):
        return trained(int(case.removeprefix("trained-")))
    return SYNTHETIC[case](n, d, np.random.default_rng(1))
