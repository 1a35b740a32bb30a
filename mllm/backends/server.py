"""A multimodal LLM behind an OpenAI-compatible server: vLLM, SGLang, ``transformers serve`` or a hosted API."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import numpy as np

from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .chat_completions import read_levels, read_reply
from .decision_endpoint import MOST_IMAGES, decision_body, read_decision
from .sending import Connection, FailedError, certificates, slots
from .server_abilities import ServerAbilities

T = TypeVar("T")
Connect = Callable[[], Connection]


class ServerBackend(Backend):
    """A model behind a server that speaks OpenAI's chat completions.

    Requests run side by side, up to ``concurrency``. Rate limits (429), faults of the server (500, 502, 503, 504),
    time-outs, dropped connections and garbage are tried again, ``retries`` times, after a random time between 0 and
    ``backoff`` · 2^k seconds (at most 60) on top of what the server's ``Retry-After`` asks for (at most 60). If all
    attempts fail, the item's ``failure`` has the reason; any other refusal (400, 403, 413, 422, …) fails at once. No
    failure of one item affects another. Once the server is gone (no connection in all attempts of an item) or refuses
    for a reason that all items share (401, 402, 404), the items not yet sent fail at once with that reason.

    A one-word question is sent before anything else, so that a wrong address, key or model is an ``MllmError`` at once.

    Log-probabilities come by one of two routes, and ``logprobs="auto"`` takes the first that works:

    - ``chat``: the ``top_logprobs`` of the first token (vLLM, SGLang, some hosted APIs). A candidate that is not
      among them has NaN.
    - ``decision``: the decision endpoint of ``transformers serve``, started with ``decision_config``; the
      probabilities are over the candidates only (``LevelLogits.over_vocabulary`` is False).

    A server that supports neither is detected by the first question and named in an error.

    The identity holds the model's name (of a folder its last part), what the server reports about the model, its
    version if reported, the route and the fields sent. The address is left out, so that a run can continue on another
    server with the same model. The identity cannot hold what a server does not report (dtype, attention,
    quantisation): give ``fields`` or another model name to tell such servers apart.

    Args:
        base_url: up to and including ``/v1``, e.g. ``http://127.0.0.1:8000/v1``.
        model: the name under which the server knows the model.
        api_key_env: name of the environment variable that holds the key; None if no key is needed. The key is read when
            requests are made; it is never stored.
        concurrency: maximum number of requests, and connections, at the same time.
        timeout: seconds that one attempt may take.
        retries: attempts after the first.
        backoff: seconds, see above.
        logprobs: the route, see above; ``none`` if only generation is needed.
        top_logprobs: number of most probable tokens to ask for; OpenAI and, by default, vLLM give at most 20.
        prefix: ``continue`` if the server continues an answer that the prompt begins, by ``continue_final_message``
            (vLLM, SGLang); this is checked once by counting tokens. ``refuse`` raises if a prompt has a prefix.
        fields: further fields of every chat request, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``;
            None leaves a field out.

    Raises:
        MllmError: an invalid address or setting.

    Examples:
        >>> backend = ServerBackend("http://127.0.0.1:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct", concurrency=8)
        >>> backend.name  # nothing is sent before something is asked
        'Qwen2.5-VL-7B-Instruct'
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        concurrency: int = 32,
        timeout: float = 120.0,
        retries: int = 5,
        backoff: float = 0.5,
        logprobs: Literal["auto", "chat", "decision", "none"] = "auto",
        top_logprobs: int = 20,
        prefix: Literal["refuse", "continue"] = "refuse",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            shown = base_url.rpartition("@")[2].partition("?")[0]  # without a password
            raise MllmError(f"{shown!r} is not the address of a server; give http(s)://host:port/v1, without a login")
        if parts.query or parts.fragment:  # it would be in the errors and logs of others
            raise MllmError(
                f"the address of the server at {parts.netloc} has something after '?' or '#'; leave it out, and name "
                "the environment variable of a key (api_key_env)"
            )
        if not model:
            raise MllmError("give the name of a model; GET /v1/models lists the server's")
        if logprobs not in ("auto", "chat", "decision", "none"):
            raise MllmError(f"logprobs={logprobs!r}; give auto, chat, decision or none")
        if prefix not in ("refuse", "continue"):
            raise MllmError(f"prefix={prefix!r}; give refuse or continue")
        if concurrency < 1 or retries < 0 or top_logprobs < 1 or not 0 < timeout < math.inf or backoff < 0:
            raise MllmError(
                "concurrency and top_logprobs must be at least 1, retries and backoff at least 0, timeout above 0; got "
                f"{concurrency}, {top_logprobs}, {retries}, {backoff}, {timeout}"
            )
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.logprobs = logprobs
        self.top_logprobs = top_logprobs
        self.prefix = prefix
        self.fields = dict(fields or {})
        self._tls = certificates()
        self._abilities = ServerAbilities(
            self.base_url, model, logprobs=logprobs, top_logprobs=top_logprobs, prefix=prefix, fields=self.fields
        )
        self._definition: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Name of the model; of a folder its last part."""
        return PurePosixPath(self.model).name

    def definition(self) -> dict[str, Any]:
        """Return the model, what the server reports about it and how it is asked; see the class.

        Raises:
            MllmError: the server does not answer, or refuses.
        """
        if self._definition is None:
            self._definition = self._run(self._define)
        return dict(self._definition)

    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Raise MllmError if a candidate is empty or occurs twice; only a reply shows whether each is one token.

        By chat, a candidate is found among the reply's own tokens by its exact text: one that is not a token of the
        model is never found, and a reply in which none is found is a failure. The decision endpoint checks by itself
        that each is one token, and refuses otherwise.
        """
        if not candidates or "" in candidates or len(set(candidates)) != len(candidates):
            raise MllmError(f"candidates must be distinct tokens, got {list(candidates)}")

    def level_logits(
        self,
        prompts: Sequence[Prompt],
        candidates: Sequence[str],
        *,
        on_result: Callable[[int, LevelLogits], None] | None = None,
    ) -> list[LevelLogits]:
        """Return, for each prompt, how probable each candidate is as the next token.

        Args:
            prompts: what is asked.
            candidates: see ``check_candidates``.
            on_result: called with the index of a prompt and its result as soon as it arrives, in any order, so that a
                runner can save it; an exception it raises ends the call.

        Raises:
            MllmError: no route to log-probabilities, a prefix that the server does not continue, a server that
                refuses or does not answer the first question.
        """
        self.check_candidates(candidates)

        def failed(reason: str) -> LevelLogits:
            return LevelLogits(np.full(len(candidates), math.nan), failure=reason)

        async def ask(connect: Connect) -> list[LevelLogits]:
            async with connect() as connection:
                route, why_not = await self._abilities.route(connection)
                if route == "none":
                    raise MllmError(why_not)
                if route == "chat":
                    await self._abilities.check_prefixes(connection, prompts)

            async def levels(connection: Connection, prompt: Prompt) -> LevelLogits:
                if route == "decision":
                    if len(prompt.images) > MOST_IMAGES:
                        return failed(f"the decision endpoint takes {MOST_IMAGES} images, not {len(prompt.images)}")
                    body = decision_body(self.model, prompt, slots(prompt), candidates)
                    path, read = "/systemone", read_decision
                else:
                    body = self._abilities.chat(prompt, max_tokens=1, **self._abilities.logprobs_fields)
                    path, read = "/chat/completions", read_levels
                return await connection.post(path, body, lambda reply: read(reply, candidates), prompt.images)

            return await self._each(connect, prompts, levels, failed, on_result)

        return self._run(ask) if prompts else []

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        on_result: Callable[[int, Reply], None] | None = None,
    ) -> list[Reply]:
        """Return what the model writes.

        Temperature and seed are sent, and the server decides what to do with them: with a temperature above 0
        most do not promise repeatable replies, and ``transformers serve`` samples only if the model's own configuration
        says so.

        Args:
            prompts: what is asked.
            max_tokens: maximum number of tokens of a reply.
            temperature: 0 for the most probable token at each step.
            seed: of the sampling.
            on_result: see ``level_logits``.

        Raises:
            MllmError: a prefix that the server does not continue, a server that refuses or does not answer the first
                question.
        """

        def failed(reason: str) -> Reply:
            return Reply("", finished=False, failure=reason)

        async def ask(connect: Connect) -> list[Reply]:
            async with connect() as connection:
                await self._abilities.greet(connection)
                await self._abilities.check_prefixes(connection, prompts)
                await self._abilities.check_schemas(connection, prompts)

            async def reply(connection: Connection, prompt: Prompt) -> Reply:
                body = self._abilities.chat(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
                return await connection.post("/chat/completions", body, read_reply, prompt.images)

            return await self._each(connect, prompts, reply, failed, on_result)

        return self._run(ask) if prompts else []

    async def _define(self, connect: Connect) -> dict[str, Any]:
        async with connect() as connection:
            return await self._abilities.define(connection)

    def _run(self, ask: Callable[[Connect], Coroutine[Any, Any, T]]) -> T:
        key = ""
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env, "")
            if not key or not key.isascii() or not key.isprintable():
                raise MllmError(f"the environment variable {self.api_key_env} holds no key; set it, or name another")

        def connect() -> Connection:
            limits = {"timeout": self.timeout, "retries": self.retries, "backoff": self.backoff}
            return Connection(self.base_url, key, self._tls, **limits)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(ask(connect))
        with ThreadPoolExecutor(1) as thread:  # a notebook already runs a loop, which cannot run a second one
            return thread.submit(asyncio.run, ask(connect)).result()

    async def _each(
        self,
        connect: Connect,
        prompts: Sequence[Prompt],
        ask: Callable[[Connection, Prompt], Awaitable[T]],
        failed: Callable[[str], T],
        on_result: Callable[[int, T], None] | None,
    ) -> list[T]:
        results: dict[int, T] = {}
        remaining = iter(range(len(prompts)))  # shared: only the prompts being asked are encoded and in memory
        gone = ""

        async def work() -> None:
            nonlocal gone
            async with connect() as connection:  # one pool for all would search every one for every request
                for index in remaining:
                    try:
                        results[index] = failed(gone) if gone else await ask(connection, prompts[index])
                    except FailedError as error:
                        results[index] = failed(str(error))
                        if error.for_all:
                            gone = f"not sent, as an earlier request failed: {error}"
                            self._abilities.forget()  # the next call finds out first
                    if on_result is not None:
                        on_result(index, results[index])

        await asyncio.gather(*(work() for _ in range(min(self.concurrency, len(prompts)))))
        return [results[index] for index in range(len(prompts))]
