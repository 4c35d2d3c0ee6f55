"""The study's key numbers in words, for the first page of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import control_words, phrases
from sae_stability.figures.selection import rows_where
from sae_stability.figures.tables import overlap as overlap_tables
from sae_stability.figures.tables import seed_counts

# Columns of the table of quality: key of an evaluation, heading, how a number is written.
QUALITY = (
    ("fvu", "FVU", "{:.3f}"),
    ("l0", "L0", "{:.1f}"),
    ("dead_fraction", "dead latents", "{:.1%}"),
    ("ce_recovered_zero", "CE recovered, of zero ablation", "{:.1%}"),
    ("ce_recovered_mean", "CE recovered, of mean ablation", "{:.1%}"),
    ("kl", "KL, nats", "{:.3f}"),
)

# Columns of the table of overlap: heading, and which rows of the overlap tables it shows.
_COLUMNS = (
    ("all latents", {"source": "trained", "latents": "all"}),
    ("live latents only", {"source": "trained", "latents": "live"}),
    ("random floor", {"source": "floor", "latents": "all"}),
    ("tied floor", {"source": "tied", "latents": "all"}),
)

# PW-MCC, the mean cosine of decoder rows that are matched for the largest sum: label, and column of the overlap tables.
_PW_MCC = {
    "PW-MCC of the decoders, signed cosine": "mean_cosine_decoder",
    "PW-MCC of the decoders, absolute cosine": "mean_absolute_cosine_decoder",
}

_TRAINING = (
    "The workflow graph leaves out stages whose results are finished. How each SAE was trained is recorded beside it, "
    "in saes/COHORT/seed-N/cfg.json and history.parquet of the results folder; what each job printed is in logs."
)

_LANGUAGE = (
    "CE recovered: the part of the cross-entropy lost by ablation that the SAE's reconstruction, in place of its "
    "input, does not lose. KL: how far the model's predictions then move, on average over tokens."
)
_NO_LANGUAGE = "CE recovered: not measured; it takes a model with a language-model head."


def write_summary(
    *,
    study: str,
    base: str,
    about: list[tuple[str, str]] = (),
    overlap: list[tuple[str, Path]],
    evaluation: list[tuple[str, Path]] = (),
    controls: Sequence[Path] = (),
    config_hash: str = "",
    out: Path,
    record: Path | None = None,
) -> None:
    """Write the study's key numbers in words, for the report's first page.

    Args:
        study: name of the study.
        base: the cohort whose numbers come first, one of those in overlap.
        about: NAME=VALUE of a setting of the base cohort, once for each, in order.
        overlap: COHORT=folder of overlap tables, once for each cohort of two SAEs or more.
        evaluation: COHORT=evaluation file (JSON), once for each SAE of the study.
        controls: table of a figure of controls, once for each.
        config_hash: fingerprint of the tables, settings and code behind the numbers.
        out: file for the text, reStructuredText that may pass through Jinja.
        record: file for the fingerprint and the digest of the text; none if left out.

    Raises:
        StudyError: a missing or damaged table, or a base cohort that is not in `overlap`.
    """
    given = {"base": base, "about": about, "overlap": overlap}
    text = summary(study=study, evaluation=evaluation, controls=controls, **given)
    with files.atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if record is not None:
        files.write_record(file=[out], config_hash=config_hash, out=record)


def summary(
    *,
    study: str,
    base: str,
    about: list[tuple[str, str]] = (),
    overlap: list[tuple[str, Path]],
    evaluation: list[tuple[str, Path]] = (),
    controls: Sequence[Path] = (),
) -> str:
    """What was studied, key numbers of the base cohort, quality of every cohort, how to read them and their limits.

    Arguments and errors are those of `write_summary`.

    Returns:
        reStructuredText, ending in a newline.
    """
    folders = dict(overlap)
    if base not in folders:
        raise StudyError(f"summary: no overlap tables of the base cohort {base!r}; there are {', '.join(folders)}")
    found = read(base=base, folder=folders[base], evaluation=evaluation)
    parts = [
        f"Study **{phrases.escape(study)}**: {phrases.count(len(found.quality), 'SAE')} in "
        f"{phrases.count(len(dict([*overlap, *evaluation])), 'cohort')}; base "
        f"cohort {phrases.escape(base)} with {phrases.count(found.n_seeds, 'seed')}.",
        f"**{answer(found)}**",
        *_settings(base, about),
        overlap_table(found),
        how_to_read(found),
        *(control_words.what_is_left(files.read_table(path)[0]) for path in controls),
        *quality_of_cohorts(found),
        limits(found),
        _TRAINING,
    ]
    return "\n\n".join(parts) + "\n"


class Numbers(NamedTuple):
    """What the key numbers are taken from.

    Attributes:
        pairs: `pairs` of the base cohort's overlap tables.
        seeds: "only_in_base" of the base cohort, as `seed_counts.rows_of` gives it.
        threshold: cosine from which a matched pair counts as shared.
        quality: a row for each SAE of the study: its cohort and the values of its evaluation.
    """

    pairs: pd.DataFrame
    seeds: pd.DataFrame
    threshold: float
    quality: pd.DataFrame

    @property
    def n_seeds(self) -> int:
        """How many SAEs the base cohort has."""
        return int(self.seeds["n_seeds"].iloc[0])


def read(*, base: str, folder: Path, evaluation: Sequence[tuple[str, Path]]) -> Numbers:
    """Read what the key numbers are taken from.

    Args:
        base: the base cohort.
        folder: its overlap tables.
        evaluation: (cohort, evaluation file) of each SAE of the study.

    Raises:
        StudyError: a missing or damaged table.
    """
    columns = ["a", "b", "source", "latents", "n", *overlap_tables.PAIR_STATISTICS, *_PW_MCC.values()]
    pairs, threshold = overlap_tables.read(folder, "pairs", columns)
    seeds = seed_counts.rows_of([(base, folder)], "only_in_base")
    quality = pd.DataFrame([{"cohort": cohort, **files.read_json(path)} for cohort, path in evaluation])
    return Numbers(pairs, seeds, threshold, quality)


def answer(found: Numbers) -> str:
    """The study's question, answered for the base cohort in one sentence."""
    shared = rows_where(found.pairs, source="trained", latents="all")["shared"].mean()
    if pd.isna(shared):
        return "No pair has a shared fraction."
    return (
        f"Of the latents of one base SAE, {phrases.percent(shared)} are shared with another that differs from it "
        f"in its seed only; {phrases.percent(1 - shared)} are not."
    )


