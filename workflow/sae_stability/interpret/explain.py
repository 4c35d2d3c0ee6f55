"""The verb `explain`: a sentence about each sampled latent of a cohort's SAEs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from sae_stability.files import write_table
from sae_stability.interpret.judges import Judge, estimated, make_judge
from sae_stability.interpret.outcomes import OK, STATUSES, TOO_RARE, counts, reason
from sae_stability.interpret.samples import Groups, shown
from sae_stability.interpret.tables import by_seed, cohort_latents
from sae_stability.interpret.windows import Contexts
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count, Index


def explain_latents(
    *,
    contexts: Sequence[tuple[int, Path]],
    match: Sequence[tuple[int, Path]] = (),
    out: Sequence[tuple[int, Path]],
    explainer: str,
    judge: dict,
    latents: Count = 100,
    shown_windows: Count = 20,
    seed: Index = 0,
    config_hash: Sequence[str] = (),
    answers: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: Count = 1,
    dry_run: bool = False,
) -> str:
    """Explain in words what latents fire on: a sample of the first SAE's latents, and their counterparts in the others.

    Args:
        contexts: SEED=FILE, the contexts of each SAE; the lowest seed is that of the first SAE.
        match: SEED=FILE, the first SAE's match with each other one.
        out: SEED=FILE, table to write; SAEs without one are not explained.
        explainer: name of the judge, for the table.
        judge: its kind and settings.
        latents: how many to sample.
        shown_windows: most windows in which a latent fires that are shown, and as many in which it does not.
        seed: seed of the sample of latents and windows.
        config_hash: fingerprint of all that goes in, recorded in the table; once for each --out.
        answers: folder for the answers of an endpoint.
        device: where a local model computes.
        threads: processor cores to use.
        dry_run: ask nothing and write nothing; say what an endpoint would cost.

    Returns:
        What was explained, or what it would cost.

    Raises:
        StudyError: a file is missing, the judge cannot explain or be reached, or its budget is used up.
    """
    files = by_seed("contexts", contexts, [one for one, _ in out])
    check_one_each(len(out), "tables", config_hash=config_hash)
    hashes = dict(zip([one for one, _ in out], config_hash or [""] * len(out), strict=True))
    groups, found = cohort_latents(files, match, latents, seed)
    tables = sorted(out)

    def explained(judge: Judge, number: int) -> tuple[list[dict], dict[str, int]]:
        return _explained(judge, found[number], groups, number, shown_windows, seed)

    estimate = estimated(judge, answers, lambda counting: [explained(counting, number) for number, _ in tables])
    if dry_run:
        return estimate
    print(estimate, file=sys.stderr)
    answering = make_judge(judge, answers, device, threads)
    lines = []
    for number, path in tables:
        rows, outcomes = explained(answering, number)
        metadata = {"config_hash": hashes[number], "explainer": explainer, "seed": number, "outcomes": outcomes}
        write_table(path, pd.DataFrame(rows).assign(explainer=explainer)[_COLUMNS], metadata)
        done = sum(row["status"] == OK for row in rows)
        lines.append(f"seed {number}: {done} of {len(rows)} latents explained")
    return "\n".join(lines)


_COLUMNS = ["latent", "first_latent", "explanation", "status", "reason", "explainer", "n_shown", "prompt_sha256"]


def _explained(
    judge: Judge, contexts: Contexts, groups: Groups, number: int, count: int, seed: int
) -> tuple[list[dict], dict[str, int]]:
    """A row for each latent, and how many replies had each outcome."""
    latents = groups.of(number)
    windows = [shown(contexts, latent, count, seed) for _, latent in latents]
    replies = judge.explain([some for some in windows if some.enough])
    answers, rows = iter(replies), []
    for (group, latent), some in zip(latents, windows, strict=True):
        row = {
            "latent": latent,
            "first_latent": groups.name(group),
            "n_shown": len(some.positives),
            "explanation": "",
            "reason": "",
        }
        row |= {"status": TOO_RARE, "prompt_sha256": ""}
        if some.enough:
            reply, asked = next(answers)
            row |= {"status": STATUSES[reply.outcome], "reason": reason(reply.outcome)}
            row |= {"explanation": reply.value or "", "prompt_sha256": asked}
        rows.append(row)
    return rows, counts([reply for reply, _ in replies])
