"""Scores that survive a kill: an append-only file beside an evaluation, from which it continues."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..common.lines import sealed, unsealed
from ..common.paths import expanded

log = logging.getLogger(__name__)


class PartialScores:
    """Scores of images by one measure as they come, kept in a file of JSON lines.

    The first line states what determines the scores; a file that states anything else is started again. Each line has
    a checksum: from the first one that was cut off or changed on, scores are computed again, and the log says so.

    Args:
        path: the file; None keeps the scores in memory only.
        of: what determines the scores, as JSON.

    Attributes:
        scores: score of each image; NaN where it is not finite.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with PartialScores(f"{folder}/scores.jsonl", {"measure": "ssim"}) as scores:
        ...         scores.add({"a.png": 0.5})
        ...     with PartialScores(f"{folder}/scores.jsonl", {"measure": "ssim"}) as resumed:
        ...         resumed.scores
        {'a.png': 0.5}
    """

    def __init__(self, path: Path | str | None, of: Mapping[str, Any]) -> None:
        self.scores: dict[str, float] = {}
        self._file = None
        if path is None:
            return
        path = expanded(path)
        self._of = json.dumps({"scores_of": of}, sort_keys=True)
        header = self._of.encode() + b"\n"
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        if lines[:1] != [header]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(header)
            lines = [header]
        sound = len(header)
        for number, line in enumerate(lines[1:], start=2):
            try:
                row = unsealed(line, self._of)
            except ValueError as error:
                if line.endswith(b"\n"):  # a line that a kill cut off is nothing to speak of
                    text = "line %d of '%s' is damaged (%s); the scores from there on are computed again"
                    log.warning(text, number, path, error)
                break
            self.scores[row["image"]] = math.nan if row["score"] is None else row["score"]
            sound += len(line)
        self._file = path.open("r+b")
        self._file.truncate(sound)
        self._file.seek(sound)

    def add(self, scores: Mapping[str, float]) -> None:
        """Add the scores of a batch and pass them to the operating system, so that a kill does not lose them."""
        scores = {image: score if math.isfinite(score) else math.nan for image, score in scores.items()}
        self.scores |= scores
        if self._file:
            lines = [{"image": i, "score": None if math.isnan(score) else score} for i, score in scores.items()]
            self._file.writelines(sealed(line, self._of) for line in lines)
            self._file.flush()

    def __enter__(self) -> PartialScores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
