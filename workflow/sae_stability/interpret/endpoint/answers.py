"""Answers kept on the disk, each under the SHA-256 of what was sent, so that nothing is asked twice."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from sae_stability.errors import StudyError
from sae_stability.files import read_json, write_json


class Answer(NamedTuple):
    """What a server sent back: the outcome so far, the text, and the tokens that it counted."""

    outcome: str
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def digest(url: str, body: dict) -> str:
    """The SHA-256 of what is sent."""
    return hashlib.sha256(json.dumps([url, body], sort_keys=True).encode()).hexdigest()


class Answers:
    """A folder of answers: `ab/abcd....json` with what was sent (`url`, `body`) and what came back (`answer`).

    Headers are not kept, so no key is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def get(self, sha256: str) -> Answer | None:
        """The answer to what has this SHA-256; None where it was not asked or not answered.

        Raises:
            StudyError: the file is damaged.
        """
        path = self._path(sha256)
        if not path.exists():
            return None
        stored = read_json(path)
        try:
            if digest(stored["url"], stored["body"]) == sha256:
                return Answer(**stored["answer"])
        except (KeyError, TypeError):
            pass
        raise StudyError(f"{path}: not the answer that its name says; delete it and run again")

    def put(self, sha256: str, url: str, body: dict, answer: Answer) -> None:
        """Keep an answer."""
        write_json(self._path(sha256), {"url": url, "body": body, "answer": answer._asdict()})

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.json"
