"""The study's key numbers in words, for the first page of the report."""

from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.figures import phrases
from sae_stability.figures.tables import overlap, seed_counts

QUALITY = (
    ("fvu", "FVU", "{:.3f}"),
    ("l0", "L0", "{:.1f}"),
    ("dead_fraction", "dead latents", "{:.1%}"),
    ("ce_recovered_zero", "CE recovered, of zero ablation", "{:.1%}"),
    ("ce_recovered_mean", "CE recovered, of mean ablation", "{:.1%}"),
)


def write_summary(*, out: Path, **given) -> None:
    """Write what `summary`, called with the other arguments, returns to `out`."""
    text = summary(**given)
    with files.atomic(out) as temporary:
        temporary.write_text(text)


def summary(
    *,
    study: str,
    base: str,
    about: list[tuple[str, str]] = (),
    overlaps: list[tuple[str, Path]],
    evaluations: list[tuple[str, Path]],
) -> str:
    """What was studied, key numbers of the base cohort, quality of every cohort, how to read them and their limits.

    Args:
        study: its name.
        base: the base cohort's name; one of the labels in `overlaps`.
        about: (name, value) of the base cohort's settings, in order.
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
    parts = [
        f"Study **{phrases.escape(study)}**: {phrases.count(len(quality), 'SAE')} in "
        f"{phrases.count(len(overlaps), 'cohort')}; base "
        f"cohort {phrases.escape(base)} with {phrases.count(int(seeds['n_seeds'].iloc[0]), 'seed')}.",
        _answer(pairs),
        *_studied(base, about),
        _table([("", *_HEADINGS), *_overlap_rows(pairs, seeds)]),
        _how_to_read(pairs, threshold),
        *_quality(quality),
        _limits(pairs, int(seeds["n_seeds"].iloc[0])),
        _TRAINING,
    ]
    return "\n\n".join(parts) + "\n"


def _answer(pairs: pd.DataFrame) -> str:
    shared = phrases.pick(pairs, source="trained", latents="all")["shared"].mean()
    if pd.isna(shared):
        return "**No pair has a shared fraction.**"
    return (
        f"**Of the latents of one base SAE, {phrases.percent(shared)} are shared with another that differs from it "
        f"in its seed only; {phrases.percent(1 - shared)} are not.**"
    )


def _overlap_rows(pairs: pd.DataFrame, seeds: pd.DataFrame) -> list[tuple[str, ...]]:
    rows = [
        (label, *(_pair_cell(pairs, source, latents, statistic) for source, latents in _COLUMNS))
        for label, statistic in (("shared", "shared"), ("same counterpart, any cosine", "same_counterpart"))
    ]
    most = int(seeds["n_seeds"].iloc[0])
    label = f"found only in the base, of {most} SAEs"
    return [*rows, (label, *(_seed_cell(seeds, source, latents, most) for source, latents in _COLUMNS))]


_HEADINGS = ("all latents", "live latents only", "random floor", "tied floor")
_COLUMNS = (("trained", "all"), ("trained", "live"), ("floor", "all"), ("tied", "all"))


def _pair_cell(pairs: pd.DataFrame, source: str, latents: str, statistic: str) -> str:
    """Mean, range and number of pairs; for one pair no range."""
    fractions = phrases.pick(pairs, source=source, latents=latents)[statistic].dropna()
    if fractions.empty:
        return phrases.NOT_MEASURED
    number = phrases.count(len(fractions), "pair" if source == "trained" else "repetition")
    spread = "no spread" if len(fractions) == 1 else phrases.span(fractions)
    return f"{phrases.percent(fractions.mean())} ({spread}, n = {number})"


def _seed_cell(seeds: pd.DataFrame, source: str, latents: str, most: int) -> str:
    """Mean and standard deviation over bases (floors: repetitions), where there are more than two SAEs."""
    rows = phrases.pick(seeds, source=source, latents=latents, m=most).dropna(subset=["mean"])
    if rows.empty:
        return phrases.NOT_MEASURED
    row = rows.iloc[0]
    if most <= 2 or pd.isna(row["std"]):
        return phrases.percent(row["mean"])
    number = phrases.count(int(row["n"]), "base" if source == "trained" else "repetition")
    return f"{phrases.percent(row['mean'])} (standard deviation {phrases.percent(row['std'])}, n = {number})"


def _studied(base: str, about: list[tuple[str, str]]) -> list[str]:
    """The base cohort's settings; they are config text, and so escaped."""
    settings = "; ".join(f"{name} {phrases.escape(value)}" for name, value in about)
    return [f"What was studied, in the base cohort {phrases.escape(base)}: {settings}."] if about else []


def _quality(quality: pd.DataFrame) -> list[str]:
    """A table with a row a cohort, and what it shows."""
    measured = [item for item in QUALITY if item[0] in quality and quality[item[0]].notna().any()]
    if not measured:
        return ["FVU, L0, dead latents and CE recovered: not measured, the SAEs were shown no activations."]
    rows = [
        (
            phrases.escape(cohort),
            str(len(saes)),
            phrases.counts(saes["n_rows"]),
            *(_range(saes[key], form) for key, _, form in measured),
        )
        for cohort, saes in quality.groupby("cohort", sort=False)
    ]
    heading = ("cohort", "n SAEs", "n rows", *(label for _, label, _ in measured))
    language = any(key.startswith("ce_") for key, _, _ in measured)
    return [
        "Quality of every cohort on held-out rows, mean over its SAEs (smallest to largest): FVU, the fraction of "
        "variance unexplained; L0, latents active a token; dead latents, which never fired there."
        + ("" if language else " CE recovered: not measured, which takes a model with a language-model head."),
        _table([heading, *rows]),
    ]


def _range(values: pd.Series, form: str) -> str:
    values = values.dropna()
    if values.empty:
        return phrases.NOT_MEASURED
    mean, low, high = (form.format(value) for value in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def _how_to_read(pairs: pd.DataFrame, threshold: float) -> str:
    live = phrases.pick(pairs, source="trained", latents="live")
    tell = (
        "Live latents are those that fired on the held-out rows; a live-only fraction counts live latents of the base, "
        "and a dead counterpart does not count as found."
        if live["n"].any()
        else "Which latents are live was not measured, or none is."
    )
    return (
        f"How to read it: {phrases.definition(threshold)} {tell} The random floor is what the same matching gives for "
        "random dictionaries of the same shape. The tied floor is the same with each encoder equal to its decoder, as "
        "they are before training. Only what stands above both is evidence of a feature that both SAEs found. "
        "*Same counterpart* never does: two untrained SAEs agree on every counterpart, so that fraction says how far "
        "encoder and decoder still agree after training, not what was learned. Ranges are over pairs of one cohort, "
        "which have SAEs in common and so are not independent."
    )


def _limits(pairs: pd.DataFrame, n_seeds: int) -> str:
    number = len(phrases.pick(pairs, source="trained", latents="all"))
    counted = f"{phrases.count(n_seeds, 'seed')} and {phrases.count(number, 'pair')}"
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


_TRAINING = (
    "The workflow graph leaves out stages whose results are finished, as these are given files by then. How each SAE "
    "was trained is recorded beside it, in saes/COHORT/seed-N/cfg.json and history.parquet of the results folder; what "
    "each job said is in logs."
)


def _table(rows: list[tuple[str, ...]]) -> str:
    """A list-table with a header row; the cells are words and numbers made here, or escaped."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        first, *rest = row
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
    return "\n".join(lines)
