"""Servers that repeat the key, send control characters, never end or fill the memory: no run ends by one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import invoke
from support.hostile_server import KEY, MODES, HostileServer

from lopsided.mllm import MllmError, ServerBackend
from lopsided.mllm.backends import sending
from lopsided.mllm.backends.backend import Prompt
from lopsided.mllm.backends.receiving import Blotter

READ = ("model name", "text", "surrogate", "parts", "huge number", "bytes that are no text")  # a score of 7
SECRETS = (KEY, KEY.replace("/", "%2F").replace("+", "%2B"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.01)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for grey in range(3):
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(folder / f"{grey}.png")
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_a_hostile_reply_costs_its_item_and_nothing_else(mode: str, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with HostileServer(mode, lambda number: number == 1) as server:
        shown = invoke(
            *("rate", "--images", images, "--server", server.url, "--model", "m", "--preset", "numeric"),
            *("--to", out, "--api-key-env", "LAB_KEY", "--timeout", 0.5, "--concurrency", 1, "--logprobs", "none"),
        )
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["status"] for row in rows].count("ok") == (3 if mode in READ else 2)
    assert {row["value"] for row in rows if row["status"] == "ok"} == {7.0}
    assert (out / "mllm_scores.csv").is_file()  # the run came to its end
    assert shown.status == (1 if any(row["status"] == "failed" for row in rows) else 0)
    said = shown.text + shown.err
    for secret in SECRETS:
        assert secret not in said
        for file in out.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert not any(code in said + "".join(row["raw"] for row in rows) for code in "\x1b\x9b\x07")


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_is_hostile_from_the_start_is_one_error_without_the_key(mode: str) -> None:
    with HostileServer(mode, None) as server:
        backend = ServerBackend(
            server.url, "m", api_key_env="LAB_KEY", timeout=0.5, retries=0, backoff=0.0, logprobs="none"
        )
        said = []
        for ask in (backend.definition, lambda: backend.generate([Prompt((), "?")], max_tokens=3)):
            try:
                said.append(repr(ask()))
            except MllmError as error:
                said.append(str(error))
    assert not any(secret in words for secret in SECRETS for words in said)
    assert not any(code in words for code in "\x1b\x9b\x07" for words in said)


MEASURED = r"""
import re, sys
from pathlib import Path
from lopsided.mllm import ServerBackend
from lopsided.mllm.backends.backend import Prompt
from PIL import Image

def peak():  # ru_maxrss would be that of the parent, if it has more
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

backend = ServerBackend(sys.argv[1], "m", timeout=3, retries=0, logprobs="none", concurrency=1)
prompts = [Prompt((Image.new("RGB", (8, 8)),), str(number)) for number in range(4)]
backend.generate(prompts[:1], max_tokens=3)
before = peak()
replies = backend.generate(prompts[1:], max_tokens=3)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["bomb", "endless body", "10 MB of JSON", "2 MB of JSON", "nested"])
def test_no_reply_fills_the_memory(mode: str) -> None:
    with HostileServer(mode, lambda number: number > 0) as server:
        measured = subprocess.run(
            [sys.executable, "-c", MEASURED, server.url], capture_output=True, text=True, check=True, timeout=100
        )
    assert int(measured.stdout) < 150_000, measured.stdout  # kB


@pytest.mark.parametrize("url", ["http://lab/v1?key=sk-0123456789", "http://lab/v1#sk-0123456789"])
def test_a_key_in_the_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(MllmError, match="environment variable") as error:
        ServerBackend(url, "m")
    assert "sk-" not in str(error.value)


def test_a_path_that_holds_a_secret_is_in_no_error() -> None:
    with pytest.raises(MllmError, match="does not answer") as error:
        ServerBackend(f"http://127.0.0.1:9/{KEY}/v1", "m", retries=0, timeout=1).definition()
    assert KEY not in str(error.value)


def test_a_word_that_is_no_secret_stays() -> None:
    assert Blotter("EMPTY").text("an EMPTY street") == "an EMPTY street"
    assert Blotter("").text("score") == "score"
