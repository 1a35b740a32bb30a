"""OpenAI's batch files: questions written as requests, for a service to answer later, and its results read.

A request's ``custom_id`` is a hash of everything that is asked, images included: a rating that asks the same finds its
reply by it, in whatever order the results come.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from typing_extensions import override

from ...common.files import write_json
from ...common.identity import canonical_json, sha256_text
from ..errors import MllmError
from .backend import Backend, LevelLogits, Prompt, Reply
from .chat_completions import MalformedReplyError, chat_messages, png_base64, read_levels, read_reply

INDEX, REQUESTS = "requests.json", "requests-"
URL = "/v1/chat/completions"
MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # in one file, as OpenAI allows
WRITTEN = "written to a batch file"  # the failure of a question that waits for its reply


class BatchModel(Backend):
    """What writing and reading have in common: how a question becomes a request.

    Args:
        model: the service's name for the model.
        folder: of the requests and results.
        top_logprobs: how many of the most probable tokens to ask for, where levels are read.
        fields: further fields of every request; None leaves one out, such as ``{"temperature": None}``.
    """

    def __init__(
        self, model: str, folder: str | Path, *, top_logprobs: int = 20, fields: dict[str, Any] | None = None
    ) -> None:
        self.model, self.folder = model, Path(folder)
        self.top_logprobs, self.fields = top_logprobs, fields or {}

    @property
    @override
    def name(self) -> str:
        return self.model.rpartition("/")[2]

    @override
    def check_candidates(self, candidates: Sequence[str]) -> None:
        """Only the replies show whether each candidate is one token."""
        if not candidates or "" in candidates or len(set(candidates)) != len(candidates):
            raise MllmError(f"candidates must be distinct tokens, got {list(candidates)}")

    @override
    def level_logits(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[LevelLogits]:
        # As in ``ServerBackend``: some services divide by the temperature first.
        asked = {"max_tokens": 1, "logprobs": True, "top_logprobs": self.top_logprobs, "temperature": 1.0}
        found = [self._ask(prompt, self._fields(prompt, asked)) for prompt in prompts]
        none = np.full(len(candidates), np.nan)
        return [LevelLogits(none, one) if isinstance(one, str) else _levels(one, candidates) for one in found]

    @override
    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        asked = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        found = [self._ask(prompt, self._fields(prompt, asked)) for prompt in prompts]
        return [Reply("", False, one) if isinstance(one, str) else _reply(one) for one in found]

    @abstractmethod
    def _ask(self, prompt: Prompt, fields: dict[str, Any]) -> dict[str, Any] | str:
        """Return the chat completion of a prompt, or why there is none."""

    def _fields(self, prompt: Prompt, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what a request holds besides its messages."""
        if prompt.prefix:
            raise MllmError("batch files cannot begin the model's answer, as this preset does; numeric needs no prefix")
        if prompt.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": dict(prompt.schema)}
            asked |= {"response_format": {"type": "json_schema", "json_schema": schema}}
        all_fields = {"model": self.model, **asked, **self.fields}
        return {name: value for name, value in all_fields.items() if value is not None}


class BatchRequests(BatchModel):
    """Writes every new question to ``requests-001.jsonl`` and so on; use it in a ``with``, and ``done`` at the end.

    Raises:
        MllmError: a folder that holds requests already, or a single request that is larger than a file may be.
    """

    def __init__(self, model: str, folder: str | Path, **options: Any) -> None:
        super().__init__(model, folder, **options)
        if any(self.folder.glob(f"{REQUESTS}*")):
            raise MllmError(f"'{folder}' holds batch requests already; give another folder")
        self.ids: dict[str, str] = {}  # of each request, and the file it is in
        self._file: IO[bytes] | None = None
        self._left = (0, 0)  # requests and bytes that fit into the file

    @override
    def definition(self) -> dict[str, Any]:
        return {"kind": "openai-batch", "model": self.model, "fields": self.fields}

    def __enter__(self) -> BatchRequests:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def done(self) -> None:
        """Write the index, by which results are checked; without it the requests cannot be read back."""
        write_json(self.folder / INDEX, {"model": self.model, "requests": self.ids})

    @override
    def _ask(self, prompt: Prompt, fields: dict[str, Any]) -> str:
        name = _custom_id(prompt, fields)
        if name not in self.ids:
            encoded = [png_base64(image).decode() for image in prompt.images]
            body = {**fields, "messages": chat_messages(prompt, encoded)}
            line = json.dumps({"custom_id": name, "method": "POST", "url": URL, "body": body}).encode() + b"\n"
            if len(line) > MOST_BYTES:
                raise MllmError(f"a request of {len(line):,} bytes does not fit into a batch file of {MOST_BYTES:,}")
            self.ids[name] = self._write(line)
        return WRITTEN

    def _write(self, line: bytes) -> str:
        if self._file is None or not self._left[0] or len(line) > self._left[1]:
            self.__exit__()
            number = len(set(self.ids.values())) + 1
            self._file, self._left = (
                (self.folder / f"{REQUESTS}{number:03d}.jsonl").open("xb"),
                (MOST_REQUESTS, MOST_BYTES),
            )
        self._file.write(line)
        self._left = (self._left[0] - 1, self._left[1] - len(line))
        return Path(self._file.name).name


