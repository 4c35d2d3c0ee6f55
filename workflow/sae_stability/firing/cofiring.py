"""How far matched latents of two SAEs fire together, beside a random pairing."""

import numpy as np
import pandas as pd

from sae_stability.firing.firings import Firings
from sae_stability.firing.heldout import RowTexts
from sae_stability.random_streams import stream

_MEASURES = ("correlation", "jaccard", "document_jaccard")


def cofiring_table(a: Firings, b: Firings, matches: pd.DataFrame, n_rows: int, texts: RowTexts | None) -> pd.DataFrame:
    """One row for each pairing and latent of the first SAE that has a counterpart.

    Columns `pairing`, `latent`, `counterpart` and `both` (rows in which both fire), and

    - `correlation`: Pearson's, of the two activations over all rows, with 0 where a latent does not fire. NaN if one
      of them never fires.
    - `jaccard`: rows in which both fire / rows in which at least one does. NaN if none ever fires.
    - `document_jaccard`: the same of the documents in which they fire. NaN without `texts`.

    The pairings are `decoder` and `encoder`, the two assignments, and `shuffled`, the control: the counterparts of the
    decoder assignment in a random order.

    Args:
        a, b: where the latents of the two SAEs fire, on the same rows.
        matches: their match: `latent`, `counterpart_encoder`, `counterpart_decoder`.
        n_rows: number of rows.
        texts: documents of the rows.
    """
    side_a, side_b = _Side(a, n_rows), _Side(b, n_rows)
    measure = _Measure(side_a, side_b, n_rows, texts)
    tables = []
    for pairing, latents, counterparts in _pairings(matches):
        found = [measure(i, j) for i, j in zip(latents.tolist(), counterparts.tolist(), strict=True)]
        values = np.array(found, np.float64).reshape(-1, 4)
        columns = {"pairing": pairing, "latent": latents, "counterpart": counterparts}
        columns |= {"both": values[:, 0].astype(np.int64)}
        columns |= {name: values[:, place] for place, name in enumerate(_MEASURES, 1)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _pairings(matches: pd.DataFrame):
    """Yield (pairing, latents, their counterparts); latents without a counterpart are left out."""
    for side in ("decoder", "encoder"):
        latents, counterparts = matches["latent"].to_numpy(), matches[f"counterpart_{side}"].to_numpy()
        matched = counterparts >= 0
        yield side, latents[matched], counterparts[matched]
        if side == "decoder":
            shuffled = np.random.default_rng(stream("shuffled-pairing", len(latents)))
            control = latents[matched], shuffled.permutation(counterparts[matched])
    yield "shuffled", *control


class _Side:
    """One SAE's firings, with mean and standard deviation of every latent over all rows."""

    def __init__(self, firings: Firings, n_rows: int) -> None:
        self.firings = firings
        self.mean, self.deviation = np.zeros((2, firings.n_latents))
        for latent in np.flatnonzero(firings.counts):
            values = firings[latent][1].astype(np.float64)
            mean = values.sum() / n_rows
            silent = (n_rows - len(values)) * mean**2
            self.mean[latent] = mean
            self.deviation[latent] = np.sqrt((((values - mean) ** 2).sum() + silent) / n_rows)


class _Measure:
    """Compares a latent of one SAE with one of the other. It holds a dense array of the rows for one latent."""

    def __init__(self, a: _Side, b: _Side, n_rows: int, texts: RowTexts | None) -> None:
        self._a, self._b, self._n_rows, self._texts = a, b, n_rows, texts
        self._dense = np.zeros(n_rows, np.float32)
        self._in_document = np.zeros(texts.n_documents if texts else 0, bool)

    def __call__(self, i: int, j: int) -> tuple[int, float, float, float]:
        """(rows in which both fire, correlation, Jaccard of rows, Jaccard of documents)."""
        (rows_a, values_a), (rows_b, values_b) = self._a.firings[i], self._b.firings[j]
        self._dense[rows_b] = values_b
        there = self._dense[rows_a].astype(np.float64)
        self._dense[rows_b] = 0
        both = int(np.count_nonzero(there))
        scale = self._a.deviation[i] * self._b.deviation[j]
        covariance = (there * values_a).sum() / self._n_rows - self._a.mean[i] * self._b.mean[j]
        correlation = covariance / scale if scale > 0 else np.nan
        return both, correlation, _jaccard(both, len(rows_a), len(rows_b)), self._documents(rows_a, rows_b)

    def _documents(self, rows_a: np.ndarray, rows_b: np.ndarray) -> float:
        if self._texts is None:
            return np.nan
        a, b = self._texts.documents_of(rows_a), self._texts.documents_of(rows_b)
        self._in_document[b] = True
        both = int(np.count_nonzero(self._in_document[a]))
        self._in_document[b] = False
        return _jaccard(both, len(a), len(b))


def _jaccard(both: int, a: int, b: int) -> float:
    return both / (a + b - both) if a + b else np.nan
