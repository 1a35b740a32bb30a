"""Files of pretrained weights: found on disk, or downloaded whole, and checked by their digest either way.

A file is looked for in the folder named by ``LOPSIDED_WEIGHTS``, then in torch's cache, then in installed packages that
ship it, then, if a hub repository holds it, in the hub's cache. If it is nowhere, it is downloaded into torch's cache,
from its publisher or, where ``LOPSIDED_MIRROR`` names a base URL, from ``<mirror>/<name>``; any web server that offers
an offline folder will do. ``HF_ENDPOINT`` replaces the hub's host as it does in huggingface_hub. ``HF_HUB_OFFLINE``
keeps :meth:`WeightsFile.locate` from asking the hub; it affects neither a mirror nor ``lopsided weights fetch``, which
asks for the network explicitly.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, getproxies, proxy_bypass, urlopen

import safetensors
import torch

from ..common.errors import one_line
from ..common.files import atomic_path
from ..common.identity import sha256_file
from ..common.paths import expanded
from ..common.registry import Registry
from .registry import BackboneError

WEIGHTS_FOLDER = "LOPSIDED_WEIGHTS"  # environment variable: a folder of weights files, searched first
MIRROR = "LOPSIDED_MIRROR"  # environment variable: base URL that offers every file under its name

PATIENCE = 0.8  # seconds in which the name of a host must be found, and from which on its user is told of waiting
SLOW = 10.0  # seconds in which a host must accept a connection that the user did not ask for
STALL = 30.0  # seconds without a byte after which a download has failed
BLOCK = 1 << 18  # bytes read at a time


class WeightsUnavailableError(BackboneError):
    """Weights that are neither on disk nor available from their publisher."""


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights and what is known about it.

    Attributes:
        name: path relative to the offline folder, the cache and the mirror; mostly a bare file name.
        url: where its publisher offers it; empty if no address offers exactly this file.
        sha256: its SHA-256 in hexadecimal, or the leading digits of it; empty where none is known.
        licence: what it may be used for.
        purpose: what it is for, in a few words.
        hub_id: Hugging Face repository whose ``model.safetensors`` it is, in place of ``url``.
        packages: where installed packages can have a copy, such as ``lpips/weights/v0.1/vgg.pth``; none is imported.
    """

    name: str
    url: str = ""
    sha256: str = ""
    licence: str = ""
    purpose: str = ""
    hub_id: str = ""
    packages: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The URL to download from, of the mirror if one is set; empty where there is none."""
        mirror = os.environ.get(MIRROR)
        return f"{mirror.rstrip('/')}/{quote(self.name)}" if mirror else self.official

    @property
    def official(self) -> str:
        """The publisher's URL; empty where there is none."""
        if self.hub_id:
            from huggingface_hub import hf_hub_url  # comes with timm

            return hf_hub_url(self.hub_id, "model.safetensors")
        return self.url

    def on_disk(self) -> Path | None:
        """Return the path of the file, unchecked, or None if it is not on this machine."""
        return self._own() or next(self._copies(), None) or self._in_hub_cache()

    def _own(self) -> Path | None:
        offline = os.environ.get(WEIGHTS_FOLDER)
        paths = (folder / self.name for folder in [*([expanded(offline)] if offline else []), _cache()])
        return next((path for path in paths if path.is_file()), None)

    def _copies(self) -> Iterator[Path]:
        """Yield the copies in installed packages, none of which is imported; they can be of another version."""
        for copy in self.packages:
            package, _, name = copy.partition("/")
            found = find_spec(package)
            paths = (Path(folder, name) for folder in (found.submodule_search_locations if found else None) or ())
            yield from (path for path in paths if path.is_file())

    def _in_hub_cache(self) -> Path | None:
        if not self.hub_id:
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.hub_id, "model.safetensors")
        return Path(cached) if isinstance(cached, str) else None

    def check(self, path: Path | str) -> Path:
        """Return ``path`` if its bytes have the expected digest, or none is known.

        Raises:
            BackboneError: the file is damaged or a different one.
        """
        if self.sha256 and not (seen := sha256_file(path)).startswith(self.sha256):
            raise BackboneError(
                f"'{path}' is damaged or not the official file: its SHA-256 starts with {seen[:8]}, "
                f"expected {self.sha256[:8]}; delete it and fetch it again"
            )
        return Path(path)

    def locate(self, instead: str) -> Path:
        """Return the checked file; download it into torch's cache if it is not on disk.

        Args:
            instead: what to use if the file cannot be obtained, for the message.

        Raises:
            WeightsUnavailableError: neither on disk nor reachable; raised within a second if there is no network, and
                within about ten if the host has an address but does not answer.
            BackboneError: the file on disk is damaged or a different one.
        """
        copies = (copy for copy in self._copies() if sha256_file(copy) == self.sha256)
        if found := self._own() or next(copies, None) or self._in_hub_cache():
            return self.check(found)
        if self.hub_id and not os.environ.get(MIRROR):
            from huggingface_hub import constants

            if constants.HF_HUB_OFFLINE:
                why = "HF_HUB_OFFLINE forbids fetching them (HF_HUB_OFFLINE=0 allows it)"
                raise self._unavailable(f"are not on this machine, and {why}", instead)
        try:
            _reach(self._checked_address(instead))
        except OSError as error:
            why = f"are not on this machine and cannot be downloaded from {self.address} ({_reason(error)})"
            raise self._unavailable(why, instead) from None
        return self.fetch(instead=instead)

    def fetch(self, folder: Path | str | None = None, *, instead: str = "") -> Path:
        """Download the file into ``folder`` (torch's cache by default), even if it is on disk already, and check it.

        Nothing appears under the file's name unless length and digest are right.

        Raises:
            WeightsUnavailableError: no address, no answer, a refusal, too few bytes, or other bytes.
        """
        path = Path(folder or _cache()) / self.name
        try:
            _download(self._checked_address(instead), path, self.sha256)
        except (OSError, HTTPException) as error:
            why = f"cannot be downloaded from {self.address} ({_reason(error)})"
            raise self._unavailable(why, instead) from None
        return path

    def _checked_address(self, instead: str) -> str:
        address = self.address
        if not address:
            raise self._unavailable("are not on this machine, and no address offers them", instead)
        if urlsplit(address).scheme not in ("http", "https"):
            raise BackboneError(f"{MIRROR}: '{address}' is not an http(s) address; for a folder use {WEIGHTS_FOLDER}")
        return address

    def _unavailable(self, why: str, instead: str) -> WeightsUnavailableError:
        offline = os.environ.get(WEIGHTS_FOLDER)
        folder = f"{WEIGHTS_FOLDER}, '{offline}'," if offline else f"a folder named by {WEIGHTS_FOLDER}"
        address = f", {self.official}" if self.official not in why else ""
        digest = f"SHA-256 {self.sha256}{'…' if len(self.sha256) < 64 else ''}" if self.sha256 else "digest unknown"
        return WeightsUnavailableError(
            f"weights {self.name} {why}. Put the file ({digest}{address}) under that name "
            f"into {folder} or '{_cache()}', {'' if instead else 'or '}name a mirror by {MIRROR}"
            + (f", or use {instead}" if instead else "")
        )


