"""OpenAI batch files: a rating's questions written as requests, answered elsewhere, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from support.command_line import Shown, invoke
from support.model_servers import ChatServer
from support.rated_images import COUNT, lines, write_benchmark
from transformers import AutoModelForImageTextToText, AutoProcessor

from lopsided.mllm import BatchRequests, MllmError, create_preset, open_benchmark, write_questions
from lopsided.mllm.backends import batch as batch_module

PRESET = ("--preset", "numeric", "--option", "max_tokens=1")


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


@pytest.fixture(scope="module")
def server(tiny_vlm: ModuleType) -> ChatServer:
    folder = tiny_vlm.trained()
    return ChatServer(AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder))


def command(benchmark: Path, *more: object) -> Shown:
    return invoke("rate", "jsonl", benchmark, "--model", "lab/tiny-vlm", *PRESET, *more)


def answer(requests: Path, server: ChatServer) -> list[dict[str, Any]]:
    """Answer requests as a service does, in another order."""
    answered = []
    for request in reversed(lines(requests)):
        assert set(request) == {"custom_id", "method", "url", "body"}
        body = server.complete(request["body"])
        response = {"status_code": 200, "request_id": "r", "body": body}
        answered.append({"id": "b", "custom_id": request["custom_id"], "response": response, "error": None})
    return answered


def write(folder: Path, *answers: dict[str, Any]) -> None:
    (folder / "output.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers), encoding="utf-8")


def test_a_batch_gives_what_a_server_gives_and_every_request_is_accounted_for(
    benchmark: Path, server: ChatServer, tmp_path: Path
) -> None:
    batch, direct, read = (tmp_path / name for name in ("batch", "direct", "read"))
    shown = command(benchmark, "--export-batch", batch, "--to", read)
    assert shown.status == 0, shown.err
    assert f"{COUNT} requests about {COUNT + 1} items in 1 batch file" in " ".join(shown.text.split())
    assert not read.exists()
    assert "holds batch requests already" in command(benchmark, "--export-batch", batch, "--to", read).err
    absent = command(benchmark, "--import-batch", batch, "--to", read).err
    assert f"{COUNT} of {COUNT} requests" in absent
    found = answer(batch / "requests-001.jsonl", server)
    last = {**found[-1], "response": {"status_code": 500, "body": {"error": {"message": "overloaded"}}}}
    for wrong, said in (
        (found[:-1], f"1 of {COUNT} requests"),
        ([*found, found[0]], "a second result of"),
        ([*found, {**found[0], "custom_id": "another"}], "is of no request in"),
        ([{**found[0], "response": {"status_code": 200, "body": {"model": "other"}}}, *found[1:]], "two models"),
    ):
        write(batch, *wrong)
        refused = command(benchmark, "--import-batch", batch, "--to", read)
        assert refused.status == 1
        assert said in " ".join(refused.err.split())
    write(batch, *found[:-1], last)
    shown = command(benchmark, "--import-batch", batch, "--to", read)
    assert shown.status == 1
    assert "status 500): overloaded" in shown.err
    with server:
        assert command(benchmark, "--server", server.url, "--to", direct).status == 0
    one, other = (pd.read_parquet(folder / "mllm_scores.parquet").set_index("item") for folder in (read, direct))
    replied = one["status"] != "failed"  # one token is written: most replies count as cut off
    assert replied.sum() >= COUNT - 1
    for column in ("raw", "status"):
        assert one.loc[replied, column].tolist() == other.loc[replied, column].tolist()
    (batch / "output.jsonl").write_text("{", encoding="utf-8")
    assert "line 1 is no JSON" in command(benchmark, "--import-batch", batch, "--to", tmp_path / "new").err
    other_preset = ("--option", "low=1", "--import-batch", batch, "--to", tmp_path / "new")
    write(batch, *found)
    assert "has no request for the question" in command(benchmark, *other_preset).err


def test_files_are_split_at_the_limits_and_a_request_beyond_them_is_refused(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = open_benchmark("jsonl", benchmark).items
    monkeypatch.setattr(batch_module, "MOST_REQUESTS", 4)
    batch = BatchRequests("m", tmp_path / "four")
    write_questions(batch, create_preset("numeric"), items)
    sizes = [len(lines(path)) for path in sorted((tmp_path / "four").glob("requests-*.jsonl"))]
    assert sizes == [4, 4, COUNT - 8]
    whole = b"".join(path.read_bytes() for path in sorted((tmp_path / "four").glob("requests-*.jsonl")))
    largest = max(map(len, whole.splitlines(keepends=True)))
    monkeypatch.setattr(batch_module, "MOST_BYTES", largest)
    write_questions(BatchRequests("m", tmp_path / "bytes"), create_preset("numeric"), items)
    files = sorted((tmp_path / "bytes").glob("requests-*.jsonl"))
    assert b"".join(path.read_bytes() for path in files) == whole
    assert len(files) > 3
    assert all(path.stat().st_size <= largest for path in files)
    monkeypatch.setattr(batch_module, "MOST_BYTES", largest - 1)
    with pytest.raises(MllmError, match="does not fit into a batch file"):
        write_questions(BatchRequests("m", tmp_path / "small"), create_preset("numeric"), items)
    with pytest.raises(MllmError, match="cannot begin the model's answer"):
        write_questions(BatchRequests("m", tmp_path / "prefix"), create_preset("q-align"), items)


def test_a_broken_image_is_named_and_letters_are_asked_with_probabilities(
    benchmark: Path, server: ChatServer, tmp_path: Path
) -> None:
    item = {"id": "a", "task": "answer", "images": "0.png", "question": "How bright?", "options": ["x", "y"]}
    shown = json.dumps(item)
    (benchmark.parent / "broken.png").write_bytes(b"no picture")
    broken = shown.replace('"a"', '"b"').replace("0.png", "broken.png")
    path = benchmark.with_name("letters.jsonl")
    path.write_text(f"{shown}\n{broken}\n", encoding="utf-8")
    common = ("rate", "jsonl", path, "--model", "lab/tiny-vlm", "--preset", "letters", "--to", tmp_path / "out")
    said = invoke(*common, "--export-batch", tmp_path / "batch")
    assert said.status == 1
    assert "b: " in said.err
    (request,) = lines(tmp_path / "batch" / "requests-001.jsonl")
    assert request["body"]["top_logprobs"] == 20
    write(tmp_path / "batch", *answer(tmp_path / "batch" / "requests-001.jsonl", server))
    invoke(*common, "--import-batch", tmp_path / "batch")
    row = pd.read_parquet(tmp_path / "out" / "mllm_scores.parquet").set_index("item").loc["a"]
    assert (row["status"], row["choice"] in ("A", "B")) == ("ok", True)
