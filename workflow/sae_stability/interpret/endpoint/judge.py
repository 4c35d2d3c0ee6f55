"""A judge that is a language model behind an HTTP server."""

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.interpret import prompts, replies
from sae_stability.interpret.endpoint.answers import Answer
from sae_stability.interpret.endpoint.client import Client, Settings
from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import OK, Reply
from sae_stability.interpret.samples import Shown
from sae_stability.random_streams import stream


class Endpoint:
    """Explains and answers through chat completions.

    Args:
        answers: folder for the answers.
        dry_run: nothing is asked; `client.estimate` says what would be.
        batch: texts that one call grades.
        settings: see `client.Settings`.

    Raises:
        StudyError: no folder for the answers is given, or as for `Client`.
    """

    threshold = 0.45
    """Grades of 5 and more, of 10, say that the latent fires."""

    def __init__(self, answers: Path | None, dry_run: bool = False, batch: int = 5, **settings: object) -> None:
        if answers is None:
            raise StudyError("judge of kind 'endpoint': give --answers, the folder in which its answers are kept")
        self.client, self._batch = Client(Settings(**settings), answers, dry_run), batch

    def explain(self, latents: Sequence[Shown]) -> list[tuple[Reply, str]]:
        """See `Judge`."""
        asked = [prompts.explain(latent) for latent in latents]
        answers = self.client.ask(asked)
        return [
            (_reply(answer, replies.explanation), self.client.digest(messages))
            for answer, messages in zip(answers, asked, strict=True)
        ]

    def detect(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`."""
        return self._graded(questions, prompts.detect)

    def fuzz(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`."""
        return self._graded(questions, prompts.fuzz)

    def intruder(self, texts: Sequence[tuple[str, ...]]) -> list[Reply]:
        """See `Judge`."""
        answers = self.client.ask([prompts.intruder(some) for some in texts])
        counts = map(len, texts)
        return [
            _reply(answer, functools.partial(replies.choice, count=count))
            for answer, count in zip(answers, counts, strict=True)
        ]

    def _graded(self, questions: Sequence[Question], prompt: Callable) -> list[list[Reply]]:
        """Replies from calls that grade `batch` texts each, in an order that does not tell which are which."""
        calls = []
        for number, question in enumerate(questions):
            order = list(range(len(question.texts)))
            random.Random(stream("order of texts", question.explanation, *question.texts)).shuffle(order)
            calls += [(number, order[start : start + self._batch]) for start in range(0, len(order), self._batch)]
        asked = [
            prompt(questions[number].explanation, [questions[number].texts[place] for place in places])
            for number, places in calls
        ]
        found: list[list[Reply]] = [[Reply(OK)] * len(question.texts) for question in questions]
        for (number, places), answer in zip(calls, self.client.ask(asked), strict=True):
            reply = _reply(answer, functools.partial(replies.grades, count=len(places)))
            for turn, place in enumerate(places):
                found[number][place] = Reply(OK, reply.value[turn]) if reply.outcome == OK else reply
        return found


def _reply(answer: Answer, parse: Callable[[str], Reply]) -> Reply:
    """What an answer says, if there is one."""
    return parse(answer.text) if answer.outcome == OK else Reply(answer.outcome)
