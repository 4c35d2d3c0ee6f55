"""Ask an endpoint many questions: at once, within a budget, patiently, and none twice."""

import dataclasses
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tqdm import tqdm

from sae_stability.errors import StudyError
from sae_stability.interpret.endpoint.answers import Answer, Answers, digest
from sae_stability.interpret.endpoint.budget import Budget, Limits, Spending
from sae_stability.interpret.endpoint.http import Line, Response
from sae_stability.interpret.outcomes import NO_CREDIT, NOT_ASKED, OVER_BUDGET, SERVER_ERROR
from sae_stability.interpret.replies import clean

_LONGEST_WAIT = 600.0  # seconds; a server that asks for more gets its next call then
_BYTES_A_TOKEN = 3  # at least, in English text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach an endpoint, and how much of it to use."""

    url: str
    model: str
    key_variable: str | None = "OPENAI_API_KEY"
    max_tokens: int = 500
    temperature: float = 0.0
    extra: dict | None = None
    concurrency: int = 8
    timeout: float = 120.0
    tries: int = 6
    wait: float = 1.0
    budget_tokens: int | None = None
    budget_money: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0
    partial: bool = False

    def key(self) -> str | None:
        """The key, from the environment.

        Raises:
            StudyError: the variable is not set.
        """
        if self.key_variable is None:
            return None
        if not (key := os.environ.get(self.key_variable, "").strip()):
            raise StudyError(
                f"judge at {self.url}: the environment variable {self.key_variable} is not set; set it to the key, "
                "or write key_variable: null for a server that needs none"
            )
        return key

    def body(self, messages: list[dict]) -> dict:
        """What is sent. An entry of `extra` that is None takes an entry away."""
        sent = {"model": self.model, "messages": messages, "max_tokens": self.max_tokens}
        sent |= {"temperature": self.temperature, **(self.extra or {})}
        return {name: value for name, value in sent.items() if value is not None}


