"""How two SAEs act on the same rows: which latents fire, which fire together, and what the other's bias costs."""

import numpy as np

from sae_stability.stitch.changes import Side


class Together:
    """Adds up what two SAEs do on blocks of rows.

    Args:
        nearest: (n_large,) int64: the latent of the small SAE that each latent of the large one is held against.
        n_small: latents of the small SAE.

    Attributes:
        fired_small, fired_large: (latents,) int64: on how many rows each latent fires.
    """

    def __init__(self, nearest: np.ndarray, n_small: int) -> None:
        self._nearest = nearest
        self.fired_small, self.fired_large = np.zeros(n_small, np.int64), np.zeros(len(nearest), np.int64)
        self._squares_small, self._squares_large = np.zeros(n_small), np.zeros(len(nearest))
        self._products = np.zeros(len(nearest))
        # Of both errors: squared, times the difference of the biases; and that difference, squared.
        self._errors, self._along, self._bias = np.zeros(2), np.zeros(2), 0.0

    def add(self, small: Side, large: Side) -> None:
        """Add a block of rows that both SAEs have seen."""
        for side, fired, squares in (
            (small, self.fired_small, self._squares_small),
            (large, self.fired_large, self._squares_large),
        ):
            fired += np.bincount(side.latents, minlength=len(fired))
            squares += np.bincount(side.latents, side.values.astype(np.float64) ** 2, len(fired))
        other = _values_at(small, large.rows, self._nearest[large.latents], len(self.fired_small))
        self._products += np.bincount(large.latents, large.values.astype(np.float64) * other, len(self._products))
        bias = np.broadcast_to((large.constant - small.constant).astype(np.float64), small.error.shape)
        for place, side in enumerate((small, large)):
            error = side.error.astype(np.float64)
            self._errors[place] += np.square(error).sum()
            self._along[place] += (error * bias).sum()
        self._bias += np.square(bias).sum()

    @property
    def activation_cosine(self) -> np.ndarray:
        """(n_large,) cosine of each latent's activations with those of its nearest one; NaN where one never fires."""
        sizes = np.sqrt(self._squares_large * self._squares_small[self._nearest])
        return np.divide(self._products, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)

    @property
    def with_biases(self) -> dict[str, tuple[float, float]]:
        """The sum of squared errors of each SAE, `small` and `large`, with its own bias and with the other's."""
        moved = self._errors + np.array([-2, 2]) * self._along + self._bias
        pairs = zip(("small", "large"), self._errors.tolist(), moved.tolist(), strict=True)
        return {name: (own, other) for name, own, other in pairs}


def _values_at(side: Side, rows: np.ndarray, latents: np.ndarray, n_latents: int) -> np.ndarray:
    """The activation of these latents on these rows; 0 where one does not fire."""
    if not len(side.rows):
        return np.zeros(len(rows))
    have, wanted = (
        row.astype(np.int64) * n_latents + some for row, some in ((side.rows, side.latents), (rows, latents))
    )
    order = np.argsort(have, kind="stable")
    places = np.searchsorted(have[order], wanted)
    found = order[np.minimum(places, len(order) - 1)]
    return np.where(have[found] == wanted, side.values[found].astype(np.float64), 0.0)
