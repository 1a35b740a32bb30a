"""A multimodal LLM behind an OpenAI-compatible server: vLLM, SGLang, ``transformers serve`` or a hosted API."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from ...common.errors import one_line
from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .chat_completions import MalformedReplyError, chat_messages, has_logprobs, png_base64, read_levels, read_reply
from .decision_endpoint import MOST_IMAGES, decision_body, decision_probe, read_decision, template_identity

T = TypeVar("T")
Connect = Callable[[], httpx.AsyncClient]

RETRIED = frozenset({429, 500, 502, 503, 504})
SAME_FOR_ALL = frozenset({401, 402, 404})  # wrong key, no credit, no such model: equal for every item
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
CONNECT_TIMEOUT = 10.0  # seconds

_SLOT = uuid.uuid4().hex  # in no prompt
_random = random.SystemRandom()  # full jitter must differ between clients, and leave the seeded generators alone


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
            shown = base_url.rpartition("@")[2]  # without a password
            raise MllmError(f"{shown!r} is not the address of a server; give http(s)://host:port/v1, without a login")
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
        self._tls = httpx.create_ssl_context()  # once, as it takes 20 ms
        self._greeted = self._decision_tried = self._continues = False
        self._answers_as = ""  # what the server calls the model
        self._no_chat_logprobs = ""  # why not; empty if they are there
        self._no_decision = ""  # why the decision endpoint cannot be used; empty if it can
        self._template = ""  # identity of the decision endpoint's; empty where it is not ours
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
            async with connect() as client:
                route, why_not = await self._route(client)
                if route == "none":
                    raise MllmError(why_not)
                if route == "chat":
                    await self._check_prefixes(client, prompts)

            async def levels(client: httpx.AsyncClient, prompt: Prompt) -> LevelLogits:
                if route == "decision":
                    if len(prompt.images) > MOST_IMAGES:
                        return failed(f"the decision endpoint takes {MOST_IMAGES} images, not {len(prompt.images)}")
                    body = decision_body(self.model, prompt, _slots(prompt), candidates)
                    path, read = "/systemone", read_decision
                else:
                    body = self._chat(prompt, max_tokens=1, **self._logprobs_fields)
                    path, read = "/chat/completions", read_levels
                return await self._post(client, path, body, lambda reply: read(reply, candidates), prompt.images)

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
            async with connect() as client:
                await self._greet(client)
                await self._check_prefixes(client, prompts)

            async def reply(client: httpx.AsyncClient, prompt: Prompt) -> Reply:
                body = self._chat(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
                return await self._post(client, "/chat/completions", body, read_reply, prompt.images)

            return await self._each(connect, prompts, reply, failed, on_result)

        return self._run(ask) if prompts else []

    def _run(self, ask: Callable[[Connect], Coroutine[Any, Any, T]]) -> T:
        headers = {}
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env, "")
            if not key or not key.isascii() or not key.isprintable():
                raise MllmError(f"the environment variable {self.api_key_env} holds no key; set it, or name another")
            headers["Authorization"] = f"Bearer {key}"

        def connect() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=self.base_url,
                headers=headers,
                verify=self._tls,
                timeout=httpx.Timeout(self.timeout, connect=min(CONNECT_TIMEOUT, self.timeout)),
                limits=httpx.Limits(max_connections=1),
            )

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
        ask: Callable[[httpx.AsyncClient, Prompt], Awaitable[T]],
        failed: Callable[[str], T],
        on_result: Callable[[int, T], None] | None,
    ) -> list[T]:
        results: dict[int, T] = {}
        remaining = iter(range(len(prompts)))  # shared: only the prompts being asked are encoded and in memory
        gone = ""

        async def work() -> None:
            nonlocal gone
            async with connect() as client:  # one pool for all would search every connection for every request
                for index in remaining:
                    try:
                        results[index] = failed(gone) if gone else await ask(client, prompts[index])
                    except _FailedError as error:
                        results[index] = failed(str(error))
                        if error.for_all:
                            gone = f"not sent, as an earlier request failed: {error}"
                            self._greeted = self._decision_tried = False  # the next call finds out first
                    if on_result is not None:
                        on_result(index, results[index])

        await asyncio.gather(*(work() for _ in range(min(self.concurrency, len(prompts)))))
        return [results[index] for index in range(len(prompts))]

    async def _post(
        self,
        client: httpx.AsyncClient,
        path: str,
        body: dict[str, Any],
        read: Callable[[Any], T],
        images: Sequence[Image.Image] = (),
    ) -> T:
        """Return what ``read`` makes of the reply; raise _FailedError if no attempt gets one."""
        content = json.dumps(body).encode()
        for number, image in enumerate(images):
            try:  # in a thread: deflate releases the interpreter lock
                encoded = await asyncio.to_thread(png_base64, image)
            except OSError as error:  # an exotic mode, or a truncated file
                raise _FailedError(f"image {number + 1} cannot be sent as PNG: {one_line(error)}") from None
            content = content.replace(_slot(number).encode(), encoded)  # JSON would look at every character
        request = client.build_request("POST", path, content=content, headers={"Content-Type": "application/json"})
        return await self._send(client, request, read)

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request, read: Callable[[Any], T]) -> T:
        for attempt in range(self.retries + 1):
            status, asked_to_wait, gone = None, 0.0, False
            try:
                # httpx's own time-out starts again with every byte: a server that drips bytes would never fail.
                response = await asyncio.wait_for(client.send(request), self.timeout)
                if response.status_code == 200:
                    return read(response.json())
                status = response.status_code
                problem = f"{status} {response.reason_phrase}: {_detail(response, client)}"
                if status not in RETRIED:
                    raise _FailedError(problem, status, for_all=status in SAME_FOR_ALL)
                asked_to_wait = _retry_after(response)
            except (httpx.TimeoutException, asyncio.TimeoutError) as error:
                gone = isinstance(error, httpx.ConnectTimeout)
                problem = f"no answer within {CONNECT_TIMEOUT if gone else self.timeout:g} s"
            except httpx.RequestError as error:
                gone = isinstance(error, httpx.ConnectError)
                problem = f"{'no connection' if gone else 'the connection broke'} ({one_line(error)})"
            except MalformedReplyError as error:
                problem = f"garbage: {error}"
            except (ValueError, RecursionError):
                problem = "garbage: the reply is not JSON"
            if attempt == self.retries:
                raise _FailedError(f"{problem} (the last of {attempt + 1} attempts)", status, for_all=gone)
            jitter = _random.uniform(0, min(self.backoff * 2**attempt, LONGEST_WAIT))
            await asyncio.sleep(min(asked_to_wait, LONGEST_WAIT) + jitter)
        raise AssertionError("the last attempt returns or raises")

    def _chat(self, prompt: Prompt, **fields: Any) -> dict[str, Any]:
        body = {"model": self.model, "messages": chat_messages(prompt, _slots(prompt)), **fields}
        if prompt.prefix:
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        return {name: value for name, value in (body | self.fields).items() if value is not None}

    @property
    def _logprobs_fields(self) -> dict[str, Any]:
        # Some servers divide by the temperature first, and 0 would leave one token.
        return {"logprobs": True, "top_logprobs": self.top_logprobs, "temperature": 1.0}

    async def _greet(self, client: httpx.AsyncClient) -> None:
        """Ask the first question, once: which model answers, and with log-probabilities or without."""
        if self._greeted:
            return

        def read(reply: Any) -> tuple[str, bool]:
            read_reply(reply)
            return str(reply.get("model") or self.model), has_logprobs(reply)

        wanted = self._logprobs_fields if self.logprobs in ("auto", "chat") else {}
        refusal = "it ignores logprobs: its reply has none"
        try:
            answers_as, told = await self._post(client, "/chat/completions", self._hello(**wanted), read)
        except _FailedError as error:
            if not wanted or error.status not in (400, 422):
                raise self._unusable(error) from None
            refusal = str(error)  # perhaps only the log-probabilities are refused
            try:
                answers_as, told = await self._post(client, "/chat/completions", self._hello(), read)
            except _FailedError as second:
                raise self._unusable(second) from None
        if self._answers_as not in ("", answers_as):
            raise MllmError(
                f"the server at {self.base_url} answered as {self._answers_as!r} and now as {answers_as!r}: another "
                "model, so start another run for it"
            )
        self._greeted, self._answers_as = True, answers_as
        self._no_chat_logprobs = "" if told else refusal

    def _hello(self, **fields: Any) -> dict[str, Any]:
        return self._chat(Prompt((), "Hello"), max_tokens=1, **fields)

    def _unusable(self, error: _FailedError) -> MllmError:
        return MllmError(
            f"the server at {self.base_url} does not answer for model {self.model!r}: {error}; "
            "check address (it ends in /v1), model name and key, and that the server runs"
        )

    async def _route(self, client: httpx.AsyncClient) -> tuple[Literal["chat", "decision", "none"], str]:
        """Return the route to log-probabilities, or why there is none."""
        reasons = []
        if self.logprobs in ("auto", "chat"):
            await self._greet(client)
            if not self._no_chat_logprobs:
                return "chat", ""
            reasons.append(f"on chat {self._no_chat_logprobs}")
        if self.logprobs in ("auto", "decision"):
            why_not = await self._check_decision(client)
            if not why_not:
                return "decision", ""
            reasons.append(f"its decision endpoint has no template of decision_config ({why_not})")
        reason = "; ".join(reasons) or "logprobs='none' was given"
        return "none", (
            f"the server at {self.base_url} gives no log-probabilities for {self.model!r}: {reason}; take a preset "
            "that needs none, such as numeric, or start `transformers serve` with the configuration that "
            "decision_config makes"
        )

    async def _check_decision(self, client: httpx.AsyncClient) -> str:
        """Return why the decision endpoint cannot be used; empty if it can."""
        if not self._decision_tried:
            refusal = "200 OK"
            try:
                await self._post(client, "/systemone", decision_probe(self.model), lambda reply: reply)
            except _FailedError as error:
                if error.status is None or error.status in RETRIED | {401}:
                    raise self._unusable(error) from None
                refusal = str(error)
            template = template_identity(refusal)
            if self._template not in ("", template):
                raise MllmError(f"the server at {self.base_url} was started with another decision configuration")
            self._decision_tried, self._template, self._no_decision = True, template, "" if template else refusal
        return self._no_decision

    async def _check_prefixes(self, client: httpx.AsyncClient, prompts: Sequence[Prompt]) -> None:
        """Raise MllmError unless the server continues the answers that the prompts begin."""
        begun = next((prompt.prefix for prompt in prompts if prompt.prefix), "")
        if not begun or self._continues:
            return
        way_out = "take a preset without a prefix such as numeric, the decision endpoint, or a server that does"
        if self.prefix == "refuse":
            raise MllmError(
                f"the prompt begins the answer with {begun!r}, and not every server continues such an answer; "
                f"give prefix='continue' for vLLM or SGLang; otherwise {way_out}"
            )
        prompt = Prompt((), "Hello", prefix=begun)
        closed = self._chat(prompt, max_tokens=1) | {"add_generation_prompt": True, "continue_final_message": False}
        try:
            tokens = [
                (await self._post(client, "/chat/completions", body, read_reply)).prompt_tokens
                for body in (self._chat(prompt, max_tokens=1), closed)
            ]
        except _FailedError as error:
            raise MllmError(
                f"the server at {self.base_url} does not continue an answer that begins {begun!r}: {error}; {way_out}"
            ) from None
        # An unfinished answer is shorter than a finished one followed by the beginning of a new one.
        if tokens[0] is None or tokens[1] is None or tokens[0] >= tokens[1]:
            raise MllmError(
                f"the server at {self.base_url} ignores continue_final_message: {tokens[0]} prompt tokens with the "
                f"unfinished answer {begun!r} and {tokens[1]} with the same answer finished; {way_out}"
            )
        self._continues = True

    async def _define(self, connect: Connect) -> dict[str, Any]:
        async with connect() as client:
            await self._greet(client)
            route, _ = await self._route(client)
            entry, version = {}, None
            if route != "decision":  # that server lists the models on its disk, not the one it serves
                models = await self._get(client, f"{self.base_url}/models")
                listed = models.get("data") if isinstance(models, dict) else None
                entry = next((m for m in listed or () if isinstance(m, dict) and m.get("id") == self.model), {})
                version = await self._get(client, str(httpx.URL(self.base_url).join("/version")))
        return {
            "backend": "server",
            "model": _without_folder(self.model),
            "answers_as": _without_folder(self._answers_as),
            "reported": {
                name: _without_folder(entry[name])
                for name in ("root", "parent", "revision", "max_model_len", "owned_by")
                if entry.get(name) is not None
            },
            "version": version.get("version") if isinstance(version, dict) else None,
            "logprobs": route,
            "top_logprobs": self.top_logprobs if route == "chat" else None,
            "decision_template": self._template if route == "decision" else None,
            "fields": self.fields,
        }

    async def _get(self, client: httpx.AsyncClient, url: str) -> Any:
        """Return a server's reply to GET; None if it has none."""
        try:
            return await self._send(client, client.build_request("GET", url), lambda reply: reply)
        except _FailedError as error:
            if error.status is None:
                raise self._unusable(error) from None
            return None


class _FailedError(Exception):
    """A request that got no usable reply in any attempt."""

    def __init__(self, reason: str, status: int | None = None, *, for_all: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.for_all = for_all


def _slots(prompt: Prompt) -> list[str]:
    """Return the texts that stand for a prompt's images in a request until the images are inserted."""
    return [_slot(number) for number in range(len(prompt.images))]


def _slot(number: int) -> str:
    return f"{_SLOT}-{number}-"


def _detail(response: httpx.Response, client: httpx.AsyncClient) -> str:
    """Return what the server says about its refusal, shortened, and without the key if it is quoted."""
    text = response.text
    try:
        body = response.json()
        error = body.get("error", body) if isinstance(body, dict) else body
        detail = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
        text = detail if isinstance(detail, str) else text
    except ValueError:
        pass
    key = client.headers.get("Authorization", "").removeprefix("Bearer ")
    text = " ".join((text.replace(key, "***") if key else text).split())
    return text if len(text) <= 300 else text[:300] + "…"


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that a server asks clients to wait, from a number or a date; 0 if it does not ask."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _without_folder(name: Any) -> Any:
    """Return a model's name; of a path only its last part, because its folder does not matter."""
    return PurePosixPath(name).name if isinstance(name, str) and name.startswith("/") else name
