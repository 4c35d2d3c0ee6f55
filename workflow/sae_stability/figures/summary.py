"""The study's key numbers in words, for the first page of the report."""

from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.figures import words
from sae_stability.figures.tables import overlap, seed_counts

QUALITY = (
    ("fvu", "FVU (fraction of variance unexplained, held-out rows)", "{:.3f}"),
    ("l0", "L0 (latents active a token)", "{:.1f}"),
    ("dead_fraction", "dead latents (never fired on held-out rows)", "{:.1%}"),
)


def write_summary(
    *, study: str, base: str, overlaps: list[tuple[str, Path]], evaluations: list[tuple[str, Path]], out: Path
) -> None:
    """Write what `summary` returns to `out`."""
    text = summary(study=study, base=base, overlaps=overlaps, evaluations=evaluations)
    with files.atomic(out) as temporary:
        temporary.write_text(text)


def summary(*, study: str, base: str, overlaps: list[tuple[str, Path]], evaluations: list[tuple[str, Path]]) -> str:
    """Key numbers of the base cohort, quality over all SAEs, how to read them and what they cannot say.

    Args:
        study: its name.
        base: the base cohort's name; one of the labels in `overlaps`.
        overlaps: (cohort, overlap folder), every cohort of the study.
        evaluations: (cohort, evaluation JSON), every SAE of the study.

    Returns:
        reStructuredText, safe to pass through Jinja, ending in a newline.

    Raises:
        StudyError: a missing or damaged table.
        KeyError: `base` is not in `overlaps`.
    """
    folder = dict(overlaps)[base]
    pairs, threshold = overlap.read(folder, "pairs", ["a", "b", "source", "latents", "n", *overlap.PAIR_STATISTICS])
    seeds = seed_counts.rows_of([(base, folder)], "only_in_base")
    quality = pd.DataFrame([{"cohort": cohort, **files.read_json(path)} for cohort, path in evaluations])
    in_base = words.pick(quality, cohort=base) if len(quality) else quality
    parts = [
        f"Study **{words.escape(study)}**: {words.count(len(quality), 'SAE')} in "
        f"{words.count(len(overlaps), 'cohort')}; base "
        f"cohort {words.escape(base)} with {words.count(int(seeds['n_seeds'].iloc[0]), 'seed')}.",
        _answer(pairs),
        _table([("", "all latents", "live latents only", "random floor"), *_overlap_rows(pairs, seeds)]),
        _table([("", "base cohort", "all SAEs of the study"), *_quality_rows(in_base, quality)]),
        _how_to_read(threshold),
        _limits(pairs, int(seeds["n_seeds"].iloc[0])),
    ]
    return "\n\n".join(parts) + "\n"


def _answer(pairs: pd.DataFrame) -> str:
    shared = words.pick(pairs, source="trained", latents="all")["shared"].mean()
    if pd.isna(shared):
        return "**No pair has a shared fraction.**"
    return (
        f"**Of the latents of one base SAE, {words.percent(shared)} are shared with another that differs from it "
        f"in its seed only; {words.percent(1 - shared)} are not.**"
    )


def _overlap_rows(pairs: pd.DataFrame, seeds: pd.DataFrame) -> list[tuple[str, ...]]:
    rows = [
        (label, *(_pair_cell(pairs, source, latents, statistic) for source, latents in _COLUMNS))
        for label, statistic in (("shared", "shared"), ("same counterpart, any cosine", "same_counterpart"))
    ]
    most = int(seeds["n_seeds"].iloc[0])
    label = f"found only in the base, of {most} SAEs"
    return [*rows, (label, *(_seed_cell(seeds, source, latents, most) for source, latents in _COLUMNS))]


_COLUMNS = (("trained", "all"), ("trained", "live"), ("floor", "all"))


def _pair_cell(pairs: pd.DataFrame, source: str, latents: str, statistic: str) -> str:
    """Mean, range and number of pairs; for one pair no range."""
    fractions = words.pick(pairs, source=source, latents=latents)[statistic].dropna()
    if fractions.empty:
        return "no value"
    if len(fractions) == 1:
        return f"{words.percent(fractions.iloc[0])} (n = 1 pair, no spread)"
    return f"{words.percent(fractions.mean())} ({words.span(fractions)}, n = {len(fractions)} pairs)"


def _seed_cell(seeds: pd.DataFrame, source: str, latents: str, most: int) -> str:
    """Mean and standard deviation over bases, where there are more than two."""
    rows = words.pick(seeds, source=source, latents=latents, m=most).dropna(subset=["mean"])
    if rows.empty:
        return "no value"
    row = rows.iloc[0]
    if most <= 2 or pd.isna(row["std"]):
        return words.percent(row["mean"])
    return f"{words.percent(row['mean'])} (standard deviation {words.percent(row['std'])}, n = {int(row['n'])} bases)"


def _quality_rows(base: pd.DataFrame, every: pd.DataFrame) -> list[tuple[str, ...]]:
    return [(label, _range(base, key, form), _range(every, key, form)) for key, label, form in QUALITY]


def _range(rows: pd.DataFrame, column: str, form: str) -> str:
    values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
    if values.empty:
        return "no value"
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low} to {high}"


def _how_to_read(threshold: float) -> str:
    return (
        f"How to read it: {words.definition(threshold)} Live latents are those that fired on the held-out rows; a "
        "live-only fraction counts live latents of the base, and a dead counterpart does not count as found. The "
        "random floor is what the same matching gives for random dictionaries of the same shape: only what stands "
        "above it is evidence of a feature that both SAEs found. Ranges are over pairs of one cohort, which have SAEs "
        "in common and so are not independent."
    )


def _limits(pairs: pd.DataFrame, n_seeds: int) -> str:
    number = len(words.pick(pairs, source="trained", latents="all"))
    counted = f"{words.count(n_seeds, 'seed')} and {words.count(number, 'pair')}"
    spread = (
        f"from {counted} of the base cohort, how much it varies with the choice of seeds"
        if number > 1
        else f"from {counted} of the base cohort, nothing about how much it varies with the choice of seeds"
    )
    return (
        "What it can say: how the shared fraction differs between cohorts trained alike in everything else, and, "
        f"{spread}. What it cannot say: a small fraction may come from too few training tokens or too large a "
        "dictionary as well as from the seed, so compare a cohort with its neighbours in the sweeps before reading a "
        "number as a property of the model; a sweep with two seeds a value has one pair and no spread, so a small "
        "difference between neighbours may be chance; and numbers of one model, corpus and token budget do not carry "
        "over to others."
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    """A list-table with a header row; the cells are words and numbers made here, never config text."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        first, *rest = row
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
    return "\n".join(lines)
