"""The format of OpenAI's chat completions: writing prompts as requests, and reading replies."""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import MllmError
from .backend import LevelLogits, Prompt, Reply


class MalformedReplyError(MllmError):
    """A reply that does not follow the format; asking again may help."""


def png_base64(image: Image.Image) -> bytes:
    """Return an image as a PNG file in base64: lossless, so that the server sees exactly these pixels.

    For photographs this takes 64 ms per megapixel. Deflate's level 1 takes 92 ms; level 6 takes 316 ms and saves 3 %.
    """
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return base64.b64encode(file.getvalue())


def chat_messages(prompt: Prompt, encoded: Sequence[str]) -> list[dict[str, Any]]:
    """Return the messages of a prompt, given its encoded images; a prefix becomes a last, unfinished message."""
    images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in encoded]
    messages = [{"role": "user", "content": [*images, {"type": "text", "text": prompt.text}]}]
    if prompt.system:
        messages.insert(0, {"role": "system", "content": prompt.system})
    if prompt.prefix:
        messages.append({"role": "assistant", "content": prompt.prefix})
    return messages


def read_reply(reply: Any) -> Reply:
    """Return the text of a reply.

    A reply that the server's content filter withheld is a failure; the text in the field ``refusal`` is a reply.

    Raises:
        MalformedReplyError: it is not a chat completion.
    """
    choice = _choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedReplyError(f"a choice without a message: {_excerpt(reply)}")
    text = message.get("content") or message.get("refusal") or ""
    if isinstance(text, list):  # of parts, as some servers send; thinking has a type of its own
        said = [
            part for part in text if isinstance(part, dict) and part.get("type") in ("text", "output_text", "refusal")
        ]
        parts = [part.get("text") or part.get("refusal") or "" for part in said]
        text = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(text, str):
        raise MalformedReplyError(f"a message whose content is not text: {_excerpt(reply)}")
    reason = choice.get("finish_reason")
    return Reply(
        text=text,
        finished=reason not in ("length", "content_filter"),
        failure="the server's content filter withheld the reply" if reason == "content_filter" else "",
        prompt_tokens=_count(reply, "prompt_tokens"),
        new_tokens=_count(reply, "completion_tokens"),
    )


def has_logprobs(reply: Any) -> bool:
    """Return whether a reply lists the most probable first tokens."""
    return bool(_top_logprobs(reply))


def read_levels(reply: Any, candidates: Sequence[str]) -> LevelLogits:
    """Return the log-probabilities of the candidates among the most probable first tokens of a reply.

    A candidate is found by its exact text, leading space included. One that is not among them is NaN: it is known only
    to be no more probable than the last of them. The sampled token counts only if it is among them, so that the result
    does not depend on the sampling.

    Raises:
        MalformedReplyError: it is not a chat completion with log-probabilities.
    """
    top = _top_logprobs(reply)
    if not top:
        raise MalformedReplyError(f"no log-probabilities: {_excerpt(reply)}")
    known: dict[str, float] = {}
    twice = set()
    for entry in top:
        try:
            token, value = entry["token"], float(entry["logprob"])
        except (KeyError, TypeError, ValueError, OverflowError):
            token, value = None, math.nan
        if not isinstance(token, str) or not value <= 1e-3:  # rounding leaves some servers a little above 0
            raise MalformedReplyError(f"not the log-probability of a token: {_excerpt(entry)}")
        twice |= {token} & known.keys()
        known[token] = value
    found = np.array([known.get(candidate, math.nan) for candidate in candidates])
    if ambiguous := [candidate for candidate in candidates if candidate in twice]:
        # Some tokenizers drop the leading space when they decode one token: which of the two is meant is unknown.
        failure = f"the server names two tokens {ambiguous[0]!r}"
    elif not np.isfinite(found).any():
        seen = ", ".join(repr(token) for token in list(known)[:5])
        failure = f"none of the {len(candidates)} candidates is among the {len(top)} most probable tokens: {seen}, …"
    else:
        failure = ""
    return LevelLogits(np.full(len(found), math.nan) if failure else found, failure, _count(reply, "prompt_tokens"))


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedReplyError(f"not a chat completion: {_excerpt(reply)}")
    return choices[0]


def _top_logprobs(reply: Any) -> list[Any]:
    """Return the most probable first tokens of a reply; empty if it lists none."""
    try:
        top = _choice(reply)["logprobs"]["content"][0]["top_logprobs"]
    except (KeyError, TypeError, IndexError):
        return []
    return top if isinstance(top, list) else []


def _count(reply: dict[str, Any], name: str) -> int | None:
    usage = reply.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _excerpt(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"
