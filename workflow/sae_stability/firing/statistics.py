"""Statistics of what each latent fires on."""

import numpy as np
import pandas as pd

from sae_stability.firing.firings import Firings
from sae_stability.firing.heldout import RowTexts

QUANTILES = {"q50": 0.5, "q90": 0.9, "q99": 0.99}
_NUMBERS = ("mean_activation", "max_activation", *QUANTILES, "token_entropy", "top_token_share", "document_share")


def firing_table(firings: Firings, n_rows: int, texts: RowTexts | None) -> pd.DataFrame:
    """One row a latent; all values are exact.

    - `fired`: rows in which it fires; `rate`: `fired` / rows.
    - `mean_activation`, `max_activation`, `q50`, `q90`, `q99`: over the rows in which it fires. Quantiles are
      interpolated linearly between the two nearest values.
    - `token_entropy`: entropy, in bits, of the tokens at which it fires. 0: always the same token.
    - `top_token`: the token at which it fires most often, the lowest id among equals; `top_token_share`: which part of
      its firings that is.
    - `document_share`: documents in which it fires / documents that the rows come from.

    A latent that never fires has `top_token` -1, `document_share` 0, and NaN for the other values. Without `texts`
    nothing is known of tokens and documents: -1 and NaN.

    Args:
        firings: where the latents fire.
        n_rows: number of rows that the SAE saw.
        texts: tokens and documents of the rows.
    """
    n = firings.n_latents
    columns = {name: np.full(n, np.nan) for name in _NUMBERS}
    columns["top_token"] = np.full(n, -1, np.int64)
    if texts is not None:
        columns["document_share"][:] = 0
    for latent in np.flatnonzero(firings.counts):
        rows, values = firings[latent]
        found = _strength(values)
        if texts is not None:
            found |= _tokens(texts.tokens[rows]) | {
                "document_share": len(texts.documents_of(rows)) / texts.n_documents,
            }
        for name, value in found.items():
            columns[name][latent] = value
    order = ("mean_activation", "max_activation", *QUANTILES, "token_entropy", "top_token", "top_token_share")
    start = {"latent": np.arange(n), "fired": firings.counts, "rate": firings.counts / n_rows}
    return pd.DataFrame(start | {name: columns[name] for name in (*order, "document_share")})


def _strength(values: np.ndarray) -> dict[str, float]:
    values = np.sort(values).astype(np.float64)
    found = {"mean_activation": values.mean(), "max_activation": values[-1]}
    for name, share in QUANTILES.items():
        place = share * (len(values) - 1)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        found[name] = values[low] + (place - low) * (values[high] - values[low])
    return found


def _tokens(tokens: np.ndarray) -> dict[str, float]:
    kinds, counts = np.unique(tokens, return_counts=True)
    shares = counts / len(tokens)
    best = int(counts.argmax())
    # Adding 0 turns the -0 of a single token into 0.
    entropy = -(shares * np.log2(shares)).sum() + 0.0
    return {"token_entropy": entropy, "top_token": kinds[best], "top_token_share": shares[best]}
