"""Sending requests to a server: tried again where that may help, and never the end of more than one item."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from PIL import Image

from ...common.errors import one_line
from .backend import Prompt
from .chat_completions import MalformedReplyError, png_base64
from .receiving import MOST_BYTES, Blotter, EncodingError, TooLargeError, take_text

T = TypeVar("T")

RETRIED = frozenset({429, 500, 502, 503, 504})
SAME_FOR_ALL = frozenset({401, 402, 404})  # wrong key, no credit, no such model: equal for every item
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
CONNECT_TIMEOUT = 10.0  # seconds

_SLOT = uuid.uuid4().hex  # in no prompt
_random = random.SystemRandom()  # full jitter must differ between clients, and leave the seeded generators alone


class FailedError(Exception):
    """A request that got no usable reply in any attempt.

    Attributes:
        status: of the last attempt; None if it got no answer.
        for_all: whether every other request would fail for the same reason.
    """

    def __init__(self, reason: str, status: int | None = None, *, for_all: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.for_all = for_all


def certificates() -> Any:
    """Return the certificates to trust; reading them takes 20 ms."""
    return httpx.create_ssl_context()


@dataclass(frozen=True)
class _Received:
    """A reply: its status, with the reason, and its body as text."""

    status: int
    reason: str
    text: str
    retry_after: str


class Connection:
    """A way to a server for one request at a time; use it in ``async with``.

    Args:
        base_url: up to and including ``/v1``.
        key: sent as a bearer token; empty for none.
        tls: the certificates to trust.
        timeout: seconds that one attempt may take.
        retries: attempts after the first.
        backoff: seconds, doubled with each attempt.
    """

    def __init__(self, base_url: str, key: str, tls: Any, *, timeout: float, retries: int, backoff: float) -> None:
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._blotter = Blotter(key)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            # Compressed replies save nothing here, and can be a thousand times larger than they look.
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            verify=tls,
            timeout=httpx.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout)),
            limits=httpx.Limits(max_connections=1),
        )

    async def __aenter__(self) -> Connection:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._client.__aexit__(*details)

    async def post(
        self, path: str, body: dict[str, Any], read: Callable[[Any], T], images: Sequence[Image.Image] = ()
    ) -> T:
        """Return what ``read`` makes of the reply to a request whose slots hold the images.

        Raises:
            FailedError: no attempt gets a reply that can be read.
        """
        content = json.dumps(body).encode()
        for number, image in enumerate(images):
            try:  # in a thread: deflate releases the interpreter lock
                encoded = await asyncio.to_thread(png_base64, image)
            except OSError as error:  # an exotic mode, or a truncated file
                raise FailedError(f"image {number + 1} cannot be sent as PNG: {one_line(error)}") from None
            content = content.replace(_slot(number).encode(), encoded)  # JSON would look at every character
        headers = {"Content-Type": "application/json"}
        return await self._send(self._client.build_request("POST", path, content=content, headers=headers), read)

    async def get(self, url: str) -> Any:
        """Return the JSON at a URL.

        Raises:
            FailedError: likewise.
        """
        return await self._send(self._client.build_request("GET", url), lambda reply: reply)

    async def _send(self, request: httpx.Request, read: Callable[[Any], T]) -> T:
        for attempt in range(self._retries + 1):
            status, asked_to_wait, gone = None, 0.0, False
            try:
                # httpx's own time-out starts again with every byte: a server that drips bytes would never fail.
                received = await asyncio.wait_for(self._receive(request), self._timeout)
                if received.status == 200:
                    return read(self._blotter.json(received.text))
                status = received.status
                problem = f"{status} {received.reason}: {self._detail(received)}"
                if status not in RETRIED:
                    raise FailedError(problem, status, for_all=status in SAME_FOR_ALL)
                asked_to_wait = _retry_after(received.retry_after)
            except TooLargeError:
                raise FailedError(f"the reply is larger than {MOST_BYTES >> 20} MiB and was not read") from None
            except (httpx.TimeoutException, asyncio.TimeoutError) as error:
                gone = isinstance(error, httpx.ConnectTimeout)
                problem = f"no answer within {CONNECT_TIMEOUT if gone else self._timeout:g} s"
            except httpx.RequestError as error:
                gone = isinstance(error, httpx.ConnectError)
                said = self._blotter.text(one_line(error, most=1000))[:200]
                problem = f"{'no connection' if gone else 'the connection broke'} ({said})"
            except EncodingError:
                problem = "garbage: the reply is compressed in a way that was not asked for"
            except MalformedReplyError as error:
                problem = f"garbage: {error}"
            except (ValueError, RecursionError):
                problem = "garbage: the reply is not JSON"
            if attempt == self._retries:
                raise FailedError(f"{problem} (the last of {attempt + 1} attempts)", status, for_all=gone)
            jitter = _random.uniform(0, min(self._backoff * 2**attempt, LONGEST_WAIT))
            await asyncio.sleep(min(asked_to_wait, LONGEST_WAIT) + jitter)
        raise AssertionError("the last attempt returns or raises")

    async def _receive(self, request: httpx.Request) -> _Received:
        response = await self._client.send(request, stream=True)
        try:
            text = await take_text(response.aiter_raw(2**16), response.headers.get("Content-Encoding", ""))
        finally:
            await response.aclose()
        reason = self._blotter.text(response.reason_phrase)[:100]
        return _Received(response.status_code, reason, text, response.headers.get("Retry-After", ""))

    def _detail(self, received: _Received) -> str:
        """Return what the server says about its refusal, shortened."""
        text = self._blotter.text(received.text)
        try:
            body = self._blotter.json(received.text)
            error = body.get("error", body) if isinstance(body, dict) else body
            detail = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
            text = detail if isinstance(detail, str) else text
        except (ValueError, RecursionError):
            pass
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


def slots(prompt: Prompt) -> list[str]:
    """Return the texts that stand for a prompt's images in a request until the images are inserted."""
    return [_slot(number) for number in range(len(prompt.images))]


def _slot(number: int) -> str:
    return f"{_SLOT}-{number}-"


def _retry_after(value: str) -> float:
    """Return the seconds that a server asks clients to wait, from a number or a date; 0 if it does not ask."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):  # a year of nine digits, or none
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
