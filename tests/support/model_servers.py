"""Servers for tests, all on the loopback: a real one, one with vLLM's format, and a proxy that injects faults."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from PIL import Image


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TransformersServe:
    """``transformers serve``, as a user starts it, in a process of its own."""

    def __init__(self, model: Path, decision_config: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        program = Path(sys.executable).with_name("transformers")
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu", "--dtype", "float32"]
        self._command = [str(program), "serve", str(model), *place, "--decision-config", str(decision_config)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline and self._process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"transformers serve did not start:\n{self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: no reply is finished, no connection closed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> Any:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the tests' output clean."""

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


class FaultProxy(_Server):
    """Hands requests with an image on to a server, unless ``script(key, attempt)`` names a fault; counts them.

    The key is the hash of the request's body, so that the script can be the same whatever the order of arrival.
    Questions without an image, which clients ask to find out what a server can do, pass.
    """

    def __init__(self, upstream: str, script: Callable[[str, int], str] = lambda _key, _attempt: "") -> None:
        super().__init__(_ProxyHandler)
        self.upstream = urlsplit(upstream)
        self.script = script
        self.delay = 0.0
        self.seen: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.authorization: set[str | None] = set()
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        super().__exit__()


class _ProxyHandler(_Handler):
    server: FaultProxy

    def do_GET(self) -> None:
        self.hand_on(b"")

    def do_POST(self) -> None:
        body = self.body()
        if b'"data_base64"' not in body and b'"image_url"' not in body:
            return self.hand_on(body)
        key = hashlib.sha256(body).hexdigest()
        with self.server.lock:
            self.server.seen[key] += 1
            self.server.times.setdefault(key, []).append(time.monotonic())
            self.server.authorization.add(self.headers.get("Authorization"))
            attempt = self.server.seen[key]
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        try:
            time.sleep(self.server.delay)
            fault = self.server.script(key, attempt)
            if fault:
                self.do_harm(fault, body)
            else:
                self.hand_on(body)
        finally:
            with self.server.lock:
                self.server.in_flight -= 1
        return None

    def fetch(self, body: bytes) -> tuple[int, bytes]:
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def hand_on(self, body: bytes) -> None:
        try:
            status, answer = self.fetch(body)
        except OSError:
            self.reply(502, b"no connection to the upstream")
            return
        self.reply(status, answer, {"Content-Type": "application/json"})

    def do_harm(self, fault: str, body: bytes) -> None:
        name, _, argument = fault.partition(" ")
        if name.isdigit():
            message = f"injected; the key was {self.headers.get('Authorization')}"
            headers = {"Retry-After": argument} if argument else {}
            return self.reply(int(name), json.dumps({"error": {"message": message}}).encode(), headers)
        if name == "garbage":
            return self.reply(200, b"<html>Bad gateway</html>")
        if name == "nested":
            return self.reply(200, b"[" * 200_000)
        if name == "wrong":
            return self.reply(200, b'{"choices": [], "answers": {"levels": {"probabilities": {"0": 2}}}}')
        if name == "gzip":
            return self.reply(200, b"not compressed at all", {"Content-Encoding": "gzip"})
        if name == "truncated":
            answer = self.fetch(body)[1]
            return self.reply(200, answer[: len(answer) // 2])
        self.close_connection = True
        if name == "hang":
            self.server.closing.wait(10)
        elif name == "drip":  # a byte now and then: never silent, never done
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                while not self.server.closing.wait(0.1):
                    self.wfile.write(b" ")
        elif name == "half":
            answer = self.fetch(body)[1]
            self.reply(200, answer[: len(answer) // 2], {"Content-Length": str(len(answer))})
        elif name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif name != "drop":
            raise AssertionError(f"no fault is named {name!r}")
        return None


class ChatServer(_Server):
    """A model behind chat completions in the format that vLLM documents: ``top_logprobs``, ``continue_final_message``.

    Args:
        model: evaluated for every request.
        processor: of the model.
        logprobs: whether they are reported when asked for, or silently left out.
        continues: whether a begun answer is continued when asked for, or silently finished.
        most_logprobs: how many may be asked for.
    """

    def __init__(
        self, model: Any, processor: Any, *, logprobs: bool = True, continues: bool = True, most_logprobs: int = 20
    ) -> None:
        super().__init__(_ChatHandler)
        self.model, self.processor = model, processor
        self.logprobs, self.continues, self.most_logprobs = logprobs, continues, most_logprobs
        self.model_name = "lab/tiny-vlm"
        self.shown: list[Image.Image] = []
        self.lock = threading.Lock()

    def prompt(self, body: dict[str, Any]) -> tuple[str, list[Image.Image]]:
        images, messages = [], []
        for message in body["messages"]:
            parts = message["content"]
            for part in parts if isinstance(parts, list) else ():
                if part["type"] == "image_url":
                    data = part["image_url"]["url"].removeprefix("data:image/png;base64,")
                    images.append(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
            if isinstance(parts, list):
                parts = [{"type": "image"} if part["type"] == "image_url" else part for part in parts]
            messages.append({"role": message["role"], "content": parts})
        begun = ""
        if self.continues and body.get("continue_final_message"):
            begun = messages.pop()["content"]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True) + begun, images

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        text, images = self.prompt(body)
        inputs = self.processor(text=[text], images=images or None, return_tensors="pt")
        with self.lock, torch.inference_mode():
            self.shown += images
            logits = self.model(**inputs).logits[0, -1]
        best = logits.float().log_softmax(0).topk(body.get("top_logprobs", 1))
        entries = [
            {"token": self.processor.tokenizer.decode([int(token)]), "logprob": float(value), "bytes": None}
            for value, token in zip(*best, strict=True)
        ]
        told = self.logprobs and body.get("logprobs")
        return {
            "object": "chat.completion",
            "model": self.model_name,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": entries[0]["token"]},
                    "logprobs": {"content": [{**entries[0], "top_logprobs": entries}]} if told else None,
                    "finish_reason": "length",
                }
            ],
            "usage": {"prompt_tokens": inputs["input_ids"].shape[1], "completion_tokens": 1},
        }


class _ChatHandler(_Handler):
    server: ChatServer

    def do_GET(self) -> None:
        if self.path == "/version":
            return self.reply(200, b'{"version": "0.28.0"}')
        name = self.server.model_name
        entry = {
            "id": name,
            "created": int(time.time()),
            "owned_by": "vllm",
            "root": "/models/tiny-vlm",
            "parent": None,
        }
        return self.reply(200, json.dumps({"object": "list", "data": [entry]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.body())
        if self.path == "/v1/systemone":  # as another application's decision endpoint would
            return self.reply(200, b'{"answers": {"levels": {"type": "score", "probabilities": {"0": 1.0}}}}')
        if body.get("top_logprobs", 0) > self.server.most_logprobs:
            return self.reply(400, json.dumps({"error": {"message": "too many logprobs asked for"}}).encode())
        return self.reply(200, json.dumps(self.server.complete(body)).encode())
