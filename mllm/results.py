"""Results as they come: a file of JSON lines that is only appended to, so that a killed run loses no result."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from ..common.lines import sealed, unsealed
from .errors import MllmError

Row = dict[str, Any]
Name = tuple[str, str, str]  # benchmark, dimension, item
COLUMNS = (
    *("key", "scorer", "scorer_id", "benchmark", "dimension", "item", "reference", "target", "higher_is_better"),
    *("value", "choice", "distribution", "mass", "status", "raw", "parsed_by", "judge_reply", "seconds", "attempt"),
)
UNJUDGED = {"parsed_by": "preset", "judge_reply": ""}  # what lines of earlier versions lack


def named(row: Row) -> Name:
    """Return which item a row is about."""
    return row["benchmark"], row["dimension"], row["item"]


class ResultFile:
    """The results of one scorer, one line each; open it in a ``with``, by one process at a time.

    If a run is killed while it writes, the last line has no newline: opening the file removes that line, and its item
    is asked again. Nothing else is ever removed; of two lines about the same thing the later one counts. Each line has
    a checksum, so that none that was damaged or edited is taken for a reply.

    Args:
        path: the file, ``results.jsonl``.
        scorer_id: the only scorer whose results it may hold.

    Attributes:
        replies: the last line of each key, whichever item it is about.
    """

    def __init__(self, path: str | Path, scorer_id: str) -> None:
        self.path = Path(path)
        self.replies: dict[str, Row] = {}
        self._scorer_id = scorer_id
        self._of_items: dict[tuple[str, Name], Row] = {}

    def __enter__(self) -> ResultFile:
        """Lock, repair and read the file.

        Raises:
            MllmError: another process writes to it, a line is damaged, or it holds another scorer's results.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the file, which releases its lock."""
        self._file.close()

    def find(self, key: str, name: Name) -> Row | None:
        """Return the last line of a key about one item."""
        return self._of_items.get((key, name))

    @property
    def last(self) -> dict[Name, Row]:
        """The last line about each item."""
        return {name: row for (_, name), row in self._of_items.items()}

    def keep(self, row: Row) -> None:
        """Append a row, unless it is there already, and pass it to the operating system: a kill cannot lose it then."""
        row = {name: row[name] for name in COLUMNS}
        if self.find(row["key"], named(row)) != row:
            self._file.write(sealed(row))
            self._file.flush()
            self._remember(row)

    def sync(self) -> None:
        """Have the rows written to the disk: a power cut cannot lose them then."""
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MllmError(f"'{self.path}' is being written by another run; wait for it") from None

    def _read(self) -> None:
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + 1 if whole else 0)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = UNJUDGED | unsealed(line + b"\n")
                missing = [name for name in COLUMNS if name not in row]
            except ValueError as error:
                raise MllmError(
                    f"line {number} of '{self.path}' is damaged ({error}); remove it, and run again: its item is then "
                    "asked again"
                ) from None
            if missing:
                raise MllmError(f"line {number} of '{self.path}' lacks {', '.join(missing)}; remove it, and run again")
            if row["scorer_id"] != self._scorer_id:
                raise MllmError(
                    f"'{self.path}' holds results of {row['scorer']} ({row['scorer_id']}), and this scorer is "
                    f"{self._scorer_id}: model, preset or settings differ; give another folder"
                )
            self._remember(row)

    def _remember(self, row: Row) -> None:
        self.replies[row["key"]] = self._of_items[row["key"], named(row)] = row
