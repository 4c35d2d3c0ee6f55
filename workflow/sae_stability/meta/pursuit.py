"""Rows described without an SAE: by a few directions of a dictionary, or by principal components."""

import numpy as np

_ROWS = 4096  # at a time: their products with 16,384 directions take 256 MiB


def pursuit(rows: np.ndarray, directions: np.ndarray, k: int) -> np.ndarray:
    """Orthogonal matching pursuit: each row as the best sum that it finds of `k` directions.

    A row takes the direction whose product with what is left is largest, fits all that it has taken by least squares,
    and goes on (Pati, Rezaiifar and Krishnaprasad 1993). Weights may be negative.

    Args:
        rows: (n, d), float32.
        directions: (m, d), float32, of norm 1.
        k: directions that each row takes, at most m.

    Returns:
        The sums, (n, d) float32.
    """
    found = np.empty_like(rows)
    gram = directions @ directions.T
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        products = some @ directions.T
        taken = np.empty((len(some), 0), np.int64)
        left = np.abs(products)
        for _ in range(min(k, len(directions))):
            np.put_along_axis(left, taken, -1, axis=1)
            taken = np.concatenate([taken, left.argmax(axis=1)[:, None]], axis=1)
            inner = gram[taken[:, :, None], taken[:, None, :]].astype(np.float64)
            wanted = np.take_along_axis(products, taken, axis=1).astype(np.float64)
            # Not `solve`: a dictionary may hold a direction twice.
            weights = np.einsum("nij,nj->ni", np.linalg.pinv(inner, rcond=1e-6, hermitian=True), wanted)
            sums = np.einsum("nk,nkd->nd", weights.astype(np.float32), directions[taken])
            left = np.abs(products - sums @ directions.T)
        found[first : first + _ROWS] = sums
    return found


def principal(rows: np.ndarray, rank: int) -> np.ndarray:
    """The rows (n, d) by their `rank` principal components, without a mean: the best description of that rank."""
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    basis = vectors[:, np.argsort(values)[::-1][:rank]].astype(np.float32)
    return rows @ basis @ basis.T
