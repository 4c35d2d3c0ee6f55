"""What this run shows in a few sentences, and what a study of its size may claim. All numbers are the run's own.

A sentence whose condition does not hold is not there.
"""

from collections.abc import Iterator

import pandas as pd

from sae_stability.figures import phrases, published, summary
from sae_stability.figures.selection import rows_where
from sae_stability.report import seed_features
from sae_stability.report.evidence import Drawn, Evidence

# Kind of figure -> what grows along its axis.
_GROWING = {"size": "the number of latents", "k": "k", "tokens": "the number of training tokens"}
# A part of dead latents above which the paper speaks of them first.
_MANY_DEAD = 0.05
# A study with fewer tokens than this part of the published one's is called small.
_SMALL = 0.1


def abstract(found: Evidence) -> list[list[str]]:
    """The abstract: its paragraphs, of a sentence each. One may be empty."""
    return [
        [
            _what_was_compared(found),
            f"**{summary.answer(found.numbers)}**",
            *_beside_the_floors(found),
            *_live(found),
            *_only_in_base(found),
        ],
        [*_controls(found), *_sweeps(found), *_scores(found)],
        list(seed_features.of_several_seeds(found)),
        list(seed_features.of_one_seed(found)),
    ]


def may_claim(found: Evidence) -> list[str]:
    """What a study of this size may claim, and what it may not."""
    return [*_conclusions(found), *_warnings(found)]


def above_chance(found: Evidence) -> bool:
    """Whether every pair of the base cohort shares more than every repetition of both floors."""
    floors = pd.concat([found.fractions("floor"), found.fractions("tied")])
    pairs = found.fractions("trained")
    return bool(len(floors) and len(pairs) and pairs.min() > floors.max())


def _what_was_compared(found: Evidence) -> str:
    facts = found.facts
    read = f" on activations of {_listed(facts['models'])}" if facts["models"] else ""
    made = f"were trained{read}" if facts["trained"] else "were made elsewhere"
    if facts["trained"] and facts["external"]:
        made = f"were trained{read} or made elsewhere"
    saes = phrases.count(len(found.numbers.quality), "sparse autoencoder")
    cohorts = facts["trained"] + facts["external"]
    return (
        f"{saes} in {phrases.count(cohorts, 'cohort')} {made}; those of one cohort differ in their random seed and "
        "in nothing else. Their latents were matched one to one, exactly."
    )


def _beside_the_floors(found: Evidence) -> Iterator[str]:
    floor, tied = found.fractions("floor"), found.fractions("tied")
    if floor.empty:
        yield "No random floor was computed, so chance is not ruled out."
        return
    also = f", and with each encoder tied to its decoder {phrases.percent_range(tied)}" if len(tied) else ""
    yield f"Random dictionaries of the same shape, matched alike, share {phrases.percent_range(floor)}{also}."
    if above_chance(found):
        yield "So every pair of seeds shares more than chance gives."
    elif len(found.fractions("trained")):
        yield ("Not every pair is above both floors: this run is no evidence that two seeds find common features.")


def _live(found: Evidence) -> Iterator[str]:
    live = found.fractions("trained", "live")
    if len(live):
        yield f"Among latents that fire on held-out rows, {phrases.percent(live.mean())} are shared."


def _only_in_base(found: Evidence) -> Iterator[str]:
    n_seeds = found.numbers.n_seeds
    rows = rows_where(found.numbers.seeds, source="trained", latents="all", m=n_seeds)["mean"].dropna()
    if n_seeds > 2 and len(rows):
        yield (
            f"With {n_seeds} seeds compared, {phrases.percent(rows.iloc[0])} of a base SAE's latents are still "
            "shared with none of the others."
        )


def _controls(found: Evidence) -> Iterator[str]:
    for figure in found.of_kind("controls"):
        trained = rows_where(figure.table, source="trained", statistic="shared", latents="all")
        means = trained.dropna(subset=["fraction"]).sort_values("x", kind="stable").groupby("value", sort=False)
        told = [f"{phrases.escape(value)} {phrases.percent(rows['fraction'].mean())}" for value, rows in means]
        if len(told) > 1:
            yield f"Beside its controls, the shared part is: {', '.join(told)}."


def _sweeps(found: Evidence) -> Iterator[str]:
    for kind, growing in _GROWING.items():
        for figure in found.of_kind(kind):
            yield from _course(figure, growing)


def _course(figure: Drawn, growing: str) -> Iterator[str]:
    """Where the shared part goes along a sweep; whether it does so at every step."""
    rows = rows_where(figure.table, source="trained", statistic="shared", latents="all")
    means = rows.dropna(subset=["fraction"]).groupby("x")["fraction"].mean().sort_index()
    if len(means) < 2:
        return
    steps = means.diff().dropna()
    if (steps > 0).all():
        verb = "rises"
    elif (steps < 0).all():
        verb = "falls"
    else:
        verb = "goes, with turns between,"
    ends = [phrases.percent(means.iloc[place]) for place in (0, -1)]
    places = [f"{means.index[place]:,.0f}" for place in (0, -1)]
    yield (f"As {growing} grows from {places[0]} to {places[1]}, the shared part {verb} from {ends[0]} to {ends[1]}.")