class Client:
    """Asks an endpoint, and keeps its answers.

    Args:
        settings: the endpoint.
        answers: folder of the answers that are kept.
        dry_run: nothing is asked; `expected` counts what would be.

    Raises:
        StudyError: the URL is none of HTTP, or the key is not set.
    """

    def __init__(self, settings: Settings, answers: Path, dry_run: bool = False) -> None:
        if urlsplit(settings.url).scheme not in ("http", "https"):
            raise StudyError(f"judge at {settings.url}: the url must begin with https:// or http://")
        self.settings, self._dry_run = settings, dry_run
        self._key = None if dry_run else settings.key()
        prices = (settings.prompt_price, settings.completion_price)
        limits = Limits(settings.budget_tokens, settings.budget_money, *prices)
        self._answers, self.budget = Answers(answers), Budget(Path(answers) / "spent.jsonl", limits)
        self.expected, self.kept = Spending(), 0
        self._counted: set[str] = set()
        self._stopped: str | None = None
        self._answered_once = threading.Event()
        self._resume_at = 0.0
        self._noted: set[str] = set()

    def digest(self, messages: list[dict]) -> str:
        """The SHA-256 of what is sent for a prompt."""
        return digest(self.settings.url, self.settings.body(messages))

    def ask(self, prompts: Sequence[list[dict]]) -> list[Answer]:
        """The answer to each prompt. Equal prompts are asked once, and none that was answered before.

        In a dry run, what was not answered before is NOT_ASKED.

        Raises:
            StudyError: the server refuses the key, knows no such model, or does not answer at all; the budget or the
                credit is used up and `partial` is not set. All answers so far are kept.
        """
        bodies = {self.digest(messages): self.settings.body(messages) for messages in prompts}
        found = {sha256: answer for sha256 in bodies if (answer := self._answers.get(sha256))}
        todo = {sha256: body for sha256, body in bodies.items() if sha256 not in found}
        if self._dry_run:
            self._count(found, todo)
            found |= dict.fromkeys(todo, Answer(NOT_ASKED))
        else:
            found |= self._ask_all(todo)
        return [found[self.digest(messages)] for messages in prompts]

    def estimate(self) -> str:
        """What a dry run found, in words."""
        limits, spent = self.budget.limits, self.budget.spent
        lines = [
            f"{self.settings.model} at {self.settings.url}: {self.expected.calls:,} calls to make, "
            f"{self.kept:,} answered before; at most about {self.expected.prompt_tokens:,} tokens of prompts and "
            f"{self.expected.completion_tokens:,} of answers"
        ]
        if limits.prompt_price or limits.completion_price:
            lines.append(f"cost at most about {limits.price(self.expected):,.2f}; spent {limits.price(spent):,.2f}")
        if limits.tokens is not None or limits.money is not None:
            allowed = [f"{limits.tokens:,} tokens"] if limits.tokens is not None else []
            allowed += [f"{limits.money:,.2f}"] if limits.money is not None else []
            lines.append(f"budget {' and '.join(allowed)}; spent {spent.tokens:,} tokens")
        return "; ".join(lines)

    def _count(self, found: dict, todo: dict) -> None:
        self.kept += len(found.keys() - self._counted)
        for sha256 in todo.keys() - self._counted:
            self.expected.add(*self._most(todo[sha256]))
        self._counted |= found.keys() | todo.keys()

    def _most(self, body: dict) -> tuple[int, int]:
        """About the most tokens that a call can take: of its prompt and of its answer."""
        size = sum(len(message["content"].encode()) for message in body["messages"])
        return size // _BYTES_A_TOKEN + 20, self.settings.max_tokens

    def _ask_all(self, todo: dict[str, dict]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        if not todo:
            return found
        line = Line(self.settings.url, self._key, self.settings.timeout, self.settings.concurrency)
        pool = ThreadPoolExecutor(self.settings.concurrency)
        try:
            futures = {pool.submit(self._ask, line, sha256, body): sha256 for sha256, body in todo.items()}
            bar = tqdm(total=len(todo), desc=self.settings.model, unit="call", delay=1, mininterval=2)
            with bar:
                for future in as_completed(futures):
                    found[futures[future]] = future.result()
                    bar.update()
        except BaseException:
            self._stopped = SERVER_ERROR  # what has not begun does not begin
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            line.close()
        if self._stopped and not self.settings.partial:
            raise self._used_up(found)
        return found

    def _used_up(self, found: dict[str, Answer]) -> StudyError:
        over = self._stopped == OVER_BUDGET
        missing = sum(answer.outcome == self._stopped for answer in found.values())
        why = "the budget is used up" if over else "the account has no credit left"
        how = "Raise budget_tokens or budget_money" if over else "Add credit"
        return StudyError(
            f"judge {self.settings.model}: {why}; {missing:,} of {len(found):,} calls were not made. {how} and run "
            "again: what was answered is kept. Or set partial: true to go on without the rest"
        )

    def _ask(self, line: Line, sha256: str, body: dict) -> Answer:
        """Ask until there is an answer, or no more tries."""
        most = self._most(body)
        for attempt in range(self.settings.tries):
            self._sleep(max(0.0, self._resume_at - time.monotonic()))
            if self._stopped:
                return Answer(self._stopped)
            while not (reserved := self.budget.reserve(*most)) and not self._stopped:
                if self.budget.used_up(*most):
                    self._stopped = OVER_BUDGET
                time.sleep(0.02)  # calls under way take less than was set aside for them
            if not reserved:
                return Answer(self._stopped)
            try:
                response = self._posted(line, body, last=attempt == self.settings.tries - 1)
                self._keep(sha256, body, response)
            finally:
                self.budget.release(*most)
            if response.answer.outcome == NO_CREDIT:
                self._stopped = NO_CREDIT
            if not response.retry:
                break
            if attempt < self.settings.tries - 1:
                self._back_off(attempt, response.wait)
        self._note(response)
        return response.answer

    def _posted(self, line: Line, body: dict, *, last: bool) -> Response:
        try:
            response = line.post(body)
        except httpx.ConnectError as error:
            if last and not self._answered_once.is_set():
                raise StudyError(f"judge at {self.settings.url}: no server answers ({clean(str(error))})") from None
            return Response(Answer(SERVER_ERROR), retry=True, note="no server answers")
        self._answered_once.set()
        return response

    def _keep(self, sha256: str, body: dict, response: Response) -> None:
        answer = response.answer
        if response.final:
            # First what it cost: should the run be killed in between, it was spent all the same.
            self.budget.record(sha256, answer.prompt_tokens, answer.completion_tokens)
            self._answers.put(sha256, self.settings.url, body, answer)

    def _back_off(self, attempt: int, wanted: float | None) -> None:
        """Wait before the next try; if the server says how long, all calls wait."""
        if wanted is not None:
            self._resume_at = max(self._resume_at, time.monotonic() + min(wanted, _LONGEST_WAIT))
        else:
            # Not all at the same moment.
            self._sleep(min(self.settings.wait * 2**attempt * random.uniform(0.5, 1.5), _LONGEST_WAIT))

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _note(self, response: Response) -> None:
        """Tell a person of the first failure of each sort."""
        outcome = response.answer.outcome
        if response.note and outcome not in self._noted:
            self._noted.add(outcome)
            print(f"{self.settings.model}: {outcome}: {clean(response.note)[:200]}", file=sys.stderr)
