"""The history of a training: one JSON line per window of steps, appended and flushed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..common.files import write_text
from ..common.identity import canonical_json


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line; :func:`read_history` skips a line that a kill cut off."""
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_history(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a history, such as a training's ``history.jsonl``; none where the file does not exist.

    A last line that a kill cut off is left out.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def cut_back(path: Path, step: int) -> None:
    """Drop what was logged after ``step``: a run that resumes there computes and logs it again."""
    rows = [row for row in read_history(path) if row["step"] <= step]
    write_text(path, "".join(canonical_json(row) + "\n" for row in rows))