def _scores(found: Evidence) -> Iterator[str]:
    for figure in found.of_kind("score-sharers"):
        means = rows_where(figure.table, source="trained", row="mean", explained_by="own").dropna(subset=["score"])
        chance = rows_where(figure.table, row="chance")["score"].dropna()
        ends = {
            "none of the other seeds": means[means["shared_with"] == 0],
            "all of them": means[means["shared_with"] == means["n_others"]],
        }
        told = [
            f"{rows['score'].iloc[0]:.2f} (n = {rows['n'].iloc[0]}) for latents shared with {who}"
            for who, rows in ends.items()
            if len(rows)
        ]
        if told and len(chance):
            yield (
                f"Explanations of latents score {' and '.join(told)}; explanations of other latents, which is "
                f"chance, {chance.iloc[0]:.2f} (balanced accuracy)."
            )
        yield from _unshared_scores(found, figure.table)


def _unshared_scores(found: Evidence, table: pd.DataFrame) -> Iterator[str]:
    """Which part of the latents that no other seed shares scores above chance, and above the controls."""
    scores = rows_where(table, source="trained", row="latent", shared_with=0)["score"].dropna()
    chance = rows_where(table, row="chance")["high"].dropna()
    if scores.empty or chance.empty:
        return
    text = (
        f"Of {phrases.count(len(scores), 'latent')} that no other seed shares, "
        f"{phrases.percent((scores > chance.iloc[0]).mean())} score above {chance.iloc[0]:.2f}, below which 95% of "
        "chance scores lie"
    )
    if means := _control_scores(found, f"{table['explainer'].iloc[0]}/{table['scorer'].iloc[0]}"):
        best = max(means, key=means.__getitem__)
        text += (
            f", and {phrases.percent((scores > means[best]).mean())} above {means[best]:.2f}, the mean score of the "
            f"control that scores best ({phrases.escape(best)})"
        )
    yield text + "."


def _control_scores(found: Evidence, scorer: str) -> dict[str, float]:
    """The mean score of each control, over its SAEs."""
    means: dict[str, float] = {}
    for figure in found.of_kind("controls"):
        trained = rows_where(figure.table, source="trained")
        base = trained.loc[trained["x"].idxmin(), "value"]
        rows = rows_where(trained, statistic="balanced_accuracy", scorer=scorer).dropna(subset=["fraction"])
        means |= rows[rows["value"] != base].groupby("value")["fraction"].mean().to_dict()
    return means


def _conclusions(found: Evidence) -> Iterator[str]:
    where = "for these models, texts and budgets" if found.facts["models"] else "for these data and budgets"
    if above_chance(found):
        yield (
            f"You may conclude, {where}: that SAEs which differ in their seed share more latents than chance gives, "
            "and that the rest of their latents depend on the seed at this budget."
        )
    else:
        yield f"You may not conclude, {where}, that SAEs which differ in their seed share more than chance gives."
    if any(found.of_kind(kind) for kind in _GROWING):
        yield "You may conclude in which direction sharing moves along each sweep, where the floor does not move alike."
    yield "You may not conclude a number for another model, text, layer or budget: none carries over."


def _warnings(found: Evidence) -> Iterator[str]:
    tokens, epochs = found.facts["base_tokens"], found.facts["base_epochs"]
    largest = max(published.TOKENS)
    usual = sorted(published.TOKENS)[1]
    if tokens and tokens < _SMALL * usual:
        low, high = (phrases.percent(published.TOKENS[end][0]) for end in (min(published.TOKENS), largest))
        yield (
            f"The base SAEs see {tokens:,} training tokens, {usual / tokens:,.0f} times fewer than the usual ones of "
            f"{published.PAPER}. Sharing rises steeply with tokens: there from {low} to {high} (*joint*) between "
            f"{min(published.TOKENS) / 1e9:g} and {largest / 1e9:g} billion."
        )
    if tokens and epochs and epochs > 1:
        yield f"These are {tokens // epochs:,} distinct tokens read {epochs} times."
    if len(found.fractions("trained")) == 1:
        yield "The base cohort is one pair of seeds: its numbers have no spread."
    if lonely := _lonely_places(found):
        yield (
            f"{phrases.count(lonely, 'place')} of the sweeps {'is' if lonely == 1 else 'are'} one pair of seeds, "
            "without spread, so a small difference between neighbours may be chance."
        )
    dead = _dead_in_base(found)
    if dead is not None and dead > _MANY_DEAD:
        yield (
            f"{phrases.percent(dead)} of the base's latents never fire on held-out rows. They hardly moved from their "
            "random start, so read the values of live latents beside those of all."
        )


def _lonely_places(found: Evidence) -> int:
    """How many places of the sweeps rest on one pair."""
    lonely = 0
    for figure in found.figures:
        if figure.kind in _GROWING:
            rows = rows_where(figure.table, source="trained", statistic="shared", latents="all")
            lonely += int((rows.groupby("x").size() == 1).sum())
    return lonely


def _dead_in_base(found: Evidence) -> float | None:
    quality = found.numbers.quality
    if "dead_fraction" not in quality:
        return None
    dead = rows_where(quality, cohort=found.base)["dead_fraction"].dropna()
    return float(dead.mean()) if len(dead) else None


def _listed(names: list[str]) -> str:
    return ", ".join(phrases.escape(name) for name in names)
