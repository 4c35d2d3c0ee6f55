"""The judges of a study: what a job needs to ask one, and what decides its answers."""

import dataclasses
import json
import math
from collections.abc import Sequence

from sae_stability.interpret.limits import INTRUDER_TEXTS
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import on_cores, on_device, parameters
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.results import Results
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

# Settings of an endpoint that change no answer.
_NO_ANSWER = ("key_variable", "concurrency", "timeout", "tries", "budget_tokens", "budget_money")
_NO_ANSWER += ("prompt_price", "completion_price")
_INSTRUCTION_TOKENS = 400  # of a prompt, besides texts
_EXPLANATIONS_TOKENS = 400  # five explanations, and what the latent's parts are said to be
# What a scorer asks of a latent in one draw, in units of `scored_windows`.
_QUESTIONS = {"detection": 3, "fuzzing": 2, "intruder": 1}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the questions of one job come to: operations of a model that runs here, or calls of an endpoint."""

    operations: float = 0.0
    calls: int = 0
    money: float = 0.0


def settings(study: Study, name: str) -> dict:
    """A judge's settings as its verb takes them: a model's name has become its source."""
    judge = study.interpret.judges[name]
    if judge["kind"] not in ("local", "embedding"):
        return judge
    model = study.models[judge["model"]]
    return {**judge, "model": model.name, "revision": model.revision, "sha256": model.sha256, "dtype": model.dtype}


def deciding(study: Study, name: str) -> dict:
    """The settings that decide a judge's answers."""
    return {key: value for key, value in study.interpret.judges[name].items() if key not in _NO_ANSWER}


def command(study: Study, results: Results, name: str) -> str:
    """The flags that name a judge."""
    judge = settings(study, name)
    answers = results.answers(name) if judge["kind"] == "endpoint" else None
    device = study.device if computes(study, name) else None
    return flags(judge=json.dumps(judge, sort_keys=True), answers=answers, device=device)


def computes(study: Study, name: str) -> bool:
    """Whether a judge is a model that runs here."""
    return study.interpret.judges[name]["kind"] in ("local", "embedding")


def threads(study: Study, name: str) -> int:
    """Cores for a job that asks a judge."""
    return 16 if computes(study, name) else 1


def explaining(study: Study, name: str, cohort: Cohort | ExternalCohort) -> Asked:
    """What it takes to explain the sampled latents of a cohort's SAEs: one question each."""
    interpret = study.interpret
    questions = interpret.latents * len(cohort.seeds)
    texts = interpret.shown_windows * study.firing.contexts["window"]
    return _asked(study, name, questions, _INSTRUCTION_TOKENS + texts)


def scoring(study: Study, scorer: str, cohort: Cohort | ExternalCohort) -> Asked:
    """What it takes to score them: each draw, and one more by another latent's explanation."""
    interpret, window = study.interpret, study.firing.contexts["window"]
    kind, name = interpret.scorers[scorer].kind, interpret.scorers[scorer].judge
    latents = interpret.latents * len(cohort.seeds)
    if interpret.judges[name]["kind"] == "embedding":
        # Each text is embedded once; windows in which a latent does not fire are much the same ones for all latents.
        texts = latents * (interpret.scored_windows * interpret.draws + interpret.shown_windows)
        return _asked(study, name, texts, window)
    texts = interpret.scored_windows * _QUESTIONS[kind]
    size = interpret.judges[name].get("batch", 1) if kind != "intruder" else 1
    draws = interpret.draws + (kind != "intruder")
    in_a_question = INTRUDER_TEXTS if kind == "intruder" else size
    return _asked(study, name, latents * draws * math.ceil(texts / size), _INSTRUCTION_TOKENS + in_a_question * window)


def choosing(study: Study, cohort: Cohort) -> Asked:
    """What it takes to choose each sampled latent's explanation among five: one question a meta-SAE."""
    questions = study.interpret.latents * len(cohort.seeds)
    return _asked(study, study.interpret.choice, questions, _INSTRUCTION_TOKENS + _EXPLANATIONS_TOKENS)


def spent(rates: Rates, jobs: int, asked: Sequence[Asked], seconds: float) -> dict[str, float]:
    """Operations, hours, calls and money of jobs that ask judges, as fields of a `Cost`."""
    operations = sum(one.operations for one in asked)
    work = on_device(rates, jobs, model=operations, seconds=seconds) if operations else on_cores(rates, jobs, seconds)
    return {**work, "calls": sum(one.calls for one in asked), "money": sum(one.money for one in asked)}


def _asked(study: Study, name: str, questions: int, prompt_tokens: int) -> Asked:
    """So many questions of a judge. Answers count with the most tokens that they may have."""
    judge = study.interpret.judges[name]
    if judge["kind"] == "lexical":
        return Asked()
    if judge["kind"] == "endpoint":
        price = prompt_tokens * judge["prompt_price"] + judge["max_tokens"] * judge["completion_price"]
        return Asked(calls=questions, money=questions * price / 1e6)
    tokens = prompt_tokens + judge.get("max_tokens", 0)
    return Asked(operations=2.0 * (parameters(study.models[judge["model"]]) or 0) * questions * tokens)
