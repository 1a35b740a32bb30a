"""The history of a training: one JSON line per window of steps, appended and flushed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ..common.files import atomic_path
from ..common.identity import canonical_json


class Written(NamedTuple):
    """The beginning of a history.

    Attributes:
        size: in bytes.
        sha256: of those bytes.
    """

    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()


NOTHING = Written()


class HistoryFile:
    """A history that one run appends to.

    Args:
        path: the file.
        size: bytes of it that stay; what follows is computed, and written, again. They are copied to a new file, so
            that a run that lost its place to this one, and does not know it yet, goes on writing to the old one.
    """

    def __init__(self, path: Path, size: int) -> None:
        before = path.read_bytes()[:size] if path.exists() else b""
        with atomic_path(path) as temporary:
            temporary.write_bytes(before)
        self._file = path.open("ab")
        self._size, self._digest = len(before), hashlib.sha256(before)

    @property
    def written(self) -> Written:
        """What this run's history holds; the file of that name can be another run's by now."""
        return Written(self._size, self._digest.hexdigest())

    def append(self, row: dict[str, Any]) -> None:
        """Append one JSON line; a line cut off by a kill is passed over by :func:`read_history`."""
        line = canonical_json(row).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._size += len(line)
        self._digest.update(line)

    def __enter__(self) -> HistoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def written(path: Path, size: int | None = None) -> Written:
    """Return what a history holds, or its first ``size`` bytes."""
    content = path.read_bytes()[:size] if path.exists() else b""
    return Written(len(content), hashlib.sha256(content).hexdigest())


def read_history(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a history, such as a training's ``history.jsonl``; none where the file does not exist.

    A last line that a kill cut off is left out.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
