"""A reward behind HTTP, so that a generator can be trained in another process or environment.

``POST /reward`` takes ``{"images": ["<base64 of a PNG or JPEG file>", …], "prompts": ["…", …]}``, where prompts are
optional, and returns ``{"rewards": [0.7, …], "details": [{…}, …]}``. ``GET /health`` and ``GET /metrics`` (text, as
Prometheus reads it) need no body. Every error is JSON: ``{"error": "…"}``.

Nothing is decoded before its size is known. One request is rated at a time; others wait in a queue of limited length,
and what does not fit is refused with status 503. There is no authentication: on an address other than the loopback,
anybody who reaches the port can use the model.
"""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ...common.errors import ImageError, LopsidedError, one_line
from ...common.images import read_rgb
from .reward_model import RewardModel

SECONDS = 60.0  # for a client to send its request
MOST_DIGITS = 18  # of a Content-Length
FORMATS = ("PNG", "JPEG")


class _RefusedError(Exception):
    """A request that gets an error.

    Args:
        status: of HTTP.
        text: why.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RewardService:
    """A reward behind HTTP, in threads of this process.

    Args:
        reward: what rates.
        host: address to listen at.
        port: 0 takes a free one.
        queue: requests that wait or are rated, at most.
        most_images: per request.
        most_bytes: of a request.
        most_pixels: of an image.

    Attributes:
        url: where it listens.
    """

    def __init__(
        self,
        reward: RewardModel,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        queue: int = 128,
        most_images: int = 64,
        most_bytes: int = 64 << 20,
        most_pixels: int = 16 << 20,
    ) -> None:
        self.reward, self.most_images, self.most_bytes, self.most_pixels = reward, most_images, most_bytes, most_pixels
        self.counts: Counter[str] = Counter()
        self._slots, self._turn = threading.BoundedSemaphore(queue), threading.Lock()
        self._counting = threading.Lock()
        service = self

        class Handler(_Handler):
            of = service

        self._server = _Server((host, port), Handler)
        self._server.daemon_threads = True
        shown = f"[{host}]" if ":" in host else host
        self.port: int = self._server.server_address[1]
        self.url = f"http://{shown}:{self.port}"
        self.loopback = _is_loopback(host)

    def serve(self) -> None:
        """Serve until :meth:`close` or an interrupt."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> RewardService:
        """Serve in a thread."""
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.close()

    def count(self, name: str, more: int = 1) -> None:
        """Add to a number of ``/metrics``."""
        with self._counting:
            self.counts[name] += more

    def answer(self, length: int, read: Callable[[int], bytes]) -> dict[str, Any]:
        """Answer a request.

        Raises:
            _RefusedError: with a status and a reason.
        """
        if length > self.most_bytes:
            raise _RefusedError(413, f"the request has {length} bytes, at most {self.most_bytes} are taken")
        if not self._slots.acquire(blocking=False):
            raise _RefusedError(503, "the queue is full: send the request again later")
        try:
            images = self._decoded(read(length))
            with self._turn:
                details = self.reward.rate(images)
        finally:
            self._slots.release()
        return {"rewards": [each["reward"] for each in details], "details": details}

    def _decoded(self, body: bytes) -> list[Image.Image]:
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise _RefusedError(400, "the body is not JSON") from None
        if isinstance(asked, dict) and (unknown := sorted(asked.keys() - {"images", "prompts"})):
            raise _RefusedError(400, f"unknown key {unknown[0]!r}; there are images and prompts")
        images = asked.get("images") if isinstance(asked, dict) else None
        if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
            raise _RefusedError(400, "give images: a list of base64 texts of PNG or JPEG files")
        if len(images) > self.most_images:
            raise _RefusedError(413, f"the request has {len(images)} images, at most {self.most_images} are taken")
        prompts = asked.get("prompts", [""] * len(images))
        if not isinstance(prompts, list) or len(prompts) != len(images) or not all(isinstance(p, str) for p in prompts):
            raise _RefusedError(400, f"{len(images)} images need as many prompts, as texts")
        return [self._image(n, text) for n, text in enumerate(images)]

    def _image(self, number: int, text: str) -> Image.Image:
        """Decode an image as files are read everywhere here, once its size is known."""
        name = f"image {number}"
        try:
            content = base64.b64decode(text, validate=True)
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                pixels = opened.width * opened.height
        except (binascii.Error, ValueError):
            raise _RefusedError(400, f"{name} is not base64") from None
        except UnidentifiedImageError:
            raise _RefusedError(400, f"{name} is not a PNG or JPEG file") from None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise _RefusedError(400, f"{name} is not a PNG or JPEG file: {one_line(error)}") from None
        if pixels > self.most_pixels:
            raise _RefusedError(413, f"{name} has {pixels} pixels, at most {self.most_pixels} are taken")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_bytes(content)
            try:
                return Image.fromarray(read_rgb(file))
            except ImageError as error:
                raise _RefusedError(400, str(error).replace(str(file), name)) from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    of: RewardService
    timeout = SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "lopsided"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in http.server
        del format, args

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request that is known here, as JSON like all errors."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else a request that could not be read gets no head
        self._send(code, {"error": message or explain or self.responses[HTTPStatus(code)][0]})

    def do_GET(self) -> None:
        if not self._is_meant_for_us():
            return
        if self.path == "/health":
            self._send(200, {"status": "ok", "scorer": self.of.reward.scorer.key})
        elif self.path == "/metrics":
            lines = [f"lopsided_reward_{name} {count}" for name, count in sorted(self.of.counts.items())]
            self._write(200, "text/plain; version=0.0.4", "".join(f"{line}\n" for line in lines).encode())
        else:
            self._send(404, {"error": "there are /reward, /health and /metrics"})

    def do_POST(self) -> None:
        if not self._is_meant_for_us():
            return
        try:
            if self.path != "/reward":
                raise _RefusedError(404, "there are /reward, /health and /metrics")
            if self.headers.get_content_type() != "application/json":
                raise _RefusedError(415, "the content type must be application/json")
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal()):
                raise _RefusedError(411, "the request must say its Content-Length")
            if len(length) > MOST_DIGITS:
                raise _RefusedError(413, f"at most {self.of.most_bytes} bytes are taken")
            answer = self.of.answer(int(length), self.rfile.read)
        except _RefusedError as error:
            self.close_connection = True  # the body may not have been read
            self.of.count(f'refused_total{{status="{error.status}"}}')
            self._send(error.status, {"error": str(error)})
        except Exception as error:  # whatever the model raises, the client gets an answer and others are served
            self.of.count('refused_total{status="500"}')
            self._send(500, {"error": str(error) if isinstance(error, LopsidedError) else one_line(error)})
        else:
            self.of.count("requests_total")
            self.of.count("images_total", len(answer["rewards"]))
            self._send(200, answer)

    def _is_meant_for_us(self) -> bool:
        """Refuse a browser that a foreign page has sent to a name which means this machine."""
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if self.of.loopback and not _is_loopback(name):
            self.close_connection = True
            self._send(403, {"error": "this service is for this machine only"})
            return False
        return True

    def _send(self, status: int, value: Any) -> None:
        self._write(status, "application/json", json.dumps(value).encode())

    def _write(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
