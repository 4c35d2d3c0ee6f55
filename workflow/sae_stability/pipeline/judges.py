"""The judges of a study: what a job needs to ask one, and what decides its answers."""

import json

from sae_stability.pipeline.command import flags
from sae_stability.pipeline.results import Results
from sae_stability.study.build import Study

# Settings of an endpoint that change no answer.
_NO_ANSWER = ("key_variable", "concurrency", "timeout", "tries", "budget_tokens", "budget_money")
_NO_ANSWER += ("prompt_price", "completion_price")


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
