"""Content identities: one canonical JSON text for a value, and the SHA-256 of it.

Two things with the same identity are interchangeable; the analysis joins only rows whose identities agree.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SHORT = 12  # hexadecimal digits shown and used in names: 48 bits, ample for the thousands of cells of a grid


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of ``value``: sorted keys, no spaces, no NaN.

    Raises:
        TypeError: ``value`` holds something that JSON cannot express.
        ValueError: ``value`` holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity(value: Any) -> str:
    """Return the short hexadecimal SHA-256 of ``value``'s canonical JSON.

    Examples:
        >>> identity({"seed": 0, "name": "vgg16"}) == identity({"name": "vgg16", "seed": 0})
        True
        >>> identity({"name": "vgg16", "seed": 1})
        '09c2dfb1555d'
    """
    return sha256_text(canonical_json(value))[:SHORT]


def sha256_text(text: str) -> str:
    """Return the full hexadecimal SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Return the full hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
