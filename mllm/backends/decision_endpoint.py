"""The decision endpoint of ``transformers serve``: it reports the probabilities of level tokens, which chat does not.

The endpoint, ``/v1/systemone``, reads the next-token logits of the labels in its decision configuration and returns
their softmax: probabilities over the candidates only. Prompt and labels are set on the server, so it must be started
with the configuration that ``decision_config`` makes: the model's own chat template, filled with the prompt of each
request. The template refuses a request for other levels than its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...common.identity import identity
from .backend import LevelLogits, Prompt
from .chat_completions import MalformedReplyError

MOST_IMAGES = 4  # per request; the endpoint refuses more
QUESTION = "levels"

# `[].index(text)` raises a ValueError that quotes the text, and the endpoint answers 400 with it; the template engine's
# own raise_exception would give a 500 without the reason.
_HEAD = """\
{%- if state.levels != question.labels -%}
{{- [].index('lopsided decision template IDENTITY reads ' ~ question.labels ~ ', asked for ' ~ state.levels) -}}
{%- endif -%}
{%- set turn = namespace(content=[]) -%}
{%- for image in state.images -%}{%- set turn.content = turn.content + image -%}{%- endfor -%}
{%- set turn.content = turn.content + [{'type': 'text', 'text': state.text}] -%}
{%- set messages = [{'role': 'user', 'content': turn.content}] -%}
{%- if state.system -%}
{%- set messages = [{'role': 'system', 'content': [{'type': 'text', 'text': state.system}]}] + messages -%}
{%- endif -%}
"""
_REFUSAL = re.compile(r"lopsided decision template (\w+) reads .*?, asked for \[.*?\]")


def decision_config(chat_template: str, candidates: Sequence[str]) -> dict[str, Any]:
    """Return the decision configuration with which ``transformers serve`` reads candidates after our prompts.

    Args:
        chat_template: the model's own, ``processor.chat_template``.
        candidates: the level tokens in the order of the preset's scale, e.g. ``" excellent"``; each one token.

    Returns:
        What to write, as JSON, to the file given to ``--decision-config``.
    """
    # Jinja drops a newline at the end of a template. With the prefix after it the newline would stay: one token more.
    body = chat_template.removesuffix("\n")
    head = _HEAD.replace("IDENTITY", identity({"chat_template": body, "candidates": list(candidates)}))
    return {
        "labels": {"score": list(candidates)},
        "chat_template": head.removesuffix("\n") + body + "{{ state.prefix }}",
    }


def decision_body(model: str, prompt: Prompt, encoded: Sequence[str], candidates: Sequence[str]) -> dict[str, Any]:
    """Return the request that asks how probable candidates are after a prompt, given its encoded images."""
    names = [f"lopsided:image:{number}" for number in range(1, len(encoded) + 1)]
    return {
        "model": model,
        "state": {
            "levels": list(candidates),
            "system": prompt.system,
            "images": names,
            "text": prompt.text,
            "prefix": prompt.prefix,
        },
        "assets": {
            name: {"type": "image", "format": "png", "data_base64": data}
            for name, data in zip(names, encoded, strict=True)
        },
        "questions": {QUESTION: {"type": "score", "criteria": list(candidates)}},
    }


def decision_probe(model: str) -> dict[str, Any]:
    """Return a request that a server with our template refuses, as it asks for no levels."""
    body = decision_body(model, Prompt((), "Hello"), (), ())
    body["questions"][QUESTION]["criteria"] = ["none"]
    return body


def template_identity(refusal: str) -> str:
    """Return the identity of our template that wrote a refusal; empty if none did."""
    match = _REFUSAL.search(refusal)
    return match[1] if match else ""


def read_decision(reply: Any, candidates: Sequence[str]) -> LevelLogits:
    """Return the log-probabilities in an answer, over the candidates only.

    Raises:
        MalformedReplyError: it is not an answer with one probability per candidate, summing to 1.
    """
    try:
        probabilities = reply["answers"][QUESTION]["probabilities"]
        values = np.array([float(probabilities[str(level)]) for level in range(len(candidates))])
        tokens = reply["usage"]["input_tokens"]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MalformedReplyError(f"not an answer of the decision endpoint: {str(reply)[:200]}") from None
    if len(probabilities) != len(candidates) or not (values >= 0).all() or abs(values.sum() - 1) > 1e-3:
        raise MalformedReplyError(f"not the probabilities of {len(candidates)} levels: {probabilities}")
    with np.errstate(divide="ignore"):
        log_probabilities = np.log(values / values.sum())
    prompt_tokens = tokens if isinstance(tokens, int) else None
    return LevelLogits(log_probabilities, prompt_tokens=prompt_tokens, over_vocabulary=False)
