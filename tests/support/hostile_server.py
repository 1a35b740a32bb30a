"""A server that answers the first question well and then does harm, on the loopback."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from support.model_servers import _Handler, _Server

KEY = "sk-very/secret+0123456789"
BOMB = 1 << 28  # bytes of a compressed body


def completion(content: Any, model: str = "m", **extra: Any) -> bytes:
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return json.dumps({"model": model, "choices": [choice], **extra}).encode()


def bomb() -> bytes:
    """A quarter of a gigabyte of spaces in a quarter of a megabyte."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(BOMB >> 20)), packer.flush()])


Say = Callable[["Handler"], None]


def answers(body: bytes, status: int = 200, reason: str | None = None, **headers: str) -> Say:
    def say(handler: Handler) -> None:
        handler.send_response(status, reason)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return say


def without_end(part: bytes, pause: float) -> Say:
    def say(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.closing.wait(pause):
            handler.wfile.write(part)

    return say


def raw(text: bytes) -> Say:
    def say(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(text)

    return say


ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)

# What the server does to a request that shows an image.
MODES: dict[str, Say] = {
    "error body with 200": answers(json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
    "reason": answers(b"{}", 400, f"Bad key {KEY}"),
    "detail": answers(json.dumps({"detail": f"Incorrect key: Bearer {KEY}"}).encode(), 403),
    "plain text error": answers(f"key={KEY}".encode(), 422),
    "model name": answers(completion("7", model=f"m-{KEY}")),
    "text": answers(completion(f"Your key is {KEY}. Score: 7")),
    "escaped in JSON": answers(b'{"error": {"message": "' + ESCAPED.encode() + b'"}}', 400),
    "in a URL": answers(json.dumps({"error": f"see http://x/?key={quote(KEY, safe='')}"}).encode(), 400),
    "redirect": answers(b"", 302, Location=f"http://127.0.0.1:9/?key={quote(KEY, safe='')}"),
    "name in JSON": answers(json.dumps({KEY: 1, "choices": {KEY: KEY}}).encode()),
    "header with control characters": raw(b"HTTP/1.1 200 OK\r\nX-Key: " + KEY.encode() + b"\x00\x01\r\n\r\n"),
    "no HTTP": raw(f"your key is {KEY}\r\n\r\n".encode()),
    "absurd year": answers(b"{}", 429, Retry_After="Fri, 31 Dec 99999999 23:59:59 GMT"),
    "year one": answers(b"{}", 429, Retry_After="Mon, 01 Jan 0001 00:00:00 +1200"),
    "endless wait": answers(b"{}", 429, Retry_After="1e300"),
    "wait of no number": answers(b"{}", 503, Retry_After="nan"),
    "surrogate": answers(b'{"choices": [{"message": {"content": "Score: 7 \\ud800"}, "finish_reason": "stop"}]}'),
    "escapes": answers(completion("\x1b]0;owned\x07\x1b[2JScore: 7\x1b[31m\x9b1m")),
    "escapes in an error": answers(b'{"error": "\\u001b[2J\\u001b]0;owned\\u0007"}', 400),
    "escapes in a reason": answers(b"{}", 400, "\x1b[2Jgone"),
    "parts": answers(completion([{"type": "thinking", "thinking": "3"}, {"type": "text", "text": "Score: 7"}])),
    "parts of another kind": answers(completion([{"type": "text", "text": 7}, 5, None])),
    "bomb": answers(bomb(), Content_Encoding="gzip"),
    "unknown compression": answers(b"\x28\xb5\x2f\xfd", Content_Encoding="zstd"),
    "10 MB of JSON": answers(json.dumps({"choices": [[]] * 3_000_000}).encode()),
    "2 MB of JSON": answers(b'{"choices": [' + b"[]," * 690_000 + b"[]]}"),
    "invalid JSON": answers(b'{"choices": [{"message": {"content": "7"'),
    "nested": answers(b'{"a":' * 100_000),
    "huge number": answers(completion("7", usage={"prompt_tokens": 10**400, "completion_tokens": True})),
    "not a number": answers(b'{"choices": NaN, "usage": Infinity}'),
    "other types": answers(
        b'{"choices": [{"message": {"content": {"a": 1}}, "finish_reason": {"b": []}}], "usage": 5}'
    ),
    "empty": answers(b""),
    "endless body": without_end(b" " * 65536, 0.0),
    "slow drip": without_end(b" ", 0.05),
    "bytes that are no text": answers(
        b'{"choices": [{"message": {"content": "\xff\xfe 7"}, "finish_reason": "stop"}]}'
    ),
}


class HostileServer(_Server):
    """Does the harm of a mode to what ``harmed`` chooses; everything else is answered "Score: 7".

    Args:
        mode: a name in ``MODES``.
        harmed: chooses by the number of different requests with an image so far, from 0; None chooses every request,
            the first question too.
    """

    def __init__(self, mode: str, harmed: Callable[[int], bool] | None) -> None:
        super().__init__(Handler)
        self.say, self.harmed = MODES[mode], harmed
        self.seen: list[bytes] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        super().__exit__()


class Handler(_Handler):
    server: HostileServer

    def do_GET(self) -> None:  # noqa: N802
        self.answer(b"")

    def do_POST(self) -> None:  # noqa: N802
        self.answer(self.body())

    def answer(self, body: bytes) -> None:
        shown = b'"image_url"' in body
        with self.server.lock:
            if shown and body not in self.server.seen:
                self.server.seen.append(body)
            harmed = self.server.harmed is None or (shown and self.server.harmed(self.server.seen.index(body)))
        try:
            (self.server.say if harmed else answers(completion("Score: 7")))(self)
        except OSError:  # the client gave up
            self.close_connection = True