def _settings(base: str, about: list[tuple[str, str]]) -> list[str]:
    """The base cohort's settings; they are text from the study, and so escaped."""
    settings = "; ".join(f"{name} {phrases.escape(value)}" for name, value in about)
    return [f"What was studied, in the base cohort {phrases.escape(base)}: {settings}."] if about else []


def overlap_table(found: Numbers) -> str:
    """What the base cohort's SAEs share, beside both floors, as a list-table."""
    pairs, seeds, _, _ = found
    return _table([("", *(heading for heading, _ in _COLUMNS)), *_overlap_rows(pairs, seeds, found.n_seeds)])


def _overlap_rows(pairs: pd.DataFrame, seeds: pd.DataFrame, n_seeds: int) -> list[tuple[str, ...]]:
    rows = [
        (label, *(_pair_cell(rows_where(pairs, **where)[statistic], where["source"]) for _, where in _COLUMNS))
        for label, statistic in (("shared", "shared"), ("same counterpart, any cosine", "same_counterpart"))
    ]
    rows += [
        (label, *(_cosine_cell(rows_where(pairs, **where)[statistic], where) for _, where in _COLUMNS))
        for label, statistic in _PW_MCC.items()
    ]
    all_seeds = rows_where(seeds, m=n_seeds)
    only = (_seed_cell(rows_where(all_seeds, **where), where["source"]) for _, where in _COLUMNS)
    return [*rows, (f"found only in the base, of {n_seeds} SAEs", *only)]


def _pair_cell(fractions: pd.Series, source: str) -> str:
    """Mean, range and number of pairs; for one pair no range."""
    fractions = fractions.dropna()
    if fractions.empty:
        return phrases.NOT_MEASURED
    number = phrases.count(len(fractions), "pair" if source == "trained" else "repetition")
    spread = "no spread" if len(fractions) == 1 else phrases.percent_range(fractions)
    return f"{phrases.percent(fractions.mean())} ({spread}, n = {number})"


def _cosine_cell(cosines: pd.Series, where: dict[str, str]) -> str:
    """Mean, range and number of pairs; for one pair no range."""
    if where["latents"] == "live":
        return "of all latents only"
    cosines = cosines.dropna()
    if cosines.empty:
        return phrases.NOT_MEASURED
    number = phrases.count(len(cosines), "pair" if where["source"] == "trained" else "repetition")
    spread = "no spread" if len(cosines) == 1 else f"{cosines.min():.3f} to {cosines.max():.3f}"
    return f"{cosines.mean():.3f} ({spread}, n = {number})"


