"""One HTTP call to a chat endpoint, and what its response means."""

import email.utils
import json
import time
from typing import NamedTuple

import httpx

from sae_stability.errors import StudyError
from sae_stability.interpret.endpoint.answers import Answer
from sae_stability.interpret.outcomes import (
    EMPTY,
    NO_CREDIT,
    OK,
    RATE_LIMITED,
    REFUSED,
    REJECTED,
    SERVER_ERROR,
    TIMED_OUT,
    TRUNCATED,
)

LARGEST = 4_000_000
"""Bytes of a response; a larger one is cut, and counts as truncated."""

_NO_CREDIT_WORDS = ("insufficient_quota", "insufficient_credits", "insufficient_funds", "billing_hard_limit_reached")
_MODERATION_WORDS = ("moderation", "content_filter", "content_policy", "flagged")


class Response(NamedTuple):
    """What came of a call.

    Attributes:
        answer: the answer, or the outcome of a failure.
        final: whether the answer is kept; a failure that is not may go away.
        retry: whether to try again.
        wait: seconds that the server asks to wait, or None.
        note: what the server said of a failure; not to be trusted.
    """

    answer: Answer
    final: bool = False
    retry: bool = False
    wait: float | None = None
    note: str = ""


class Line:
    """A connection to one server.

    Args:
        url: base URL, such as https://api.example.com/v1.
        key: sent as bearer token, and blotted out wherever the server repeats it; None sends none.
        timeout: seconds that a whole call may take.
        connections: calls at a time.
    """

    def __init__(self, url: str, key: str | None, timeout: float, connections: int) -> None:
        self._url, self._key, self._timeout = f"{url.rstrip('/')}/chat/completions", key, timeout
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx.Client(headers=headers, timeout=timeout, limits=limits)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def post(self, body: dict) -> Response:
        """Send a request and say what came of it.

        Raises:
            StudyError: the server refuses the key, or knows no such model or address.
            httpx.ConnectError: no server answers.
        """
        try:
            status, headers, text, whole = self._send(body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise httpx.ConnectError(str(error)) from None
        except httpx.TimeoutException:
            return Response(Answer(TIMED_OUT), retry=True)
        except httpx.TransportError:
            return Response(Answer(SERVER_ERROR), retry=True)
        payload = _parsed(text)
        error = _error_of(payload)
        if status == 200 and error is None:
            return _answered(payload) if whole else Response(Answer(TRUNCATED), retry=True)
        # Some servers state an error with status 200, and the true status in it.
        status = int(error["code"] or 500) if status == 200 else status
        return self._failed(status, headers, error or {}, text)

    def _send(self, body: dict) -> tuple[int, httpx.Headers, str, bool]:
        """Status, headers and text of the response, and whether it came whole."""
        deadline = time.monotonic() + self._timeout
        with self._client.stream("POST", self._url, json=body) as response:
            received, whole = bytearray(), True
            try:
                for part in response.iter_bytes():
                    received += part
                    if len(received) > LARGEST:
                        whole = False
                        break
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("a call takes too long")
            except (httpx.RemoteProtocolError, httpx.ReadError):
                whole = False
            text = received.decode("utf-8", "replace")
            return response.status_code, response.headers, self._blotted(text), whole

    def _failed(self, status: int, headers: httpx.Headers, error: dict, text: str) -> Response:
        words = json.dumps(error).lower()
        note = f"{status} {error.get('message') or text}"
        if status == 402 or any(word in words for word in _NO_CREDIT_WORDS):
            return Response(Answer(NO_CREDIT), note=note)
        if status == 429:
            return Response(Answer(RATE_LIMITED), retry=True, wait=_wait(headers), note=note)
        if status == 403 and any(word in words for word in _MODERATION_WORDS):
            return Response(Answer(REFUSED), final=True, note=note)
        if status in (401, 403):
            raise StudyError(f"{self._url}: the server refuses the key ({status}); set the variable that holds it")
        if status == 404:
            raise StudyError(f"{self._url}: no such address or model (404); correct the judge's url or model")
        if status in (408, 409, 425) or status >= 500:
            outcome = TIMED_OUT if status in (408, 504) else SERVER_ERROR
            return Response(Answer(outcome), retry=True, wait=_wait(headers), note=note)
        return Response(Answer(REJECTED), note=note)

    def _blotted(self, text: str) -> str:
        """The text without the key, should the server repeat it."""
        return text.replace(self._key, "[key]") if self._key else text


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _error_of(payload: object) -> dict | None:
    """The error that a response states, if any; its `code` is a number or None."""
    error = payload.get("error") if isinstance(payload, dict) else None
    if not error:
        return None
    error = error if isinstance(error, dict) else {"message": str(error)}
    return {**error, "code": error["code"] if str(error.get("code")).isdigit() else None, "name": error.get("code")}


def _answered(payload: object) -> Response:
    """The answer in a response with status 200."""
    try:
        choice, usage = payload["choices"][0], payload.get("usage") or {}
        message = choice["message"]
        content, ended = message.get("content"), choice.get("finish_reason")
        refusal = message.get("refusal")
        tokens = [max(0, int(usage.get(f"{kind}_tokens") or 0)) for kind in ("prompt", "completion")]
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        # Not JSON, or not of this interface: as a rule a response that was cut.
        return Response(Answer(TRUNCATED), retry=True)
    text = content if isinstance(content, str) else ""
    if refusal or ended == "content_filter":
        outcome, text = REFUSED, str(refusal or text)
    elif ended == "length":
        outcome = TRUNCATED
    else:
        outcome = OK if text.strip() else EMPTY
    return Response(Answer(outcome, text, *tokens), final=True)


def _wait(headers: httpx.Headers) -> float | None:
    """Seconds that the header Retry-After asks for, given as seconds or as a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
