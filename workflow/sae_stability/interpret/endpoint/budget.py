"""What may be spent on an endpoint, and what has been."""

import dataclasses
import json
import os
import threading
from pathlib import Path

from sae_stability.files import named


@dataclasses.dataclass
class Spending:
    """Calls and tokens, counted or expected."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of both kinds."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, prompt_tokens: int, completion_tokens: int, sign: int = 1) -> None:
        """Count a call; with `sign` -1, take it back."""
        self.calls += sign
        self.prompt_tokens += sign * prompt_tokens
        self.completion_tokens += sign * completion_tokens


@dataclasses.dataclass(frozen=True)
class Limits:
    """The most that may be spent, and prices of a million tokens. The currency is that of the prices."""

    tokens: int | None
    money: float | None
    prompt_price: float
    completion_price: float

    def price(self, spending: Spending) -> float:
        """What so many tokens cost."""
        return (spending.prompt_tokens * self.prompt_price + spending.completion_tokens * self.completion_price) / 10**6

    def allow(self, spending: Spending) -> bool:
        """Whether so much may be spent."""
        return (self.tokens is None or spending.tokens <= self.tokens) and (
            self.money is None or self.price(spending) <= self.money
        )


class Budget:
    """Keeps spending within its limits, over all runs that share a ledger.

    Before a call, the most that it can take is set aside; afterwards, what it took is written down. Calls under way in
    another process are not seen before they end.

    Args:
        ledger: file with a line for each answered call.
        limits: the most that may be spent.
    """

    def __init__(self, ledger: Path, limits: Limits) -> None:
        self.limits = limits
        self._ledger, self._lock = Path(ledger), threading.Lock()
        self._spent, self._reserved, self._read = Spending(), Spending(), 0

    @property
    def spent(self) -> Spending:
        """What has been spent."""
        with self._lock:
            self._catch_up()
            return dataclasses.replace(self._spent)

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> bool:
        """Set aside the most that a call can take; False if that is more than is left."""
        with self._lock:
            self._catch_up()
            wanted = dataclasses.replace(self._spent)
            wanted.add(self._reserved.prompt_tokens, self._reserved.completion_tokens)
            wanted.add(prompt_tokens, completion_tokens)
            if not self.limits.allow(wanted):
                return False
            self._reserved.add(prompt_tokens, completion_tokens)
            return True

    def used_up(self, prompt_tokens: int, completion_tokens: int) -> bool:
        """Whether a call would take more than is left, even if what is set aside for others were given back."""
        with self._lock:
            self._catch_up()
            wanted = dataclasses.replace(self._spent)
            wanted.add(prompt_tokens, completion_tokens)
            return not self.limits.allow(wanted)

    def release(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Give back what was set aside for a call."""
        with self._lock:
            self._reserved.add(prompt_tokens, completion_tokens, -1)

    def record(self, sha256: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Write down what a call took."""
        line = json.dumps([sha256, prompt_tokens, completion_tokens]) + "\n"
        with self._lock:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            # One write at the file's end: lines of several processes do not mix.
            file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                with named(self._ledger):
                    os.write(file, line.encode())
            finally:
                os.close(file)

    def _catch_up(self) -> None:
        """Read the lines that the ledger has gained."""
        if not self._ledger.exists():
            return
        with open(self._ledger, "rb") as file:
            file.seek(self._read)
            gained = file.read()
        whole = gained[: gained.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                _, prompt_tokens, completion_tokens = json.loads(line)
                self._spent.add(int(prompt_tokens), int(completion_tokens))
            except (ValueError, TypeError):  # a line that a full disk cut
                continue
