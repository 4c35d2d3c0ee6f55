"""A chat server on the loopback interface that answers sensibly, and misbehaves where it is told to."""

import collections
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-secret-0123456789"


class Chat:
    """What the server was asked, and what it did.

    Attributes:
        behave: (body, how many times this prompt has been asked before) -> what to do: a name in `ACTIONS`.
        asked: how often each prompt was asked, by its text.
        answered: how often each prompt got a whole answer.
        done: how often each action was taken.
    """

    def __init__(self) -> None:
        self.behave: Callable[[dict, int], str] = lambda body, before: "ok"
        self.asked: collections.Counter[str] = collections.Counter()
        self.answered: collections.Counter[str] = collections.Counter()
        self.done: collections.Counter[str] = collections.Counter()
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()
        self.url = ""


def prompt_of(body: dict) -> str:
    return body["messages"][-1]["content"]


def sensible(prompt: str) -> str:
    """What a good judge would answer: the marked word as explanation, a 10 for texts that hold the word."""
    if "EXPLANATION:" in prompt:
        counts = collections.Counter(re.findall(r"<<(\w+)>>", prompt))
        word = min(counts, key=lambda found: (-counts[found], found)) if counts else "nothing"
        return f"All of them show one word.\nEXPLANATION: the word {word}"
    if "neuron" not in prompt:
        return "What neuron?"
    texts = [json.loads(line.partition(". ")[2]) for line in re.findall(r"^\d+\. .*$", prompt, re.MULTILINE)]
    if "does not belong" in prompt:
        words = [set(marked(text)) for text in texts]
        common = collections.Counter(word for some in words for word in some).most_common(1)[0][0]
        odd = [place for place, some in enumerate(words, start=1) if common not in some]
        return f"[{(odd or [1])[0]}]"
    word = json.loads(re.search(r"said of a neuron: (.*)$", prompt, re.MULTILINE)[1]).split()[-1]
    fuzzing = "between <<" in prompt
    return json.dumps([10 * (word in (marked(text) if fuzzing else text.split())) for text in texts])


def marked(text: str) -> list[str]:
    return " ".join(re.findall(r"<<(.*?)>>", text)).split()


def completion(content: object, finish_reason: str = "stop", **message: object) -> dict:
    return {
        "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


def error(code: object, message: str) -> dict:
    return {"error": {"code": code, "message": message, "type": code}}


# Name -> (status, headers, payload); the payload of "ok" is made from the prompt.
ACTIONS: dict[str, tuple[int, dict, object]] = {
    "ok": (200, {}, None),
    "unparsed": (200, {}, completion("Well, hard to say.")),
    "refused": (200, {}, completion("I'm sorry, but I can't help with that.")),
    "refusal": (200, {}, completion(None, refusal="no")),
    "filtered": (200, {}, completion("", "content_filter")),
    "flagged": (403, {}, error("moderation", "the prompt was flagged")),
    "empty": (200, {}, completion("  ")),
    "null": (200, {}, completion(None, reasoning_content="thinking")),
    "length": (200, {}, completion("All of them", "length")),
    "not json": (200, {}, "<html>busy</html>"),
    "no choices": (200, {}, {"choices": []}),
    "no credit": (402, {}, error(402, "buy more")),
    "quota": (429, {}, error("insufficient_quota", "you exceeded your quota")),
    "credit in 200": (200, {}, error(402, "buy more")),
    "limited": (429, {"Retry-After": "0.05"}, error("rate_limit", "slow down")),
    "limited, no hint": (429, {}, error("rate_limit", "slow down")),
    "overloaded": (503, {}, "overloaded"),
    "gateway": (504, {}, "late"),
    "error in 200": (200, {}, error("overloaded", "busy")),
    "rejected": (400, {}, error("context_length_exceeded", "too long")),
    "bad key": (401, {}, error("invalid_api_key", f"wrong key: {KEY}")),
    "no model": (404, {}, error("model_not_found", "no such model")),
    "huge": (200, {}, "x" * 5_000_000),
}
SPECIAL = ("cut", "late", "drip", "closed", "echo")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chat: Chat

    def do_POST(self) -> None:
        chat = self.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = prompt_of(body)
        with chat.lock:
            before = chat.asked[prompt]
            chat.asked[prompt] += 1
            chat.keys.add(self.headers.get("Authorization"))
        action = chat.behave(body, before)
        with chat.lock:
            chat.done[action] += 1
        with contextlib.suppress(OSError):
            self.act(action, prompt)
            if action == "ok":
                with chat.lock:
                    chat.answered[prompt] += 1

    def act(self, action: str, prompt: str) -> None:
        good = json.dumps(completion(sensible(prompt))).encode()
        if action == "late":
            time.sleep(1.5)
        elif action == "closed":
            self.close_connection = True
            return
        elif action == "drip":
            self.head(200, len(good))
            for place in range(len(good)):
                self.wfile.write(good[place : place + 1])
                self.wfile.flush()
                time.sleep(0.05)
            return
        elif action == "cut":
            self.head(200, len(good))
            self.wfile.write(good[: len(good) // 2])
            self.close_connection = True
            return
        elif action == "echo":
            key = self.headers.get("Authorization")
            good = json.dumps(completion(f"EXPLANATION: {key} {key.removeprefix('Bearer ')}")).encode()
        status, headers, payload = ACTIONS.get(action, ACTIONS["ok"])
        data = good if payload is None else (payload if isinstance(payload, str) else json.dumps(payload)).encode()
        self.head(status, len(data), headers)
        self.wfile.write(data)

    def head(self, status: int, length: int, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Chat]:
    """A server that runs in this process, on a free port."""
    chat = Chat()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"chat": chat}))
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()


def judge(chat: Chat, **settings: object) -> dict:
    """Settings of a judge that asks the server, quick to try again."""
    defaults = {"kind": "endpoint", "url": chat.url, "model": "tested", "key_variable": "TESTED_KEY"}
    return {**defaults, "wait": 0.01, "tries": 3, "timeout": 10.0, "concurrency": 4, **settings}
