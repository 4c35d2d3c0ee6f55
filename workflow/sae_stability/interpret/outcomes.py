"""How a question to a judge ended. A failure is a status, never a score."""

from typing import NamedTuple

OK = "ok"
REFUSED = "refused"
UNPARSED = "unparsed"
EMPTY = "empty"
TRUNCATED = "truncated"
TIMED_OUT = "timed_out"
RATE_LIMITED = "rate_limited"
SERVER_ERROR = "server_error"
REJECTED = "rejected"
NO_CREDIT = "no_credit"
OVER_BUDGET = "over_budget"
NOT_ASKED = "not_asked"  # in a dry run, which writes no table

STATUSES = {
    OK: "ok",
    REFUSED: "refused",
    UNPARSED: "unparsed",
    EMPTY: "failed",
    TRUNCATED: "failed",
    TIMED_OUT: "failed",
    RATE_LIMITED: "failed",
    SERVER_ERROR: "failed",
    REJECTED: "failed",
    NO_CREDIT: "failed",
    OVER_BUDGET: "failed",
    NOT_ASKED: "failed",
}
"""Every outcome, and the status that the tables state for it. The outcome itself stands in their column `reason`."""

TOO_RARE = "too_rare"
NO_EXPLANATION = "no_explanation"


class Reply(NamedTuple):
    """What a judge said: the `value` if the outcome is OK, else None."""

    outcome: str
    value: object = None


def counts(replies: list[Reply]) -> dict[str, int]:
    """How many replies had each outcome, in the order of `STATUSES`; outcomes that did not occur are left out."""
    found = [reply.outcome for reply in replies]
    return {outcome: found.count(outcome) for outcome in STATUSES if outcome in found}


def reason(outcome: str) -> str:
    """What the column `reason` says of an outcome: the outcome if its status is "failed", else nothing."""
    return outcome if STATUSES[outcome] == "failed" else ""
