"""Reading what a training logged: a table of numbers and sample replies by step."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...common.lines import unsealed
from ...common.paths import expanded
from ..errors import MllmError

LOG, REPLIES = "log.jsonl", "replies"


def read_log(folder: str | Path) -> pd.DataFrame:
    """Read the log that an alignment left in its folder.

    Args:
        folder: that of the alignment.

    Returns:
        One row per step and term: ``step``, ``term``, ``value`` (NaN if it was not finite) and ``text``. A sample
        reply is the ``text`` of the term ``replies/<set>/<dimension>/<item>``, "" elsewhere.

    Raises:
        MllmError: there is no log, or a line of it is damaged.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.lines import sealed
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "log.jsonl").write_bytes(sealed({"step": 5, "kl": 0.2, "replies": {"held-out/quality/1": "60"}}))
        80
        >>> read_log(folder)
           step                        term  value text
        0     5                          kl    0.2
        1     5  replies/held-out/quality/1    NaN   60
    """
    path = expanded(folder) / LOG
    rows = []
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            known = unsealed(line)
            step, replies = known.pop("step"), known.pop(REPLIES, {})
            rows += [(step, term, value, "") for term, value in known.items()]
            rows += [(step, f"{REPLIES}/{name}", None, text) for name, text in replies.items()]
    except OSError as error:
        raise MllmError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise MllmError(f"{path}: a line is damaged: {error}") from None
    return pd.DataFrame(rows, columns=["step", "term", "value", "text"]).astype({"value": "float64"})
