"""A comparison as a table on the terminal."""

from sae_stability.compare.saes import Compared
from sae_stability.match.pair_overlap import Overlap, Shares, tied

_COLUMNS = ("pair", "latents", "n", "shared", "same", "joint", "PW-MCC", "|PW-MCC|", "MMCS", "MMCS back")
_NOTE = (
    "shared: same counterpart by encoder and decoder, both cosines >= {threshold:g}; same: same counterpart, any\n"
    "cosine; joint: both cosines >= {threshold:g}, counterparts may differ. Fractions are of the first\n"
    "SAE's latents. PW-MCC: mean matched decoder cosine; |PW-MCC|: with |cosine| in its place. MMCS: mean largest\n"
    "decoder cosine, from the first SAE to the second, and back. floor: random dictionaries of the same shapes;\n"
    "tied floor: with each encoder replaced by its decoder, as before training."
)


def told(saes: list[Compared], on_rows: dict, pairs: dict[tuple, Overlap], floors: dict[tuple, Overlap]) -> str:
    """The SAEs, a table with rows for all and live latents and the floor of every pair, and what the columns mean."""
    lines = [_sae(sae, on_rows.get(sae.name)) for sae in saes]
    rows = [_COLUMNS]
    for (a, b), found in pairs.items():
        rows.append((f"{a} {b}", "all", *_row(found, found.all)))
        if found.live is not None:
            rows.append(("", "live", *_row(found, found.live, absolute=False)))
        floor = floors[a, b]
        rows.append(("", "floor", *_row(floor, floor.all)))
        rows.append(("", "tied floor", *_row(floor, tied(floor))))
    lines += ["", *_aligned(rows), "", _NOTE.format(threshold=next(iter(pairs.values())).threshold)]
    if not on_rows:
        lines.append("No activations were given (--activations), so latents that never fire count too.")
    gap = max(found.gap for found in pairs.values())
    return "\n".join([*lines, f"Exact matching, proven within {gap:.1e} of the largest possible sum of cosines."])


def _sae(sae: Compared, on_rows) -> str:
    weights = sae.weights
    line = f"{sae.name}: {sae.given} ({weights.origin.get('format')}, {weights.n_latents:,} x {weights.d_model:,}"
    if on_rows is not None:
        line += f"; {int(on_rows.alive.sum()):,} live, FVU {on_rows.fvu:.3f}, L0 {on_rows.l0:.1f}"
    return line + ")"


def _row(found: Overlap, shares: Shares, *, absolute: bool = True) -> tuple[str, ...]:
    fractions = (shares.shared, shares.same_counterpart, shares.joint, shares.mean_cosine_decoder)
    nearest = (shares.mean_best_decoder, shares.mean_best_decoder_reverse)
    return (
        f"{shares.n:,}",
        *(f"{value:.3f}" for value in fractions),
        f"{found.pw_mcc_absolute:.3f}" if absolute else "-",
        *(f"{value:.3f}" for value in nearest),
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = 2  # pair and latents are words, the rest numbers
    return [
        "  ".join(
            word.ljust(width) if place < texts else word.rjust(width)
            for place, (word, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
