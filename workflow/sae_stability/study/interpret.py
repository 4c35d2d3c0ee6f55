"""What a study interprets: whose latents, explained by which judges, scored how."""

import dataclasses
from collections.abc import Sequence

from sae_stability.errors import StudyError
from sae_stability.interpret.limits import ANSWERS, WITHOUT_EXPLANATION
from sae_stability.study.parts import Cohort, ExternalCohort, Model
from sae_stability.study.schema import look_up


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A way to score explanations: what is asked (`detection`, `fuzzing`, `intruder`), and which judge answers."""

    kind: str
    judge: str


@dataclasses.dataclass(frozen=True)
class Interpret:
    """The section `interpret` of a study. `judges` are plain settings by name.

    `similarity` and `choice` name one or are None.
    """

    cohorts: tuple[str, ...]
    latents: int
    shown_windows: int
    scored_windows: int
    draws: int
    seed: int
    judges: dict[str, dict]
    explainers: tuple[str, ...]
    scorers: dict[str, Scorer]
    similarity: str | None
    choice: str | None

    @property
    def scores(self) -> list[tuple[str, str]]:
        """Explainer and scorer of every table of scores; where no explanation is needed, "none" and the scorer."""
        return [
            (explainer, name)
            for name, scorer in self.scorers.items()
            for explainer in ([WITHOUT_EXPLANATION] if scorer.kind == "intruder" else self.explainers)
        ]

    @property
    def drawn(self) -> tuple[str, str] | None:
        """Explainer and scorer of the scores that figures draw: the first of each; None without such scores."""
        return next((names for names in self.scores if names[0] != WITHOUT_EXPLANATION), None)


def interpret_of(
    given: dict, cohorts: dict[str, Cohort | ExternalCohort], firing: Sequence[str], models: dict[str, Model]
) -> Interpret:
    """The section `interpret` from settings with defaults filled in.

    Args:
        given: the settings.
        cohorts: the study's cohorts.
        firing: those whose firing is measured.
        models: the study's models.

    Raises:
        StudyError: a name that is not there, or a judge that cannot do what it is asked for.
    """
    judges = given["judges"]
    for name, judge in judges.items():
        if judge["kind"] in ("local", "embedding"):
            where = f"interpret.judges.{name}.model"
            _check_trained(where, look_up(where, judge["model"], models))
    if WITHOUT_EXPLANATION in judges:
        raise StudyError(f"interpret.judges.{WITHOUT_EXPLANATION}: this name stands for no explainer; choose another")
    for place, name in enumerate(given["cohorts"]):
        where = f"interpret.cohorts[{place}]"
        _check_cohort(where, look_up(where, name, cohorts), firing)
    for place, name in enumerate(given["explainers"]):
        _check_judge(f"interpret.explainers[{place}]", name, judges, "explain")
    for name, scorer in given["scorers"].items():
        _check_judge(f"interpret.scorers.{name}.judge", scorer["judge"], judges, scorer["kind"])
    if given["similarity"] is not None:
        _check_kind("interpret.similarity", given["similarity"], judges)
    if given["choice"] is not None:
        _check_judge("interpret.choice", given["choice"], judges, "detection")
    own = {
        "cohorts": tuple(given["cohorts"]),
        "explainers": tuple(given["explainers"]),
        "scorers": {name: Scorer(**scorer) for name, scorer in given["scorers"].items()},
    }
    return Interpret(**{**given, **own})


def _check_trained(where: str, model: Model) -> None:
    if model.random_seed is not None:
        raise StudyError(f"{where}: {model.slug} has random weights, so it has no answers; name a trained model")


def _check_cohort(where: str, cohort: Cohort | ExternalCohort, firing: Sequence[str]) -> None:
    """Its latents need contexts, and contexts need text."""
    if cohort.pass_ is None or cohort.pass_.tokens is None:
        raise StudyError(f"{where}: {cohort.slug} reads no text, so there is nothing to explain; take it off the list")
    if cohort.slug not in firing:
        raise StudyError(f"{where}: {cohort.slug} has no contexts; add it to firing.cohorts")


def _check_judge(where: str, name: str, judges: dict[str, dict], task: str) -> None:
    kind = look_up(where, name, judges)["kind"]
    if task not in ANSWERS[kind]:
        able = ", ".join(other for other, tasks in ANSWERS.items() if task in tasks)
        what = "explain" if task == "explain" else f"answer for {task}"
        raise StudyError(f"{where}: {name} is of kind {kind}, which cannot {what}; kinds that can: {able}")


def _check_kind(where: str, name: str, judges: dict[str, dict]) -> None:
    kind = look_up(where, name, judges)["kind"]
    if kind != "embedding":
        raise StudyError(f"{where}: {name} is of kind {kind}; explanations are compared by a judge of kind embedding")
