"""The stage `choice`: do the parts of a latent tell which explanation is its own? (Leask et al., section 5.1)"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from sae_stability.files import check_made_from, read_table, write_table
from sae_stability.interpret.judges import Judge, Question, make_judge
from sae_stability.interpret.outcomes import NO_EXPLANATION, OK, STATUSES, Reply, reason
from sae_stability.meta.decoder_rows import unit_rows
from sae_stability.random_streams import stream
from sae_stability.ranges import Count, Index
from sae_stability.sae.formats import own
from sae_stability.sae.model import load_own

OPTIONS = 5
"""Explanations to choose from, of which one is the latent's."""
_LATENTS = 5  # others that describe a meta-latent, those in which it is strongest

COLUMNS = {"seed": "int64", "latent": "int64", "n_parts": "int64", "n_described": "int64", "chosen": "int64"}
COLUMNS |= {"correct": "bool", "status": "str", "reason": "str"}


def choose_by_parts(
    *,
    explanations: Path,
    sae: Path,
    sae_hash: str | None = None,
    meta: list[tuple[int, Path]],
    meta_hash: list[tuple[str, str]] = (),
    judge: dict,
    answers: Path | None = None,
    draw_seed: Index = 0,
    config_hash: str = "",
    out: Path,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: Count = 1,
) -> None:
    """Let a judge choose a latent's explanation among five, from what is said of its meta-latents.

    A meta-latent is described by the explanations of the latents in which it is strongest. The five latents to choose
    from describe nothing, so the right one has no advantage. Who guesses is right once in five.

    Args:
        explanations: table of explanations of the SAE that the meta-SAEs take apart.
        sae: folder of that SAE.
        sae_hash: hash that it must record.
        meta: SEED=FOLDER of each meta-SAE.
        meta_hash: SEED=HASH that a meta-SAE must record.
        judge: settings of a judge that answers for detection.
        answers: folder for the answers of an endpoint.
        draw_seed: seed of the four other latents, and of the order of the five.
        config_hash: fingerprint of what the table is made from, recorded in it.
        out: table to write: a row a meta-SAE and sampled latent.
        device: where a local model computes.
        threads: processor cores to use.

    Raises:
        StudyError: a file is missing or damaged or records another hash, or the judge cannot be made.
    """
    check_made_from(sae / "cfg.json", sae_hash)
    recorded = dict(meta_hash)
    for seed, folder in meta:
        check_made_from(folder / "cfg.json", recorded.get(str(seed)))
    torch.set_num_threads(threads)
    said, _ = read_table(explanations, ["latent", "explanation", "status"])
    rows = torch.from_numpy(unit_rows(own.arrays(sae)["decoder"][said["latent"].to_numpy()]))
    asked = make_judge(judge, answers, device, threads)
    found = []
    for seed, folder in meta:
        activations = load_own(folder).encode(rows).numpy()
        rng = np.random.default_rng(stream("choice", draw_seed, seed))
        trials = [_trial(place, said, activations, rng) for place in range(len(said))]
        for trial, reply in zip(trials, _answers(asked, said, trials), strict=True):
            found.append({"seed": seed, **_row(trial, reply, said)})
    table = pd.DataFrame(found, columns=list(COLUMNS)).astype(COLUMNS)
    write_table(out, table, {"config_hash": config_hash, "options": OPTIONS})


@dataclass(frozen=True)
class _Trial:
    """A latent, by its place among the explanations, with the places to choose from and the words on its parts."""

    place: int
    options: list[int]
    n_parts: int
    described: list[str]
    """What is said of each of its meta-latents that others describe, strongest first."""


def _trial(place: int, said: pd.DataFrame, activations: np.ndarray, rng: np.random.Generator) -> _Trial:
    explained = (said["status"] == OK).to_numpy()
    others = np.setdiff1d(np.flatnonzero(explained), [place])
    drawn = rng.choice(others, min(OPTIONS - 1, len(others)), replace=False)
    options = rng.permutation(np.append(drawn, place)).tolist()
    parts = np.flatnonzero(activations[place])
    parts = parts[np.argsort(-activations[place, parts], kind="stable")]
    speaks = explained.copy()
    speaks[options] = False
    described = [_said_of(activations[:, part], said, speaks) for part in parts]
    return _Trial(place, options, len(parts), [text for text in described if text])


def _said_of(activations: np.ndarray, said: pd.DataFrame, speaks: np.ndarray) -> str:
    """The explanations of the latents in which a meta-latent, with these activations (latents,), is strongest."""
    others = np.flatnonzero(speaks & (activations != 0))
    others = others[np.argsort(-activations[others], kind="stable")][:_LATENTS]
    return "; ".join(said["explanation"].iloc[others])


def _answers(judge: Judge, said: pd.DataFrame, trials: list[_Trial]) -> list[Reply]:
    """The place of the option that the judge finds most likely, for each trial; or why there is none."""
    replies: list[Reply] = []
    for trial in trials:
        status = said["status"].iloc[trial.place]
        whole = status == OK and trial.described and len(trial.options) == OPTIONS
        replies.append(Reply(OK) if whole else Reply(NO_EXPLANATION if status == OK else status))
    asked = [place for place, reply in enumerate(replies) if reply.outcome == OK]
    questions = [
        Question("; ".join(trials[place].described), tuple(said["explanation"].iloc[trials[place].options]))
        for place in asked
    ]
    for place, scores in zip(asked, judge.detect(questions) if questions else [], strict=True):
        failed = next((score.outcome for score in scores if score.outcome != OK), None)
        best = int(np.argmax([score.value for score in scores])) if failed is None else None
        replies[place] = Reply(failed or OK, best)
    return replies


def _row(trial: _Trial, reply: Reply, said: pd.DataFrame) -> dict:
    chosen = trial.options[reply.value] if reply.outcome == OK else -1
    return {
        "latent": said["latent"].iloc[trial.place],
        "n_parts": trial.n_parts,
        "n_described": len(trial.described),
        "chosen": said["latent"].iloc[chosen] if chosen >= 0 else -1,
        "correct": chosen == trial.place,
        # What happened to the explanation is a status already.
        "status": STATUSES.get(reply.outcome, reply.outcome),
        "reason": reason(reply.outcome) if reply.outcome in STATUSES else "",
    }