FILES = Registry[WeightsFile]("file of weights")


def register_file(file: WeightsFile) -> WeightsFile:
    """Make a file known to ``lopsided weights``, and return it; for files that belong to no backbone.

    Raises:
        LopsidedError: there is a file of that name.
    """
    return FILES.register(file.name, file)


def registered_files() -> list[WeightsFile]:
    """Return the files that :func:`register_file` knows so far, by name."""
    return [FILES[name] for name in sorted(FILES)]


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, URLError) else error
    return one_line(cause if isinstance(cause, Exception) else error)


def _reach(url: str) -> None:
    """Raise OSError unless the URL's host, or the proxy in front of it, takes a connection.

    Its name must be found within ``PATIENCE``. A host that has an address can be slow: after ``PATIENCE`` a line says
    so, and after ``SLOW`` it has failed. In a thread, because finding a name has no time limit: it takes half a minute
    where packets are dropped.
    """
    target = urlsplit(url)
    proxy = None if proxy_bypass(target.hostname or "") else getproxies().get(target.scheme)
    if proxy:
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    place = (target.hostname or "", target.port or (443 if target.scheme == "https" else 80))
    refusals: list[OSError] = []
    found = threading.Event()

    def connect() -> None:
        try:
            socket.getaddrinfo(*place)
            found.set()
            socket.create_connection(place, SLOW).close()
        except OSError as error:
            refusals.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive() and found.is_set():
        sys.stderr.write(f"{place[0]} is slow to answer; waiting up to {SLOW:g} s\n")
        thread.join(SLOW)
    if thread.is_alive():
        limit = SLOW if found.is_set() else PATIENCE
        raise TimeoutError(f"{place[0]} does not answer within {limit:g} s; 'lopsided weights fetch' waits longer")
    if refusals:
        raise refusals[0]


def _download(url: str, path: Path, sha256: str) -> None:
    """Write what ``url`` sends to ``path``, once its length and digest are right.

    Raises:
        OSError, HTTPException: no answer, a refusal, too few bytes, other bytes, or no room for them.
    """
    request = Request(url, headers={"User-Agent": "lopsided"})  # noqa: S310  (http or https, see _checked_address)
    digest = hashlib.sha256()
    with urlopen(request, timeout=STALL) as answer, atomic_path(path) as temporary:  # noqa: S310
        length = answer.length
        with temporary.open("wb") as file, _Progress(path.name, length) as progress:
            while block := answer.read(BLOCK):
                file.write(block)
                digest.update(block)
                progress.advance(len(block))
        if not progress.done or (length is not None and progress.done != length):
            raise OSError(f"the connection ended after {progress.done} of {length} bytes")
        if not (seen := digest.hexdigest()).startswith(sha256):
            raise OSError(f"what arrived is another file: its SHA-256 starts with {seen[:8]}, not {sha256[:8]}")
        if path.suffix == ".safetensors":  # a page that asks to log in is not a weights file
            try:
                safetensors.safe_open(temporary, "pt")
            except safetensors.SafetensorError as error:
                raise OSError(f"what arrived is not a safetensors file: {one_line(error)}") from None


class _Progress:
    """The progress of a download on standard error: a bar on a terminal, one line per tenth in a log."""

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total, self.done = name, total, 0
        self._began, self._shown = time.monotonic(), 0.0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")

    def advance(self, count: int) -> None:
        """Count ``count`` more bytes."""
        before, self.done = self.done, self.done + count
        now = time.monotonic()
        if self._live and now - self._shown >= 0.1:
            self._shown = now
            sys.stderr.write(f"\r{self._text(now)}\x1b[K")
        elif not self._live and self.total and self.done * 10 // self.total > before * 10 // self.total:
            sys.stderr.write(f"{self._text(now)}\n")

    def _text(self, now: float) -> str:
        rate = self.done / max(now - self._began, 1e-6)
        if not self.total:
            return f"{self.name}  {self.done / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s"
        share, left = self.done / self.total, round((self.total - self.done) / max(rate, 1e-6))
        bar = f"{'━' * round(20 * share):20} " if self._live else ""
        size = f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
        return f"{self.name}  {bar}{share:4.0%}  {size}  {rate / 1e6:.1f} MB/s  {left // 60}:{left % 60:02} left"