def _seed_cell(rows: pd.DataFrame, source: str) -> str:
    """Mean and standard deviation over bases (floors: repetitions), where there are more than two SAEs."""
    rows = rows.dropna(subset=["mean"])
    if rows.empty:
        return phrases.NOT_MEASURED
    row = rows.iloc[0]
    if row["n_seeds"] <= 2 or pd.isna(row["std"]):
        return phrases.percent(row["mean"])
    number = phrases.count(int(row["n"]), "base" if source == "trained" else "repetition")
    return f"{phrases.percent(row['mean'])} (standard deviation {phrases.percent(row['std'])}, n = {number})"


def quality_of_cohorts(found: Numbers) -> list[str]:
    """What the quality of every cohort shows, and a list-table of it; one sentence if it was not measured."""
    quality = found.quality
    measured = [item for item in QUALITY if item[0] in quality and quality[item[0]].notna().any()]
    if not measured:
        return ["FVU, L0, dead latents and CE recovered: not measured, because the SAEs were shown no activations."]
    rows = [
        (
            phrases.escape(cohort),
            str(len(saes)),
            phrases.count_range(saes["n_rows"]),
            *(_mean_and_range(saes[key], form) for key, _, form in measured),
        )
        for cohort, saes in quality.groupby("cohort", sort=False)
    ]
    heading = ("cohort", "n SAEs", "n rows", *(label for _, label, _ in measured))
    has_language_model = any(key.startswith("ce_") for key, _, _ in measured)
    return [
        "Quality of every cohort on held-out rows, mean over its SAEs (smallest to largest): FVU, the fraction of "
        "variance unexplained; L0, latents active on a token; dead latents, which never fired on these rows. "
        + (_LANGUAGE if has_language_model else _NO_LANGUAGE),
        _table([heading, *rows]),
    ]


def _mean_and_range(values: pd.Series, form: str) -> str:
    values = values.dropna()
    if values.empty:
        return phrases.NOT_MEASURED
    mean, low, high = (form.format(value) for value in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def how_to_read(found: Numbers) -> str:
    """How to read the numbers of overlap, as a paragraph."""
    pairs, threshold = found.pairs, found.threshold
    live = (
        "Live latents are those that fired on the held-out rows. A fraction of live latents counts those of the base; "
        "a dead counterpart does not count as found."
        if rows_where(pairs, source="trained", latents="live")["n"].any()
        else "Which latents are live was not measured, or none is."
    )
    return (
        f"How to read it: {phrases.definition(threshold)} {live} The random floor is what the same matching gives for "
        "random dictionaries of the same shape. The tied floor is the same with each encoder equal to its decoder, as "
        "they are before training. Only a fraction above both floors is evidence of features that both SAEs found. "
        "*Same counterpart* alone is never such evidence: two untrained SAEs agree on every counterpart, so it shows "
        "how far encoder and decoder still agree after training, not what was learned. PW-MCC is the mean cosine of "
        "decoder rows, matched so that the sum is largest: with its sign (Song and others), or its absolute value "
        "(SAELens). Ranges are over the pairs of "
        "one cohort. The pairs have SAEs in common, so they are not independent."
    )


def limits(found: Numbers) -> str:
    """What the numbers can say, and what they cannot, as a paragraph."""
    number = len(rows_where(found.pairs, source="trained", latents="all"))
    counted = f"{phrases.count(found.n_seeds, 'seed')} and {phrases.count(number, 'pair')}"
    said = "how much that fraction varies" if number > 1 else "nothing about how much that fraction varies"
    return (
        "What it can say: how the shared fraction differs between cohorts trained alike in everything else; and from "
        f"{counted} of the base cohort, {said} with the choice of seeds. What it cannot say: a small fraction may come "
        "from too few training tokens or too large a dictionary as well as from the seed, so compare a cohort with its "
        "neighbours in the sweeps before you read a number as a property of the model. A sweep with two seeds for each "
        "value has one pair and no spread, so a small difference between neighbours may be chance. Numbers of one "
        "model, corpus and token budget do not carry over to others."
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    """A list-table with a header row; cells must be escaped already."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        first, *rest = row
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
    return "\n".join(lines)
