"""What a server can do: which model answers, how it gives log-probabilities, whether it continues answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from ..errors import MllmError
from .backend import Prompt
from .chat_completions import chat_messages, has_logprobs, read_reply
from .decision_endpoint import decision_probe, template_identity
from .sending import RETRIED, Connection, FailedError, slots

Route = Literal["chat", "decision", "none"]
# No model writes this by itself.
_PROBE = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["lopsided"]}},
    "required": ["word"],
    "additionalProperties": False,
}
_PROBE_REPLY = re.compile(r'\{\s*"word"\s*:\s*"lopsided"\s*\}\s*$')
_PROBE_TOKENS = 1024  # a model may think first
_REPORTED = ("root", "parent", "revision", "max_model_len", "owned_by")


class ServerAbilities:
    """Finds out by questions what a server can do, each once.

    Args:
        base_url: up to and including ``/v1``.
        model: the name under which the server knows the model.
        logprobs: the routes to try: ``auto``, ``chat``, ``decision`` or ``none``.
        top_logprobs: number of most probable tokens to ask for.
        prefix: ``continue`` or ``refuse``, for answers that a prompt begins.
        fields: further fields of every chat request; None leaves a field out.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        logprobs: str,
        top_logprobs: int,
        prefix: Literal["refuse", "continue"],
        fields: Mapping[str, Any],
    ) -> None:
        self._base_url, self._model, self._fields = base_url, model, fields
        self._logprobs, self._top_logprobs, self._prefix = logprobs, top_logprobs, prefix
        parts = urlsplit(base_url)
        self.place = f"{parts.scheme}://{parts.netloc}"  # a path can hold a secret
        self._greeted = self._decision_tried = self._continues = False
        self._answers_as = ""  # what the server calls the model
        self._no_chat_logprobs = ""  # why not; empty if they are there
        self._no_decision = ""  # why the decision endpoint cannot be used; empty if it can
        self._template = ""  # identity of the decision endpoint's; empty where it is not ours
        self._constrains = False

    def chat(self, prompt: Prompt, **fields: Any) -> dict[str, Any]:
        """Return the chat request of a prompt."""
        body = {"model": self._model, "messages": chat_messages(prompt, slots(prompt)), **fields}
        if prompt.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": dict(prompt.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if prompt.prefix:
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        return {name: value for name, value in (body | dict(self._fields)).items() if value is not None}

    @property
    def logprobs_fields(self) -> dict[str, Any]:
        """The fields that ask for log-probabilities."""
        # Some servers divide by the temperature first, and 0 would leave one token.
        return {"logprobs": True, "top_logprobs": self._top_logprobs, "temperature": 1.0}

    def forget(self) -> None:
        """Ask again before the next call, after the server was gone."""
        self._greeted = self._decision_tried = False

    async def greet(self, connection: Connection) -> None:
        """Ask the first question, once: which model answers, and with log-probabilities or without.

        Raises:
            MllmError: it does not answer, or as another model than before.
        """
        if self._greeted:
            return

        def read(reply: Any) -> tuple[str, bool]:
            read_reply(reply)
            return str(reply.get("model") or self._model)[:200], has_logprobs(reply)

        wanted = self.logprobs_fields if self._logprobs in ("auto", "chat") else {}
        refusal = "it ignores logprobs: its reply has none"
        try:
            answers_as, told = await connection.post("/chat/completions", self._hello(**wanted), read)
        except FailedError as error:
            if not wanted or error.status not in (400, 422):
                raise self._unusable(error) from None
            refusal = str(error)  # perhaps only the log-probabilities are refused
            try:
                answers_as, told = await connection.post("/chat/completions", self._hello(), read)
            except FailedError as second:
                raise self._unusable(second) from None
        if self._answers_as not in ("", answers_as):
            raise MllmError(
                f"the server at {self.place} answered as {self._answers_as!r} and now as {answers_as!r}: another "
                "model, so start another run for it"
            )
        self._greeted, self._answers_as = True, answers_as
        self._no_chat_logprobs = "" if told else refusal

    async def route(self, connection: Connection) -> tuple[Route, str]:
        """Return the route to log-probabilities, or why there is none."""
        reasons = []
        if self._logprobs in ("auto", "chat"):
            await self.greet(connection)
            if not self._no_chat_logprobs:
                return "chat", ""
            reasons.append(f"on chat {self._no_chat_logprobs}")
        if self._logprobs in ("auto", "decision"):
            why_not = await self._check_decision(connection)
            if not why_not:
                return "decision", ""
            reasons.append(f"its decision endpoint has no template of decision_config ({why_not})")
        reason = "; ".join(reasons) or "logprobs='none' was given"
        return "none", (
            f"the server at {self.place} gives no log-probabilities for {self._model!r}: {reason}; take a preset "
            "that needs none, such as numeric, or start `transformers serve` with the configuration that "
            "decision_config makes"
        )

    async def check_prefixes(self, connection: Connection, prompts: Sequence[Prompt]) -> None:
        """Raise MllmError unless the server continues the answers that the prompts begin."""
        begun = next((prompt.prefix for prompt in prompts if prompt.prefix), "")
        if not begun or self._continues:
            return
        way_out = "take a preset without a prefix such as numeric, the decision endpoint, or a server that does"
        if self._prefix == "refuse":
            raise MllmError(
                f"the prompt begins the answer with {begun!r}, and not every server continues such an answer; "
                f"give prefix='continue' for vLLM or SGLang; otherwise {way_out}"
            )
        prompt = Prompt((), "Hello", prefix=begun)
        closed = self.chat(prompt, max_tokens=1) | {"add_generation_prompt": True, "continue_final_message": False}
        try:
            tokens = [
                (await connection.post("/chat/completions", body, read_reply)).prompt_tokens
                for body in (self.chat(prompt, max_tokens=1), closed)
            ]
        except FailedError as error:
            raise MllmError(
                f"the server at {self.place} does not continue an answer that begins {begun!r}: {error}; {way_out}"
            ) from None
        # An unfinished answer is shorter than a finished one followed by the beginning of a new one.
        if tokens[0] is None or tokens[1] is None or tokens[0] >= tokens[1]:
            raise MllmError(
                f"the server at {self.place} ignores continue_final_message: {tokens[0]} prompt tokens with the "
                f"unfinished answer {begun!r} and {tokens[1]} with the same answer finished; {way_out}"
            )
        self._continues = True

    async def check_schemas(self, connection: Connection, prompts: Sequence[Prompt]) -> None:
        """Raise MllmError unless the server keeps replies to a schema, if prompts have one: not every server does."""
        if self._constrains or all(prompt.schema is None for prompt in prompts):
            return
        way_out = "leave parser=constrained out, or take a server that does (vLLM, SGLang, llama.cpp, hosted ones)"
        body = self.chat(Prompt((), "Say hello.", schema=_PROBE), max_tokens=_PROBE_TOKENS, temperature=0.0)
        try:
            reply = await connection.post("/chat/completions", body, read_reply)
        except FailedError as error:
            raise MllmError(
                f"the server at {self.place} takes no JSON schema (response_format): {error}; {way_out}"
            ) from None
        if not _PROBE_REPLY.search(reply.text):
            raise MllmError(
                f"the server at {self.place} ignores the JSON schema of response_format: it wrote {reply.text[:60]!r}; "
                f"{way_out}"
            )
        self._constrains = True

    async def define(self, connection: Connection) -> dict[str, Any]:
        """Return the model, what the server reports about it and how it is asked.

        Raises:
            MllmError: the server does not answer, or refuses.
        """
        await self.greet(connection)
        route, _ = await self.route(connection)
        entry, version = {}, None
        if route != "decision":  # that server lists the models on its disk, not the one it serves
            models = await self._get(connection, f"{self._base_url}/models")
            listed = models.get("data") if isinstance(models, dict) else None
            listed = listed if isinstance(listed, list) else []
            entry = next((m for m in listed if isinstance(m, dict) and m.get("id") == self._model), {})
            version = await self._get(connection, urljoin(self._base_url, "/version"))
        told = version.get("version") if isinstance(version, dict) else None
        return {
            "backend": "server",
            "model": _without_folder(self._model),
            "answers_as": _without_folder(self._answers_as),
            "reported": {name: _without_folder(entry[name]) for name in _REPORTED if _is_fact(entry.get(name))},
            "version": told if _is_fact(told) else None,
            "logprobs": route,
            "top_logprobs": self._top_logprobs if route == "chat" else None,
            "decision_template": self._template if route == "decision" else None,
            "fields": dict(self._fields),
        }

    def _hello(self, **fields: Any) -> dict[str, Any]:
        return self.chat(Prompt((), "Hello"), max_tokens=1, **fields)

    def _unusable(self, error: FailedError) -> MllmError:
        return MllmError(
            f"the server at {self.place} does not answer for model {self._model!r}: {error}; "
            "check address (it ends in /v1), model name and key, and that the server runs"
        )

    async def _check_decision(self, connection: Connection) -> str:
        """Return why the decision endpoint cannot be used; empty if it can."""
        if not self._decision_tried:
            refusal = "200 OK"
            keep: Callable[[Any], Any] = lambda reply: reply  # noqa: E731
            try:
                await connection.post("/systemone", decision_probe(self._model), keep)
            except FailedError as error:
                if error.status is None or error.status in RETRIED | {401}:
                    raise self._unusable(error) from None
                refusal = str(error)
            template = template_identity(refusal)
            if self._template not in ("", template):
                raise MllmError(f"the server at {self.place} was started with another decision configuration")
            self._decision_tried, self._template, self._no_decision = True, template, "" if template else refusal
        return self._no_decision

    async def _get(self, connection: Connection, url: str) -> Any:
        """Return a server's reply to GET; None if it has none."""
        try:
            return await connection.get(url)
        except FailedError as error:
            if error.status is None:
                raise self._unusable(error) from None
            return None


def _is_fact(value: Any) -> bool:
    """Return whether a server's word about a model is one: a short text or a number."""
    return (isinstance(value, str) and len(value) <= 200) or (isinstance(value, int) and abs(value) < 2**53)


def _without_folder(name: Any) -> Any:
    """Return a model's name; of a path only its last part, because its folder does not matter."""
    return PurePosixPath(name).name if isinstance(name, str) and name.startswith("/") else name
