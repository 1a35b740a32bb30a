"""Paths as users write them, and files as they find them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def expanded(path: Path | str) -> Path:
    """Return ``path`` with ``~`` and ``~name`` replaced by home folders; as it is where there is no such user.

    Examples:
        >>> expanded("~nobody-of-this-name/x").as_posix()
        '~nobody-of-this-name/x'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises RuntimeError)


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
