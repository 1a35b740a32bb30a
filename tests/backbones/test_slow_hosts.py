"""Weights that lie in installed packages, hosts that are slow, and what a download shows of its progress."""

import functools
import hashlib
import io
import socket
import sys
import time
from importlib.util import find_spec

import pytest
from support.publisher import forget_weights, publishing

from lopsided.backbones import files
from lopsided.backbones.files import WeightsFile, WeightsUnavailableError
from lopsided.losses.dists import PUBLISHED as ALPHA_BETA
from lopsided.losses.lpips import PUBLISHED as LINEAR

BYTES = bytes(range(256)) * 4096


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    forget_weights(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def publisher():
    with publishing() as server:
        server.files["/mine.pt"] = BYTES
        yield server


def package(folder, name, content, monkeypatch):
    """An installed package that fails if it is imported."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / name / "weights.pt").write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("content", [BYTES, b"another version"])
def test_a_copy_in_a_package_counts_if_it_has_the_right_digest(nothing_here, monkeypatch, content):
    package(nothing_here / "site", "shipping_weights", content, monkeypatch)
    file = WeightsFile(
        "mine.pt", sha256=hashlib.sha256(BYTES).hexdigest(), packages=("absent/x.pt", "shipping_weights/weights.pt")
    )
    if content == BYTES:
        assert file.locate("nothing") == nothing_here / "site" / "shipping_weights" / "weights.pt"
    else:
        with pytest.raises(WeightsUnavailableError, match="no address offers them"):
            file.locate("nothing")


@pytest.mark.parametrize("file", [ALPHA_BETA, *LINEAR.values()], ids=lambda file: file.name)
def test_the_published_weights_of_losses_are_found_in_public_packages(nothing_here, monkeypatch, file):
    for copy in file.packages:
        name = copy.partition("/")[0]
        pytest.importorskip(name)
        with monkeypatch.context() as patch:
            only = functools.partial(lambda name, asked: find_spec(asked) if asked == name else None, name)
            patch.setattr(files, "find_spec", only)
            assert files.sha256_file(file.locate("nothing")) == file.sha256


def connecting_after(seconds, monkeypatch):
    real = socket.create_connection

    def create_connection(*arguments, **options):
        time.sleep(seconds)
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "create_connection", create_connection)


def test_a_host_that_is_slow_is_waited_for_and_a_line_says_so(publisher, nothing_here, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    connecting_after(0.3, monkeypatch)
    file = WeightsFile("mine.pt", f"{publisher.url}/mine.pt", hashlib.sha256(BYTES).hexdigest())
    assert file.locate("nothing").read_bytes() == BYTES
    assert capsys.readouterr().err.splitlines()[0] == "127.0.0.1 is slow to answer; waiting up to 10 s"


def test_a_host_that_never_answers_is_given_up(nothing_here, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    monkeypatch.setattr(files, "SLOW", 0.2)
    connecting_after(5, monkeypatch)
    began = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match=r"127\.0\.0\.1 does not answer within 0\.2 s"):
        WeightsFile("mine.pt", "http://127.0.0.1:9/mine.pt").locate("nothing")
    assert time.monotonic() - began < 4


def test_a_name_that_is_not_found_in_time_is_no_slow_host(nothing_here, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(5))
    with pytest.raises(WeightsUnavailableError, match=r"nowhere\.invalid does not answer within 0\.05 s"):
        WeightsFile("mine.pt", "http://nowhere.invalid/mine.pt").locate("nothing")
    assert capsys.readouterr().err == ""


def test_a_download_shows_its_progress(publisher, nothing_here, monkeypatch):
    file = WeightsFile("mine.pt", f"{publisher.url}/mine.pt", hashlib.sha256(BYTES).hexdigest())
    monkeypatch.setattr(files, "BLOCK", 1 << 16)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    file.locate("nothing")
    lines = log.getvalue().splitlines()
    assert len(lines) == 10
    assert all(line.startswith("mine.pt  ") and "of 1.0 MB" in line for line in lines)
    assert "100%" in lines[-1]
