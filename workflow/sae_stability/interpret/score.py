"""The verb `score`: how well the explanations of latents predict where they fire."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.interpret.judges import Judge, estimated, make_judge
from sae_stability.interpret.measures import NAMES, measures
from sae_stability.interpret.outcomes import NO_EXPLANATION, OK, STATUSES, TOO_RARE, Reply, counts, reason
from sae_stability.interpret.questions import NEGATIVES, WINDOWS, Item, Kind, Scored, ask, enough
from sae_stability.interpret.samples import LEAST, Draws, Groups, nearest, others, shown
from sae_stability.interpret.tables import by_seed, cohort_latents
from sae_stability.interpret.windows import Contexts, Pool
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count, Index
from sae_stability.sae.formats import own

ANSWERED = 0.9
"""The share of positives, and of negatives, that must be answered for a score; the rest is counted as unanswered."""

OWN, SHUFFLED, NONE = "own", "shuffled", "none"
_NEIGHBOURS = 20
_LATENTS_AT_ONCE = 256
_MEASURES = [f"{name}{part}" for name in NAMES for part in ("", "_low", "_high")]
_COLUMNS = ["latent", "first_latent", "draw", "explained_by", "negatives", *_MEASURES, "threshold"]
_COLUMNS += ["n_positive", "n_negative", "n_unanswered", "status", "reason"]


def score_latents(
    *,
    contexts: Sequence[tuple[int, Path]],
    pool: Sequence[tuple[int, Path]],
    sae: Sequence[tuple[int, Path]],
    match: Sequence[tuple[int, Path]] = (),
    explanations: Sequence[tuple[int, Path]] = (),
    out: Sequence[tuple[int, Path]],
    kind: Kind,
    judge: dict,
    latents: Count = 100,
    shown_windows: Count = 20,
    scored_windows: Count = 10,
    draws: Count = 3,
    seed: Index = 0,
    config_hash: Sequence[str] = (),
    answers: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: Count = 1,
    dry_run: bool = False,
) -> str:
    """Score how well explanations predict where latents fire, on texts that did not explain them.

    Args:
        contexts: SEED=FILE, the contexts of each SAE; the lowest seed is that of the first SAE.
        pool: SEED=FILE, the pool of windows of each SAE.
        sae: SEED=FOLDER, each SAE that is scored.
        match: SEED=FILE, the first SAE's match with each other one.
        explanations: SEED=FILE, table of explanations; intruder needs none.
        out: SEED=FILE, table to write; SAEs without one are not scored.
        kind: what is asked: in which text the latent fires, on which tokens, or which text does not belong.
        judge: kind and settings of what answers.
        latents: how many were sampled.
        shown_windows: most windows in which a latent fires that explained it, and as many in which it does not.
        scored_windows: windows of each sort in a draw.
        draws: how many samples of windows each latent is scored on.
        seed: seed of all samples, the same as in explaining.
        config_hash: fingerprint of all that goes in, recorded in the table; once for each --out.
        answers: folder for the answers of an endpoint.
        device: where a local model computes.
        threads: processor cores to use.
        dry_run: ask nothing and write nothing; say what an endpoint would cost.

    Returns:
        What was scored, or what it would cost.

    Raises:
        StudyError: a file is missing or belongs to other latents, the judge cannot answer or be reached, or its budget
            is used up.
    """
    tables = sorted(out)
    seeds = [one for one, _ in tables]
    check_one_each(len(out), "tables", config_hash=config_hash)
    hashes = dict(zip([one for one, _ in out], config_hash or [""] * len(out), strict=True))
    files, saes = by_seed("contexts", contexts, seeds), by_seed("sae", sae, seeds)
    texts = by_seed("explanations", explanations, [] if kind == "intruder" else seeds)
    groups, found = cohort_latents(files, match, latents, seed)
    pools = {one: Pool(path) for one, path in by_seed("pool", pool, list(files)).items()}
    near = {one: nearest(own.arrays(saes[one])["decoder"], groups.latents[one], _NEIGHBOURS) for one in seeds}
    drawn = Draws(found, pools, near, groups, scored_windows * WINDOWS[kind], seed)

    def parts(number: int) -> Iterator[list[Item]]:
        said = None if kind == "intruder" else _explanations(texts[number], groups, number)
        return _items(number, groups, found[number], drawn, said, draws, shown_windows, seed)

    estimate = estimated(judge, answers, lambda counting: [_rows(kind, counting, parts(one)) for one in seeds])
    if dry_run:
        return estimate
    print(estimate, file=sys.stderr)
    answering = make_judge(judge, answers, device, threads)
    lines = []
    for number, path in tables:
        rows, outcomes = _rows(kind, answering, parts(number))
        metadata = {"config_hash": hashes[number], "kind": kind, "seed": number, "outcomes": outcomes}
        write_table(path, pd.DataFrame(rows, columns=_COLUMNS), metadata)
        lines.append(f"seed {number}: {sum(row['status'] == OK for row in rows)} of {len(rows)} scores")
    return "\n".join(lines)


def _explanations(path: Path, groups: Groups, number: int) -> dict[int, str]:
    """Explanation of each latent that has one.

    Raises:
        StudyError: the table is of other latents than are to be scored.
    """
    table, _ = read_table(path, ["latent", "explanation", "status"])
    if sorted(table["latent"]) != sorted(latent for _, latent in groups.of(number)):
        raise StudyError(f"{path}: explains other latents than are to be scored; delete it and run again")
    good = table[table["status"] == OK]
    return dict(zip(good["latent"].tolist(), good["explanation"].tolist(), strict=True))


def _items(
    number: int,
    groups: Groups,
    contexts: Contexts,
    drawn: Draws,
    said: dict[int, str] | None,
    draws: int,
    shown_windows: int,
    seed: int,
) -> Iterator[list[Item]]:
    """Yield what is to be scored of one SAE, some latents at a time.

    Every latent is scored on each draw by its own explanation, and on the first one by that of another latent too.
    """
    latents = groups.of(number)
    other = others([latent for _, latent in latents if said and latent in said], seed)
    for start in range(0, len(latents), _LATENTS_AT_ONCE):
        items = []
        for group, latent in latents[start : start + _LATENTS_AT_ONCE]:
            windows = shown(contexts, latent, shown_windows, seed)
            said_of = [NONE if said is None else OWN, *([SHUFFLED] if latent in other else [])]
            for draw, by in [(0, by) for by in said_of] + [(draw, said_of[0]) for draw in range(1, draws)]:
                text = (said or {}).get(other[latent] if by == SHUFFLED else latent, "")
                those = drawn.draw(number, group, draw)
                items.append(Item(latent, groups.name(group), draw, by, text, those, windows))
        yield items


def _rows(kind: Kind, judge: Judge, parts: Iterator[list[Item]]) -> tuple[list[dict], dict[str, int]]:
    """A row for each item and kind of negatives, and how many replies had each outcome."""
    rows, replies = [], []
    for items in parts:
        asked = [item for item in items if enough(kind, item) and (item.explanation or item.explained_by == NONE)]
        scored = dict(zip(map(id, asked), ask(kind, judge, asked), strict=True))
        for item in items:
            found = scored.get(id(item))
            if found:
                replies += [*found.positives, *(reply for some in found.negatives.values() for reply in some)]
            for negatives in NEGATIVES[kind]:
                row = {"latent": item.latent, "first_latent": item.first_latent, "draw": item.number}
                row |= {"explained_by": item.explained_by, "negatives": negatives}
                rows.append(row | _score(kind, item, found, negatives))
    return rows, counts(replies)


def _score(kind: Kind, item: Item, found: Scored | None, negatives: str) -> dict:
    """The measures of one row, or the status that stands for them."""
    nothing = {"threshold": np.nan, "n_positive": 0, "n_negative": 0, "n_unanswered": 0, "reason": ""}
    nothing |= dict.fromkeys(_MEASURES, np.nan)
    if found is None:
        return nothing | {"status": NO_EXPLANATION if enough(kind, item) else TOO_RARE}
    sides = (found.positives, found.negatives[negatives])
    answered = [[reply.value for reply in side if reply.outcome == OK] for side in sides]
    counted = {
        "n_positive": len(answered[0]),
        "n_negative": len(answered[1]),
        "n_unanswered": sum(map(len, sides)) - sum(map(len, answered)),
    }
    if min(map(len, sides)) < LEAST:
        return nothing | counted | {"status": TOO_RARE}
    if any(len(some) < ANSWERED * len(side) for some, side in zip(answered, sides, strict=True)):
        outcome = _commonest([reply for side in sides for reply in side if reply.outcome != OK])
        return nothing | counted | {"status": STATUSES[outcome], "reason": reason(outcome)}
    values = measures(*(np.array(some, float) for some in answered), found.threshold)
    return {**nothing, **counted, **values, "threshold": found.threshold, "status": OK}


def _commonest(failures: list[Reply]) -> str:
    """The outcome that most failures have; of several, the first of `STATUSES`."""
    found = counts(failures)
    return max(found, key=found.get)
