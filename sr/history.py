"""The history of a training: one JSON line a window of steps, appended and flushed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..common.files import write_text
from ..common.identity import canonical_json


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line; a line cut off by a kill is passed over by :func:`read_lines`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole JSON lines of ``path``; the last one may have been cut off by a kill."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def cut_back(path: Path, step: int) -> None:
    """Drop what was logged after ``step``: a run resumed from there computes it, and logs it, again."""
    rows = [row for row in read_lines(path) if row["step"] <= step]
    write_text(path, "".join(canonical_json(row) + "\n" for row in rows))
