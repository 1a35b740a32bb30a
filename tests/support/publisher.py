"""A publisher of weights on this machine, with good files and every fault of a bad one."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import ClassVar

import huggingface_hub
import pytest

from lopsided.backbones import files as weights_files


class Publisher(http.server.BaseHTTPRequestHandler):
    """A web server; files whose names hold ``cut`` are cut off."""

    url: ClassVar[str]
    files: ClassVar[dict[str, bytes]]
    asked: ClassVar[list[str]]

    def do_GET(self):
        self.asked.append(self.path)
        body = self.files.get(self.path)
        if body is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) * 2 if "cut" in self.path else len(body)))
        self.end_headers()
        return self.wfile.write(body)

    def log_message(self, format, *_):  # noqa: A002
        pass


@contextlib.contextmanager
def publishing() -> Iterator[type[Publisher]]:
    """Run the server: its address, what it offers, and what it was asked for."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    Publisher.url, Publisher.files, Publisher.asked = f"http://127.0.0.1:{server.server_address[1]}", {}, []
    try:
        yield Publisher
    finally:
        server.shutdown()
        server.server_close()


def forget_weights(monkeypatch: pytest.MonkeyPatch, folder: object) -> None:
    """Have no weights: an empty torch cache, an empty hub cache, no offline folder, no mirror, no proxy."""
    for name in ("LOPSIDED_WEIGHTS", "LOPSIDED_MIRROR", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", f"{folder}/torch")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(weights_files.FILES, "_entries", dict(weights_files.FILES))  # what a test adds is forgotten