class BatchResults(BatchModel):
    """Answers from the results that a service gave to the requests of a folder.

    The results are all other ``*.jsonl`` files of the folder: what the service calls output file and error file.

    Raises:
        MllmError: a request without result or error, a result of no request or two of one, a file that is damaged,
            requests to another model, or replies by two models.
    """

    def __init__(self, model: str, folder: str | Path, **options: Any) -> None:
        super().__init__(model, folder, **options)
        index = self._index()
        self._found: dict[str, dict[str, Any] | str] = {}
        for where, line in self._lines():
            name = line.get("custom_id")
            if name not in index:
                raise MllmError(f"{where}: custom_id {name!r} is of no request in '{self.folder}'")
            if name in self._found:
                raise MllmError(f"{where}: a second result of {name}; remove one")
            self._found[name] = _outcome(line)
        if absent := [name for name in index if name not in self._found]:
            raise MllmError(
                f"{len(absent)} of {len(index)} requests in '{self.folder}' have neither a result nor an error, first "
                f"{absent[0]} in {index[absent[0]]}; put the service's output and error files there, as *.jsonl"
            )
        answered = {str(one.get("model", "")) for one in self._found.values() if not isinstance(one, str)}
        if len(answered) > 1:
            raise MllmError(f"two models answered: {', '.join(sorted(answered))}; their replies are not one scorer's")
        self._answered = next(iter(answered), "")

    @override
    def definition(self) -> dict[str, Any]:
        return {"kind": "openai-batch", "model": self.model, "answered": self._answered, "fields": self.fields}

    @override
    def _ask(self, prompt: Prompt, fields: dict[str, Any]) -> dict[str, Any] | str:
        name = _custom_id(prompt, fields)
        if name not in self._found:
            raise MllmError(
                f"'{self.folder}' has no request for the question {prompt.text[:60]!r} and its images: they were "
                "written for another preset, benchmark or limit; give the same options"
            )
        return self._found[name]

    def _index(self) -> dict[str, str]:
        try:
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            model, requests = index["model"], dict(index["requests"])
        except (OSError, ValueError, KeyError, TypeError):
            raise MllmError(
                f"'{self.folder}' has no {INDEX} that can be read: write the requests there first"
            ) from None
        if model != self.model:
            raise MllmError(f"the requests in '{self.folder}' are to {model}, not to {self.model}")
        return requests

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        files = [path for path in sorted(self.folder.glob("*.jsonl")) if not path.name.startswith(REQUESTS)]
        for path in files:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    where = f"'{path}', line {number}"
                    try:
                        found = json.loads(line)
                    except ValueError:
                        raise MllmError(f"{where} is no JSON: the file is damaged; fetch it again") from None
                    if not isinstance(found, dict):
                        raise MllmError(f"{where} is no result of a batch; give its output and error files only")
                    yield where, found


def _custom_id(prompt: Prompt, fields: dict[str, Any]) -> str:
    """Return the name of a request, which follows from all that is asked."""
    images = [[*image.size, hashlib.sha256(image.tobytes()).hexdigest()] for image in prompt.images]
    shown = {"images": images, "text": prompt.text, "system": prompt.system}
    return f"lopsided-{sha256_text(canonical_json({'fields': fields, **shown}))[:32]}"  # OpenAI takes 64 characters


def _outcome(line: dict[str, Any]) -> dict[str, Any] | str:
    """Return the chat completion of a line of results, or why there is none."""
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status == 200 and isinstance(body, dict):
        return body
    error = line.get("error") or (body.get("error") if isinstance(body, dict) else None)
    said = error.get("message") if isinstance(error, dict) else None
    return f"the batch has no reply (status {status}): {str(said or 'no reason given')[:200]}"


def _reply(completion: dict[str, Any]) -> Reply:
    try:
        return read_reply(completion)
    except MalformedReplyError as error:
        return Reply("", finished=False, failure=str(error))


def _levels(completion: dict[str, Any], candidates: Sequence[str]) -> LevelLogits:
    try:
        return read_levels(completion, candidates)
    except MalformedReplyError as error:
        return LevelLogits(np.full(len(candidates), np.nan), str(error))
