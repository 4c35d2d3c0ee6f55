"""What is done with rows of a corpus that hold no text, and how many there were."""

import re

from sae_stability.errors import StudyError

ACTIONS = ("error", "skip", "replace")
BYTE_ORDER_MARK = "\ufeff"
# Halves of characters. A byte that is no UTF-8 is read as one of them ("surrogateescape"), so this finds both.
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadRows:
    """What is done with rows that hold no text, and how many there were.

    Args:
        action: "error" stops at the first; "skip" leaves them out; "replace" puts U+FFFD for bytes and characters that
            are no text, and leaves out rows that cannot be read at all.

    Attributes:
        skipped: rows that were left out.
        replaced: rows in which something was replaced.
        first: the first of these rows, and what is wrong with it; None if there is none.

    Raises:
        StudyError: another action.
    """

    def __init__(self, action: str = "error") -> None:
        if action not in ACTIONS:
            raise StudyError(f"corpus: on_bad_row '{action}' is unknown; allowed: {', '.join(ACTIONS)}")
        self.action = action
        self.skipped = 0
        self.replaced = 0
        self.first: str | None = None

    def skip(self, where: str, fault: str, mend: str = "correct it") -> None:
        """Leave out a row that cannot be read.

        Args:
            where: the row: "corpus.jsonl, line 7".
            fault: what is wrong with it.
            mend: what to do about it.

        Raises:
            StudyError: the action is "error".
        """
        if self.action == "error":
            raise StudyError(f"{where}: {fault}; {mend}, or set on_bad_row of the corpus to skip or replace")
        self.skipped += 1
        self.first = self.first or f"{where}: {fault}"

    def text(self, where: str, text: str) -> str | None:
        """The text of a row if it is valid or can be made so; None if the row is left out.

        Raises:
            StudyError: it is not valid, and the action is "error".
        """
        if text.isascii() or not (found := _SURROGATE.search(text)):
            return text
        code = ord(found[0])
        escaped = 0xDC80 <= code <= 0xDCFF
        fault = f"not UTF-8 (byte 0x{code - 0xDC00:02x})" if escaped else f"half of a character (U+{code:04X})"
        if self.action != "replace":
            self.skip(where, fault)
            return None
        self.replaced += 1
        self.first = self.first or f"{where}: {fault}"
        return _SURROGATE.sub("\ufffd", text)

    @property
    def counts(self) -> dict:
        """The counts and the first row, as they stand in a manifest."""
        return {"skipped": self.skipped, "replaced": self.replaced, "first": self.first}

    def __str__(self) -> str:
        """The counts in words; empty if every row held text."""
        if self.first is None:
            return ""
        return f"{self.skipped:,} bad rows left out, {self.replaced:,} mended, the first {self.first}"
