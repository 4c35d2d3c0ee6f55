"""What a latent of one SAE is worth beside its counterpart in another: swap one for the other, and look at the error.

On a row, latent i of A contributes its activation times its decoder row to the reconstruction; its counterpart j of B
contributes B's activation times B's decoder row. Three changes of A's reconstruction are compared:

- `ablation`: take the contribution of i away;
- `swap`: take it away and add that of j;
- `floor`: take it away and add that of a random latent of B.

Each is measured by how much it raises the squared error. The *quality* of the counterpart is 1 - swap / ablation: 1
where it does as well as the latent itself, 0 where it is worth no more than nothing, below 0 where it does harm.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sae_stability.random_streams import stream
from sae_stability.sae.model import SAE
from sae_stability.sae.sparse import firings

STEPS = 10  # points of a curve, besides its start
CHANGES = ("ablation", "swap", "floor")


@dataclass
class Seen:
    """An SAE on a block of rows.

    Attributes:
        rows, latents: (firings,) int64 tensors, ordered by row.
        values: (firings,) float32 tensor: what each adds to the reconstruction, in units of its decoder row.
        error: (rows, d_model) float32: the activations less their reconstruction.
        along: (firings,) float32 tensor: the error of the row times the decoder row of the latent.
    """

    sae: SAE
    rows: torch.Tensor
    latents: torch.Tensor
    values: torch.Tensor
    error: torch.Tensor
    along: torch.Tensor


def fire(sae: SAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run an SAE on a few rows x (rows, d_model); returns `rows`, `latents`, `values` and `error` as `Seen` has them.

    Dense activations exist while this runs.
    """
    rows, latents, values = (torch.from_numpy(found).to(x.device) for found in firings(sae, x))
    rows, latents = rows.long(), latents.long()
    dense = torch.zeros(len(x), sae.n_latents, device=x.device)
    dense[rows, latents] = values
    error = x - sae.reconstruct(dense, x)
    if sae.input_norm == "layer":
        values = values * x.std(-1)[rows]
    elif sae.input_norm == "unit":
        values = values * (x.norm(dim=-1) / x.shape[-1] ** 0.5)[rows]
    return rows, latents, values, error


def see(sae: SAE, x: torch.Tensor) -> Seen:
    """Run an SAE on a few rows x (rows, d_model). Dense activations exist while this runs."""
    rows, latents, values, error = fire(sae, x)
    return Seen(sae, rows, latents, values, error, _products(error, sae.decoder, rows, latents))


