"""How much two SAEs, or two dictionaries, share: the statistics of one pair, in memory."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.match.absolute import mean_absolute_cosine
from sae_stability.match.assignment import Assignment, match_rows
from sae_stability.match.overlap_tables import Pair, pair_row
from sae_stability.match.pairs import SIDES, certificate, dictionaries, match_columns, match_sides
from sae_stability.match.rows import Dictionary, prepare
from sae_stability.match.threshold import THRESHOLD


@dataclass(frozen=True)
class Shares:
    """Statistics of a pair over the latents of A, all or live; `overlap_tables` has the definitions.

    Attributes:
        n: latents of A that count.
        shared: fraction of them with the same counterpart by encoder and decoder, both cosines >= threshold.
        same_counterpart: fraction with the same counterpart by encoder and decoder, at any cosine.
        joint: fraction whose matched cosines are both >= threshold, whatever the counterparts.
        max: fraction whose largest cosines are both >= threshold, many to one.
        decoder_only: fraction whose matched decoder cosine is >= threshold.
        mutual_nearest: fraction whose nearest decoder row in B has them as its nearest too, with cosine >= threshold.
        mean_cosine_encoder, mean_cosine_decoder: mean matched cosine, over the latents that have a counterpart.
        mean_best_encoder, mean_best_decoder: mean largest cosine with any row of B.
        mean_best_encoder_reverse, mean_best_decoder_reverse: mean largest cosine of B's rows with any row of A.

    For single dictionaries, statistics that need an encoder are None, and the decoder's are those of the dictionary:
    `decoder_only` is the fraction whose matched cosine is >= threshold, and `max` the fraction whose largest cosine is.
    """

    n: int
    shared: float | None
    same_counterpart: float | None
    joint: float | None
    max: float
    decoder_only: float
    mutual_nearest: float
    mean_cosine_encoder: float | None
    mean_cosine_decoder: float
    mean_best_encoder: float | None
    mean_best_decoder: float
    mean_best_encoder_reverse: float | None
    mean_best_decoder_reverse: float

    def count(self, statistic: str) -> int:
        """The number of latents behind a fraction, such as `count("shared")`."""
        fraction = getattr(self, statistic)
        return 0 if self.n == 0 else round(fraction * self.n)


@dataclass(frozen=True)
class Overlap:
    """How much A and B share.

    Attributes:
        threshold: the cosine from which a latent counts as shared.
        n_latents_a, n_latents_b: rows of A and of B.
        all: over all latents of A.
        live: over A's live latents, whose counterparts must be live too; None where no alive flags were given.
        pw_mcc_signed: PW-MCC of the decoders (Song et al., arXiv 2505.20254): the mean cosine of the matched rows, in
            the one-to-one matching that makes the sum of cosines largest. Over all latents.
        pw_mcc_absolute: the same with |cosine| in place of the cosine, in the matching that makes its sum largest (what
            SAELens calls `mean_correlation_coefficient`).
        encoder, decoder: the two assignments, with the certificates that prove them. For single dictionaries `encoder`
            is None and `decoder` is the dictionaries'.
    """

    threshold: float
    n_latents_a: int
    n_latents_b: int
    all: Shares
    live: Shares | None
    pw_mcc_signed: float
    pw_mcc_absolute: float
    encoder: Assignment | None
    decoder: Assignment

    @property
    def gap(self) -> float:
        """How far, at most, the sum of matched cosines is below the largest possible: the two sides' larger gap."""
        return max(side.gap for side in (self.encoder, self.decoder) if side is not None)

    def __str__(self) -> str:
        lines = [f"A: {self.n_latents_a:,} latents, B: {self.n_latents_b:,} latents; threshold {self.threshold:g}"]
        for name, shares in (("all", self.all), ("live", self.live)):
            if shares is not None:
                lines.append(f"{name} {shares.n:,} latents of A: {_summary(shares, self.encoder is not None)}")
        if self.live is None:
            lines.append("no alive flags were given: every latent counts")
        lines.append(f"PW-MCC of the decoder: {self.pw_mcc_signed:.3f} signed, {self.pw_mcc_absolute:.3f} absolute")
        return "\n".join(
            [*lines, f"exact matching, proven within {self.gap:.1e} of the largest possible sum of cosines"]
        )

    __repr__ = __str__


