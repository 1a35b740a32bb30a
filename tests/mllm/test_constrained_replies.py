"""Replies kept to a JSON schema: by a model in this process, and by servers that can, cannot, or only pretend to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from support.command_line import invoke
from support.model_servers import _Handler, _Server

from lopsided.mllm import MllmError, Scorer, ServerBackend, TransformersBackend, create_preset
from lopsided.mllm.scoring.compat import constrained_letter, constrained_number

WRITTEN = ("numeric", "unipercept-general", "visualquality-r1", "q-insight", "cogip")


class SchemaServer(_Server):
    """Answers with JSON of the schema it is given, unless it ignores or refuses schemas."""

    def __init__(self, way: str = "keeps") -> None:
        super().__init__(SchemaHandler)
        self.way = way
        self.schemas: list[dict[str, Any]] = []


class SchemaHandler(_Handler):
    server: SchemaServer

    def do_GET(self) -> None:  # noqa: N802
        self.reply(200, b"{}")

    def do_POST(self) -> None:  # noqa: N802
        asked = json.loads(self.body()).get("response_format")
        if asked and self.server.way == "refuses":
            return self.reply(422, b'{"detail": "Unsupported fields: response_format"}')
        content = "I rate this image 50."
        if asked and self.server.way == "keeps":
            schema = asked["json_schema"]["schema"]
            self.server.schemas.append(schema)
            content = json.dumps({name: example(field) for name, field in schema["properties"].items()})
        choice = {"message": {"content": content}, "finish_reason": "stop"}
        return self.reply(200, json.dumps({"model": "m", "choices": [choice]}).encode())


def example(field: dict[str, Any]) -> Any:
    return field["enum"][-1] if "enum" in field else field["maximum"]


@pytest.fixture
def images() -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), (grey, grey, grey)) for grey in range(3)]


@pytest.fixture(scope="module")
def local(tiny_vlm: ModuleType) -> TransformersBackend:
    pytest.importorskip("llguidance", reason="the extra [constrained] is not installed")
    return TransformersBackend(tiny_vlm.trained(), dtype="float32", batch_size=4)


@pytest.mark.parametrize("key", WRITTEN)
def test_every_written_preset_can_be_constrained(key: str) -> None:
    free, kept = create_preset(key), create_preset(key, parser="constrained")
    assert kept.key == f"{key}[parser=constrained]"  # what the tables show as the scorer
    assert kept.constrained
    assert not free.constrained
    assert kept.identity != free.identity
    assert "JSON" in kept.question().text


def test_presets_that_write_nothing_cannot() -> None:
    with pytest.raises(MllmError, match="constrained"):
        create_preset("q-align", parser="constrained")


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_a_model_here_writes_nothing_else(local: TransformersBackend, tiny_vlm: ModuleType, temperature: float) -> None:
    images = tiny_vlm.images(12)
    ratings = Scorer(local, create_preset("q-insight", parser="constrained", temperature=temperature)).rate(images)
    assert [rating.status for rating in ratings] == ["ok"] * 12
    for rating in ratings:
        assert json.loads(rating.raw) == {"rating": rating.value}
        assert rating.value is not None
        assert 1 <= rating.value <= 5
        assert rating.value == round(rating.value, 3)  # else digits could go on for ever


def test_letters_of_questions_with_different_options_share_a_batch(
    local: TransformersBackend, tiny_vlm: ModuleType
) -> None:
    scorer = Scorer(local, create_preset("numeric", parser="constrained", temperature=3.0))
    options = [["yes", "no"], ["a", "b", "c", "d"]] * 6
    choices = scorer.answers(tiny_vlm.images(12), ["Which?"] * 12, options)
    assert all(choice.choice in "ABCD"[: len(of)] for choice, of in zip(choices, options, strict=True) if choice.choice)
    assert [choice.status for choice in choices] == ["ok"] * 12


def test_a_free_prompt_in_the_same_batch_stays_free(local: TransformersBackend, tiny_vlm: ModuleType) -> None:
    from dataclasses import replace

    from lopsided.mllm.backends.backend import Prompt

    (image,) = tiny_vlm.images(1)
    free = Prompt((image,), tiny_vlm.NUMBER.text)
    kept = replace(free, schema={"type": "object", "properties": {"word": {"enum": ["x"]}}, "required": ["word"]})
    alone = local.generate([free], max_tokens=12)[0].text
    assert [reply.text for reply in local.generate([free, kept], max_tokens=12)] == [alone, '{"word": "x"}']


def test_without_the_library_the_way_out_is_said(tiny_vlm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    backend = TransformersBackend(tiny_vlm.trained(), dtype="float32")
    with pytest.raises(MllmError, match=r"lopsided\[constrained\]"):
        Scorer(backend, create_preset("numeric", parser="constrained")).rate(tiny_vlm.images(1))


def test_thinking_that_the_template_opens_is_seen_by_the_parser(
    tiny_vlm: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TransformersBackend(tiny_vlm.trained(), dtype="float32")
    scorer = Scorer(backend, create_preset("numeric"))
    assert scorer.rate(tiny_vlm.images(1))[0].status == "ok"
    monkeypatch.setattr(backend.renderer, "generation_prompt", "<|im_start|>assistant\n<think>\n")
    vars(backend.renderer).pop("opened", None)
    (rating,) = scorer.rate(tiny_vlm.images(1))
    assert (rating.value, rating.status) == (None, "truncated")
    assert rating.raw.startswith("<think>")


def test_a_server_gets_the_schema_of_each_question(images: list[Image.Image]) -> None:
    with SchemaServer() as server:
        scorer = Scorer(ServerBackend(server.url, "m"), create_preset("numeric", parser="constrained", high=10))
        assert [rating.value for rating in scorer.rate(images, questions=["Rate it.", "", ""])] == [10.0] * 3
        assert [choice.choice for choice in scorer.answers(images[:2], ["?", "?"], [["a", "b"], ["a", "b", "c"]])] == [
            "B",
            "C",
        ]
        number = {"type": "number", "minimum": 0.0, "maximum": 10.0}
        assert server.schemas.count(
            {"type": "object", "properties": {"rating": number}, "required": ["rating"], "additionalProperties": False}
        ) == len(images)


@pytest.mark.parametrize(("way", "message"), [("refuses", "422.*response_format"), ("ignores", "ignores the JSON")])
def test_a_server_that_cannot_is_one_error_before_any_image_is_sent(
    way: str, message: str, images: list[Image.Image]
) -> None:
    with SchemaServer(way) as server:
        scorer = Scorer(ServerBackend(server.url, "m"), create_preset("numeric", parser="constrained"))
        with pytest.raises(MllmError, match=rf"{message}.*leave parser=constrained out"):
            scorer.rate(images)


def test_the_command_says_that_replies_were_constrained(tmp_path: Path, images: list[Image.Image]) -> None:
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / "images" / f"{number}.png")
    command = ("rate", "--images", tmp_path / "images", "--model", "m", "--preset", "numeric", "--logprobs", "none")
    with SchemaServer() as server:
        kept = invoke(*command, "--server", server.url, "--to", tmp_path / "a", "--option", "parser=constrained")
        free = invoke(*command, "--server", server.url, "--to", tmp_path / "b")
    assert "replies kept to a JSON schema" in kept.text
    assert "JSON" not in free.text
    assert "m/numeric[parser=constrained]" in (tmp_path / "a" / "mllm_scores.csv").read_text()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"rating": 3}', 3),
        ('<think>2</think>{"rating": 3}', 3),
        ('{"rating": 7}', "out_of_range"),
        ('{"rating": true}', "unparsable"),
        ('{"rating": 3, "b": 2}', "unparsable"),
        ("3", "unparsable"),
        ("", "empty"),
    ],
)
def test_a_constrained_number_is_its_field_and_nothing_else(reply: str, expected: float | str) -> None:
    parsed = constrained_number(reply, 1, 5)
    assert expected in (parsed.value, parsed.status)
    assert constrained_number('{"rating": 3', 1, 5, finished=False).status == "truncated"


def test_a_constrained_letter_is_its_field_and_nothing_else() -> None:
    options = ["a", "b"]
    assert constrained_letter('{"answer": "B"}', options).letter == "B"
    assert constrained_letter('{"answer": "C"}', options).status == "out_of_range"
    assert constrained_letter("B", options).status == "unparsable"