class Substitution:
    """Adds up the changes for one pair of SAEs, a block of rows at a time; those of the curve of fewer rows.

    Args:
        matches: their match: `latent`, `counterpart_decoder` (-1: none), `counterpart_encoder`, `cosine_decoder`,
            `cosine_encoder`. Counterparts are those of the decoder assignment.
        n_latents: of the two SAEs.
        threshold: the cosine from which a latent counts as shared.
    """

    def __init__(self, matches: pd.DataFrame, n_latents: tuple[int, int], threshold: float) -> None:
        counterpart = matches["counterpart_decoder"].to_numpy()
        cosines = matches[["cosine_decoder", "cosine_encoder"]].to_numpy()
        same = (counterpart == matches["counterpart_encoder"]) & (counterpart >= 0)
        self.shared = same.to_numpy() & (cosines >= threshold).all(axis=1)
        self.cosine = cosines[:, 0]
        matched = np.flatnonzero(counterpart >= 0)
        drawn = np.random.default_rng(stream("substitution-floor", len(matched))).permutation(len(matched))
        self.partner = {"swap": counterpart, "floor": counterpart.copy()}
        self.partner["floor"][matched] = counterpart[matched[drawn]]
        self._matched, self._n = matched, n_latents
        # Latents of A in the order of their cosine, in STEPS parts; those without a counterpart stay, in no part.
        best_first = matched[np.argsort(-self.cosine[matched], kind="stable")]
        self._part = np.full(n_latents[0], STEPS)
        for part, some in enumerate(np.array_split(best_first, STEPS)):
            self._part[some] = part
        self._of_a = {name: _of_other(partner, n_latents[1]) for name, partner in self.partner.items()}
        self._own, self._square, self._fired = np.zeros((3, n_latents[0]))
        self._against, self._square_b, self._fired_b = np.zeros((3, n_latents[1]))
        self._common = {name: np.zeros(n_latents[0]) for name in self.partner}
        self.losses = {name: np.zeros(STEPS + 1) for name in CHANGES}

    def add(self, a: Seen, b: Seen) -> None:
        """Add a block of rows that both SAEs have seen to the sums over single latents."""
        size_a, size_b = (side.sae.decoder.square().sum(1) for side in (a, b))
        for latents, totals, amounts in (
            (a.latents, self._own, a.values * a.along),
            (a.latents, self._square, a.values**2 * size_a[a.latents]),
            (a.latents, self._fired, torch.ones_like(a.values)),
            (b.latents, self._against, b.values * _products(a.error, b.sae.decoder, b.rows, b.latents)),
            (b.latents, self._square_b, b.values**2 * size_b[b.latents]),
            (b.latents, self._fired_b, torch.ones_like(b.values)),
        ):
            totals += _sums(latents, amounts, len(totals))
        for name, of_a in self._of_a.items():
            self._common[name] += self._overlap(a, b, of_a)

    def add_to_curve(self, a: Seen, b: Seen) -> None:
        """Add the squared errors of a block after each step, for each change."""
        device = a.rows.device
        part = torch.from_numpy(self._part).to(device)
        parts = {"ablation": part[a.latents]}
        for name, of_a in self._of_a.items():
            own = torch.from_numpy(of_a).to(device)[b.latents]
            parts[name] = torch.where(own >= 0, part[own], STEPS)
        errors = {name: a.error.clone() for name in CHANGES}
        for step in range(STEPS + 1):
            for name in CHANGES:
                self.losses[name][step] += float(errors[name].square().sum(dtype=torch.float64))
            if step < STEPS:
                taken = _contribution(a, parts["ablation"] == step)
                for name in CHANGES:
                    errors[name] += taken
                    if name != "ablation":
                        errors[name] -= _contribution(b, parts[name] == step)

    def table(self, variance: float) -> pd.DataFrame:
        """A row for each latent of A that has a counterpart; changes are parts of the rows' `variance` sum.

        Columns `latent`, `counterpart`, `random` (the latent of B that stands in for chance), `cosine_decoder`,
        `shared`, `fired` and `counterpart_fired` (rows), `ablation`, `swap`, `floor`, `quality`, `floor_quality` (NaN
        where ablation does not raise the error).
        """
        # |e + c - c'|^2 - |e|^2, with the error e, the contribution c, and c' in its place.
        ablation = 2 * self._own + self._square
        changes = {"ablation": ablation}
        for name, partner in self.partner.items():
            changes[name] = ablation - 2 * self._against[partner] + self._square_b[partner] - 2 * self._common[name]
        columns = {
            "latent": np.arange(self._n[0]),
            "counterpart": self.partner["swap"],
            "random": self.partner["floor"],
            "cosine_decoder": self.cosine,
            "shared": self.shared,
            "fired": self._fired.astype(np.int64),
            "counterpart_fired": self._fired_b[self.partner["swap"]].astype(np.int64),
            **{name: change / variance for name, change in changes.items()},
        }
        for name, change in (("quality", "swap"), ("floor_quality", "floor")):
            kept = np.divide(changes[change], ablation, out=np.full(len(ablation), np.nan), where=ablation > 0)
            columns[name] = 1 - kept
        return pd.DataFrame(columns).iloc[self._matched].reset_index(drop=True)

    def curve(self, variance: float) -> pd.DataFrame:
        """FVU after the best matched latents have been changed: `change`, `fraction` of those matched, `fvu`.

        `variance` is the variance sum of the rows that were added to the curve.
        """
        sizes = np.bincount(self._part, minlength=STEPS)[:STEPS]
        fraction = np.concatenate([[0], np.cumsum(sizes) / max(sizes.sum(), 1)])
        parts = [
            pd.DataFrame({"change": name, "fraction": fraction, "fvu": self.losses[name] / variance})
            for name in CHANGES
        ]
        return pd.concat(parts, ignore_index=True)

    def _overlap(self, a: Seen, b: Seen, of_a: np.ndarray) -> np.ndarray:
        """For each latent of A: the sum over rows of the products of its contribution and its partner's."""
        partner = torch.from_numpy(of_a).to(b.rows.device)[b.latents]
        keys, wanted = a.rows * self._n[0] + a.latents, b.rows * self._n[0] + partner
        keys, order = keys.sort()
        place = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
        found = (partner >= 0) & (keys[place] == wanted) if len(keys) else torch.zeros_like(partner, dtype=torch.bool)
        i, j = order[place[found]], found.nonzero(as_tuple=True)[0]
        # All products of a pair of latents have the same two decoder rows.
        given = (of_a >= 0).nonzero()[0]
        rows_a, rows_b = a.sae.decoder[torch.from_numpy(of_a[given])], b.sae.decoder[torch.from_numpy(given)]
        inner = np.zeros(self._n[0])
        inner[of_a[given]] = (rows_a * rows_b).sum(1).numpy(force=True)
        return inner * _sums(a.latents[i], a.values[i] * b.values[j], self._n[0])


def _contribution(side: Seen, chosen: torch.Tensor) -> torch.Tensor:
    """What the chosen firings add to the reconstruction, (rows, d_model)."""
    sparse = torch.sparse_coo_tensor(
        torch.stack([side.rows[chosen], side.latents[chosen]]),
        side.values[chosen],
        (len(side.error), side.sae.n_latents),
        is_coalesced=True,
        check_invariants=False,
    )
    return torch.sparse.mm(sparse, side.sae.decoder)


def _products(error: torch.Tensor, decoder: torch.Tensor, rows: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """For each firing of an SAE: error of its row times decoder row of its latent."""
    ends = torch.bincount(rows, minlength=len(error)).cumsum(0)
    starts = torch.cat([torch.zeros_like(ends[:1]), ends])
    size = len(error), len(decoder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        wanted = torch.sparse_csr_tensor(
            starts, latents, torch.zeros_like(error[rows, 0]), size, check_invariants=False
        )
    return torch.sparse.sampled_addmm(wanted, error, decoder.T, beta=0).values()


def _sums(places: torch.Tensor, amounts: torch.Tensor, size: int) -> np.ndarray:
    """The sum of the amounts at each place, (size,) float64."""
    return np.bincount(places.numpy(force=True), weights=amounts.double().numpy(force=True), minlength=size)


def _of_other(partner: np.ndarray, n_latents: int) -> np.ndarray:
    """For each latent of B the latent of A whose partner it is; -1: none."""
    of_a = np.full(n_latents, -1)
    given = np.flatnonzero(partner >= 0)
    of_a[partner[given]] = given
    return of_a
