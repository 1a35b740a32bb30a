"""JSON lines with a checksum each, so that a file that is appended to, and resumed from, is known to be as written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .identity import SHORT, canonical_json

CHECK = "sha256"  # the last key of a line: the beginning of the SHA-256 of all that is before it


def sealed(row: Mapping[str, Any], of: str = "") -> bytes:
    r"""Return a row as a line of JSON with its checksum.

    Args:
        row: JSON values by name; not empty.
        of: what the row belongs to; the line is then no line of anything else.

    Examples:
        >>> line = sealed({"image": "a.png", "score": 0.5})
        >>> line
        b'{"image":"a.png","score":0.5,"sha256":"5dc473e391c3"}\n'
        >>> unsealed(line)
        {'image': 'a.png', 'score': 0.5}
        >>> unsealed(line.replace(b"0.5", b"0.6"))
        Traceback (most recent call last):
        ValueError: its checksum is not that of its content
    """
    body = canonical_json(row).encode("utf-8", "backslashreplace")[:-1]
    return body + _seal(body, of)


def unsealed(line: bytes, of: str = "") -> dict[str, Any]:
    """Return the row of a line that :func:`sealed` gave.

    Raises:
        ValueError: the line was cut off or changed, belongs to something else, or has no checksum.
    """
    if not line.endswith(b"\n"):
        raise ValueError("it was cut off")
    size = len(_seal(b"", of))
    body, seal = line[:-size], line[-size:]
    if f',"{CHECK}":'.encode() not in seal:
        raise ValueError("it has no checksum")
    if seal != _seal(body, of):
        raise ValueError("its checksum is not that of its content")
    return json.loads(body + b"}")


def _seal(body: bytes, of: str) -> bytes:
    digest = hashlib.sha256(of.encode() + b"\n" + body).hexdigest()[:SHORT]
    return f',"{CHECK}":"{digest}"}}\n'.encode()
