"""Judges: what explains latents and answers the scorers' questions. One interface, four kinds.

A judge of kind `lexical` counts words, one of kind `embedding` compares sentences, one of kind `local` is a language
model on this machine, one of kind `endpoint` a language model behind an HTTP server.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sae_stability.errors import StudyError
from sae_stability.interpret.limits import ANSWERS
from sae_stability.interpret.outcomes import Reply
from sae_stability.interpret.samples import Shown


@dataclasses.dataclass(frozen=True)
class Question:
    """A statement about a latent, and texts: in which of them does the latent fire?"""

    explanation: str
    texts: tuple[str, ...]


class Judge(Protocol):
    """What explains and answers. Methods take all questions at once, so that a judge can batch them.

    Attributes:
        threshold: the score above which an answer is yes; None where it has to be chosen on the explaining windows.
    """

    threshold: float | None

    def explain(self, latents: Sequence[Shown]) -> list[tuple[Reply, str]]:
        """For each latent a Reply whose value is an explanation, and the SHA-256 of what was asked."""

    def detect(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """For each text of each question a Reply whose value says how surely the latent fires in it."""

    def fuzz(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """As `detect`, for texts with marked tokens: how surely does the latent fire on the marked ones?"""

    def intruder(self, texts: Sequence[tuple[str, ...]]) -> list[Reply]:
        """For each set of texts a Reply whose value is the place of the one that does not belong."""


def make_judge(
    settings: dict, answers: Path | None, device: str = "cpu", threads: int = 1, *, dry_run: bool = False
) -> Judge:
    """The judge that settings describe: `kind`, and the settings of that kind.

    Args:
        settings: of the judge.
        answers: folder for the answers of an endpoint.
        device: where a local model computes.
        threads: processor cores that it uses.
        dry_run: an endpoint is asked nothing; what it would cost is counted.

    Raises:
        StudyError: an unknown kind or setting, a model that cannot be loaded, a key that is not set.
    """
    kind, rest = settings.get("kind"), {name: value for name, value in settings.items() if name != "kind"}
    if kind == "lexical":
        from sae_stability.interpret.lexical import Lexical

        return _made(kind, Lexical, rest)
    if kind == "embedding":
        from sae_stability.interpret.embedding import Embedding

        return _made(kind, Embedding, rest, device=device, threads=threads)
    if kind == "local":
        from sae_stability.interpret.local import Local

        return _made(kind, Local, rest, device=device, threads=threads)
    if kind == "endpoint":
        from sae_stability.interpret.endpoint.judge import Endpoint

        return _made(kind, Endpoint, rest, answers=answers, dry_run=dry_run)
    raise StudyError(f"judge kind '{kind}' is unknown; allowed: {', '.join(ANSWERS)}")


def _made(kind: str, judge: Callable[..., Judge], settings: dict, **ours: object) -> Judge:
    """Make a judge, after a look at the names of its settings: a TypeError from inside would be a mistake of ours."""
    try:
        inspect.signature(judge).bind(**settings, **ours)
    except TypeError as error:
        raise StudyError(f"judge of kind '{kind}': {error}") from None
    return judge(**settings, **ours)


def estimated(settings: dict, answers: Path | None, ask: Callable[[Judge], object]) -> str:
    """What asking a judge would cost, in words.

    Args:
        settings: of the judge.
        answers: folder for the answers of an endpoint.
        ask: asks a judge all that it will be asked; what it answers means nothing.

    Raises:
        StudyError: as `make_judge`.
    """
    if settings.get("kind") != "endpoint":
        return f"judge of kind '{settings.get('kind')}': costs nothing but computing time"
    counting = make_judge(settings, answers, dry_run=True)
    ask(counting)
    return counting.client.estimate()
