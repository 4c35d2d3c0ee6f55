"""What language models reply. Their text is not trusted: only what has the form that was asked for counts."""

import json
import re
import unicodedata

from sae_stability.interpret.outcomes import EMPTY, OK, REFUSED, UNPARSED, Reply
from sae_stability.interpret.prompts import HIGHEST_GRADE

LONGEST = 500
"""Characters of an explanation; the rest is cut off."""

_EXPLANATION = re.compile(r"^\W*explanation\W*?:(.*)$", re.IGNORECASE | re.MULTILINE)
_LIST = re.compile(r"\[[\d\s,]*\]")
_REFUSAL = re.compile(
    r"\W*(i['’]m sorry|i am sorry|sorry|i can['’]?t|i cannot|i can not|i won['’]?t|i am unable|i['’]m unable|as an ai)"
    r"\b",
    re.IGNORECASE,
)


def explanation(text: str) -> Reply:
    """The last line `EXPLANATION: ...` of a reply."""
    found = [cleaned for line in _EXPLANATION.findall(text) if (cleaned := clean(line))]
    return Reply(OK, found[-1]) if found else without_form(text)


def grades(text: str, count: int) -> Reply:
    """The last list of `count` grades in a reply, each as a number from 0 to 1."""
    for found in reversed(_LIST.findall(text)):
        try:
            values = json.loads(found)
        except ValueError:
            continue
        if len(values) == count and all(0 <= value <= HIGHEST_GRADE for value in values):
            return Reply(OK, tuple(value / HIGHEST_GRADE for value in values))
    return without_form(text)


def choice(text: str, count: int) -> Reply:
    """The number in brackets in a reply, from 1 to `count`, as a place from 0."""
    found = [int(number) for number in re.findall(r"\[\s*(\d{1,3})\s*\]", text)]
    return Reply(OK, found[-1] - 1) if found and 1 <= found[-1] <= count else without_form(text)


def without_form(text: str) -> Reply:
    """The outcome of a reply that lacks what was asked for."""
    if not text.strip():
        return Reply(EMPTY)
    return Reply(REFUSED if _REFUSAL.match(text) else UNPARSED)


def clean(text: str) -> str:
    """A text on one line, without control characters and quotation marks around it, cut to `LONGEST` characters."""
    kept = "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign for sign in text)
    return " ".join(kept.split()).strip("\"'“”*_` ")[:LONGEST]
