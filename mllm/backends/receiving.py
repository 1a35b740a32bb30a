"""What comes in from a server, made harmless in one place before anything else sees it.

- No more than ``MOST_BYTES`` are taken, compressed or not, so that no reply can fill the memory.
- The key is replaced by ``***`` wherever the server repeats it: body, names in JSON, reason of the status, errors of
  the connection. It then is in no file and on no screen.
- Control characters and lone surrogates become ``�``: no terminal obeys them, and every file can hold the text.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, quote_plus

MOST_BYTES = 2 * 2**20  # a chat completion of 2048 tokens has some 10 kB
SHORTEST_KEY = 8  # a shorter one, such as "EMPTY", is a word and no secret

_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class TooLargeError(Exception):
    """A reply of more than ``MOST_BYTES``."""


class EncodingError(Exception):
    """A reply compressed in a way that was not asked for and is not understood, or damaged."""


class Blotter:
    """Cleans what a server says.

    Args:
        key: the key that is sent; empty if none is.

    Examples:
        >>> Blotter("sk-0123456789").clean({"error": "bad key sk-0123456789"})
        {'error': 'bad key ***'}
    """

    def __init__(self, key: str) -> None:
        forms = {key, quote(key, safe=""), quote_plus(key)} if len(key) >= SHORTEST_KEY else set()
        self._key = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None

    def text(self, text: str) -> str:
        """Return a text without the key and without characters that do harm."""
        text = _HARMFUL.sub("�", text)
        return self._key.sub("***", text) if self._key else text

    def clean(self, value: Any) -> Any:
        """Return JSON whose texts, names included, are clean.

        Raises:
            RecursionError: it is nested too deep.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.clean(below) for name, below in value.items()}
        if isinstance(value, list):
            for index, below in enumerate(value):  # in place: a second copy of a large reply costs memory
                value[index] = self.clean(below)
        return value

    def json(self, text: str) -> Any:
        """Return the JSON of a text, clean: a key written with escapes is found too.

        Raises:
            ValueError: it is not JSON.
            RecursionError: it is nested too deep.
        """
        return self.clean(json.loads(text))


async def take_text(parts: AsyncIterator[bytes], encoding: str) -> str:
    """Return a body that arrives in parts, as text; nothing beyond the limit is taken.

    Args:
        parts: as they come, still compressed if they are.
        encoding: the header ``Content-Encoding``.

    Raises:
        TooLargeError: the body is larger than the limit.
        EncodingError: see there.
    """
    body = bytearray()
    expand = _expander(encoding)
    async for part in parts:
        body += expand(part, MOST_BYTES + 1 - len(body))
        if len(body) > MOST_BYTES:
            raise TooLargeError
    return body.decode("utf-8-sig", "replace")


def _expander(encoding: str) -> Any:
    """Return what expands parts of a body to at most a number of bytes each."""
    if encoding.strip().lower() in ("", "identity"):
        return lambda part, _most: part
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise EncodingError
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def expand(part: bytes, most: int) -> bytes:
        try:
            return stream.decompress(part, most)
        except zlib.error:
            raise EncodingError from None

    return expand
