"""Paths as users write them, and files as they find them."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path


def expanded(path: Path | str) -> Path:
    """Return ``path`` with ``~`` and ``~name`` replaced by home folders; as it is where there is no such user.

    Examples:
        >>> expanded("~nobody-of-this-name/x").as_posix()
        '~nobody-of-this-name/x'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises RuntimeError)


def is_file(path: Path | str) -> bool:
    """Tell whether there is a file; a name that no file can have, such as a very long one, is none."""
    return _holds(path, stat.S_ISREG)


def is_folder(path: Path | str) -> bool:
    """Tell whether there is a folder; a name that no folder can have is none."""
    return _holds(path, stat.S_ISDIR)


def _holds(path: Path | str, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def read_file(path: Path | str, most: int | None = None) -> bytes:
    """Return the bytes of an ordinary file: what has no end, or waits for another program, is never opened.

    Args:
        path: the file.
        most: number of bytes from which on it is refused.

    Raises:
        OSError: the file is missing, not readable, too large, or a folder, pipe or device; ``strerror`` says which.
    """
    path = Path(path)
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or device, not a file", str(path))
    if most is not None and about.st_size > most:
        raise OSError(errno.EFBIG, f"it has {about.st_size:,} bytes, at most {most:,} are read", str(path))
    return path.read_bytes()


def why_missing(path: Path | str) -> str:
    """Return a hint, in brackets, why there is no file of this name; an empty text where nothing is like it."""
    path = Path(path)
    if is_folder(path):
        return " (it is a folder)"
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        if not _holds(found / part, lambda _mode: True):
            alike = [name for name in _names(found) if _folded(name) == _folded(part)]
            if not alike:
                return ""
            if _composed(alike[0]) == _composed(part):
                return f" (there is {alike[0]!r}: names differ only in how Unicode composes their letters, NFC or NFD)"
            return f" (there is {alike[0]!r}: names differ in case)"
        found /= part
    return ""


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def stand_in(head: bytes) -> str | None:
    """Say what a file is that often lies in the place of another one; None for a file of another kind.

    Args:
        head: its first bytes, 64 or more.
    """
    if not head:
        return "the file is empty (0 bytes)"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file that it stands for; run `git lfs pull`"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page (perhaps one that asks to log in); download the file itself"
    return None