def overlap(
    a,
    b,
    threshold: float = THRESHOLD,
    *,
    alive_a: Sequence[bool] | np.ndarray | None = None,
    alive_b: Sequence[bool] | np.ndarray | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Overlap:
    """Measure how much two SAEs, or two dictionaries, share.

    The definitions are those of the study's tables: the result for two SAEs equals their row of `pairs.parquet`.

    Args:
        a, b: two SAEs: objects or mappings with `encoder` and `decoder` (n_latents, d_model), rows being latents, or
            paths of checkpoints of any format. Or two single dictionaries (n_latents, d_model), numpy or torch. The
            numbers of latents may differ; fractions are of A's.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        alive_a, alive_b: (n_latents,) bool, which latents fire; if only one is given, all latents of the other
            SAE count as live.
        device: None or "cpu", or a CUDA device for the matching.
        threads: CPU threads; default all that this process may use.
        progress: called with the fraction of the matching done, in [0, 1].

    Returns:
        The statistics and both assignments; `print` shows a summary.

    Raises:
        StudyError: an SAE against a single dictionary, a mapping without encoder and decoder, no real numbers, widths
            that differ, flags of the wrong length, values that are
            not finite, or a checkpoint that cannot be read.

    Example:
        Two SAEs that share 30 of 40 latents, in another order:

        >>> import types
        >>> import numpy as np
        >>> from sae_stability.match import overlap
        >>> random = np.random.default_rng(0)
        >>> a, noise = (random.normal(size=(40, 64)) for _ in range(2))
        >>> b = np.concatenate([a[:30], noise[30:]])[random.permutation(40)]
        >>> sae_a, sae_b = (types.SimpleNamespace(encoder=rows, decoder=rows) for rows in (a, b))
        >>> result = overlap(sae_a, sae_b)
        >>> result.all.count("shared"), result.all.shared
        (30, 0.75)
        >>> overlap(a, b).all.decoder_only
        0.75
    """
    if not isinstance(threshold, numbers.Real) or not 0 <= threshold <= 1:
        raise StudyError(f"overlap: threshold is {threshold!r}; it must be a cosine from 0 to 1")
    rows_a, rows_b = _rows(a, "a"), _rows(b, "b")
    if rows_a.keys() != rows_b.keys():
        raise StudyError(
            "overlap: one argument is an SAE, the other a single dictionary; give two SAEs or two dictionaries"
        )
    n_a, n_b = (len(sides["decoder"].rows) for sides in (rows_a, rows_b))
    flags = _flags(alive_a, n_a, "alive_a"), _flags(alive_b, n_b, "alive_b")
    options = {"threads": threads, "device": device, "progress": progress}
    single = "encoder" not in rows_a
    if single:
        assignment = match_rows(rows_a["decoder"], rows_b["decoder"], **options)
        # The statistics need both sides, so the decoder's assignment stands for the encoder's too. `_shares` leaves out
        # the statistics that compare the two.
        assignments = dict.fromkeys(SIDES, assignment)
    else:
        assignments = match_sides(rows_a, rows_b, **options)
    certificates = {side: certificate(assignments[side]) for side in SIDES}
    pair = Pair(0, 1, "trained", match_columns(assignments, *flags), certificates)
    any_flags = alive_a is not None or alive_b is not None
    all_shares = _shares(pair, "all", threshold, single)
    return Overlap(
        threshold=threshold,
        n_latents_a=n_a,
        n_latents_b=n_b,
        all=all_shares,
        live=_shares(pair, "live", threshold, single) if any_flags else None,
        pw_mcc_signed=all_shares.mean_cosine_decoder,
        pw_mcc_absolute=mean_absolute_cosine(rows_a["decoder"], rows_b["decoder"], threads),
        encoder=None if single else assignments["encoder"],
        decoder=assignments["decoder"],
    )


def tied(random: Overlap) -> Shares:
    """What two random dictionaries share if each encoder is replaced by its decoder; see `overlap_tables.tied`.

    Args:
        random: the overlap of random dictionaries with encoder and decoder of their own.
    """
    assignments = dict.fromkeys(SIDES, random.decoder)
    flags = (np.ones(n, bool) for n in (random.n_latents_a, random.n_latents_b))
    proofs = {side: certificate(found) for side, found in assignments.items()}
    pair = Pair(0, 1, "tied", match_columns(assignments, *flags), proofs)
    return _shares(pair, "all", random.threshold, single=False)


def _rows(x, name: str) -> dict[str, Dictionary]:
    """The rows of an SAE by side; a single dictionary stands as a decoder."""
    if isinstance(x, str | Path):
        sides = dictionaries(Path(x))
    elif isinstance(x, Mapping):
        if missing := [side for side in SIDES if side not in x]:
            found = ", ".join(map(str, x)) or "nothing"
            raise StudyError(f"{name}: no {missing[0]!r} among {found}; a mapping must hold 'encoder' and 'decoder'")
        sides = {side: x[side] for side in SIDES}
    elif hasattr(x, "encoder") and hasattr(x, "decoder"):
        sides = {side: getattr(x, side) for side in SIDES}
    else:
        return {"decoder": prepare(x, name)}
    found = {side: prepare(rows, f"{name}, {side}") for side, rows in sides.items()}
    encoder, decoder = (found[side].rows.shape for side in SIDES)
    if encoder != decoder:
        raise StudyError(f"{name}: encoder {encoder} and decoder {decoder} differ in shape; both must have one shape")
    return found


def _flags(alive, n_latents: int, name: str) -> np.ndarray:
    if alive is None:
        return np.ones(n_latents, bool)
    # numpy cannot read tensors on a GPU.
    flags = np.asarray(alive.cpu() if hasattr(alive, "cpu") else alive)
    if flags.shape != (n_latents,) or flags.dtype != bool:
        raise StudyError(
            f"{name}: {flags.dtype} values of shape {flags.shape}; give {n_latents} booleans, one for each latent"
        )
    return flags


def _shares(pair: Pair, latents: str, threshold: float, single: bool) -> Shares:
    row = pair_row(pair, latents, threshold)
    values = {field.name: row[field.name] for field in fields(Shares)}
    if single:
        two_sided = ("shared", "same_counterpart", "joint")
        values |= {name: None for name in values if name in two_sided or "encoder" in name}
    return Shares(**values)


def _summary(shares: Shares, two_sided: bool) -> str:
    names = {"shared": "shared", "joint": "joint", "same_counterpart": "same counterpart"} if two_sided else {}
    names |= {"decoder_only": "decoder only" if two_sided else "matched", "max": "nearest"}
    return ", ".join(f"{word} {getattr(shares, name):.3f}" for name, word in names.items())
