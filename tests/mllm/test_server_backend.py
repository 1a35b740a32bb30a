"""A real model behind real servers on the loopback, with every fault on the way that networks and servers have."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from support import model_servers as servers

from lopsided.analysis.statistics import srcc
from lopsided.mllm import MllmError
from lopsided.mllm.backends import sending
from lopsided.mllm.backends.backend import LevelLogits, Prompt, Reply
from lopsided.mllm.backends.chat_completions import (
    MalformedReplyError,
    has_logprobs,
    png_base64,
    read_levels,
    read_reply,
)
from lopsided.mllm.backends.decision_endpoint import decision_config, read_decision
from lopsided.mllm.backends.server import ServerBackend
from lopsided.mllm.item import Item
from lopsided.mllm.rating import rate
from lopsided.mllm.scoring.presets import create_preset
from lopsided.mllm.scoring.scorer import Scorer

pytest.importorskip("fastapi", reason="transformers serve needs transformers[serving]")

RETRIES = 4
KINDS = ("429 0", "500", "502", "503", "504", "hang", "drip", "drop", "reset", "half", "garbage", "nested", "wrong")
KINDS += ("gzip", "truncated")


class Local:
    """The tiny model in this process: what servers are compared with."""

    def __init__(self, tiny_vlm: ModuleType) -> None:
        from lopsided.mllm.backends.transformers import TransformersBackend

        self.folder: Path = tiny_vlm.trained()
        self.backend = TransformersBackend(self.folder, dtype="float32", batch_size=1)
        self.levels: tuple[str, ...] = tiny_vlm.LEVELS
        question = tiny_vlm.QUALITY
        self.images: list[Image.Image] = tiny_vlm.images(24)
        self.brightness = np.array([tiny_vlm.brightness(image) for image in self.images])
        self.prompts = [Prompt((image,), question.text, question.prefix) for image in self.images]
        self.written = [Prompt((image,), tiny_vlm.NUMBER.text) for image in self.images]

    def chat_server(self, **options: Any) -> Any:
        return servers.ChatServer(self.backend.model, self.backend.processor, **options)


@pytest.fixture(scope="module")
def local(tiny_vlm: ModuleType) -> Local:
    return Local(tiny_vlm)


@pytest.fixture(scope="module")
def served(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("served")
    config = folder / "decision.json"
    config.write_text(json.dumps(decision_config(local.backend.processor.chat_template, local.levels)))
    server = servers.TransformersServe(local.folder, config, folder / "log.txt")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def expected(served: Any, local: Local) -> np.ndarray:
    """What the server answers when nothing goes wrong."""
    return levels(ServerBackend(served.url, str(local.folder)).level_logits(local.prompts, local.levels))


@pytest.fixture
def chat(local: Local) -> Iterator[Any]:
    with local.chat_server() as server:
        yield server


def backend(url: str, local: Local, **options: Any) -> ServerBackend:
    options = {"timeout": 5.0, "retries": RETRIES, "backoff": 0.01, "logprobs": "decision"} | options
    return ServerBackend(url, str(local.folder), **options)


def levels(results: Sequence[LevelLogits]) -> np.ndarray:
    assert [result.failure for result in results] == [""] * len(results)
    return np.array([result.log_probabilities for result in results])


def normalised(log_probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.exp(log_probabilities)
    return probabilities / probabilities.sum(-1, keepdims=True)


@pytest.mark.slow
def test_the_decision_endpoint_gives_the_probabilities_of_the_local_model(
    served: Any, local: Local, expected: np.ndarray
) -> None:
    results = ServerBackend(served.url, str(local.folder)).level_logits(local.prompts, local.levels)
    here = local.backend.level_logits(local.prompts, local.levels)
    np.testing.assert_allclose(np.exp(levels(results)), normalised(levels(here)), atol=1e-5)
    assert not any(result.over_vocabulary for result in results)
    # Same tokens: a template's lost newline shifts probabilities and leaves ranks alone.
    assert [result.prompt_tokens for result in results] == [result.prompt_tokens for result in here]
    assert srcc(np.exp(expected) @ np.arange(5, 0, -1), local.brightness) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"system": "You are strict."}, {"prefix": ""}, {"text": "Is {{ state }} in [image 1]?\n"}], ids=str
)
def test_prompts_of_every_form_are_put_as_the_local_model_has_them(
    served: Any, local: Local, change: dict[str, str]
) -> None:
    first, second = local.images[:2]
    form: dict[str, Any] = {"text": local.prompts[0].text, "prefix": local.prompts[0].prefix} | change
    prompts = [Prompt((first,), **form), Prompt((first, second), **form), Prompt((), **form)]
    results = backend(served.url, local).level_logits(prompts, local.levels)
    here = local.backend.level_logits(prompts, local.levels)
    np.testing.assert_allclose(np.exp(levels(results)), normalised(levels(here)), atol=1e-5)
    assert [result.prompt_tokens for result in results] == [result.prompt_tokens for result in here]


def test_the_decision_template_renders_what_the_models_own_does(local: Local) -> None:
    own = local.backend.processor.chat_template
    assert own.endswith("{% endif %}\n")
    # As many models on the hub have it: the newline that ends the template is lost when it is rendered.
    plain = own.replace("{{ '<|im_start|>assistant\\n' }}{% endif %}\n", "<|im_start|>assistant{% endif %}\n\n")
    render = local.backend.processor.apply_chat_template
    for template in (own, plain):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How good?"}]}]
        state = {
            "levels": [" a"],
            "system": "",
            "images": [[{"type": "image"}]],
            "text": "How good?",
            "prefix": "It is",
        }
        ours = render(
            [{"role": "user", "content": ""}],
            chat_template=decision_config(template, [" a"])["chat_template"],
            add_generation_prompt=True,
            state=state,
            question={"labels": [" a"]},
        )
        assert ours == render(messages, chat_template=template, add_generation_prompt=True) + "It is"


@pytest.mark.slow
def test_other_levels_than_the_server_reads_are_refused(served: Any, local: Local) -> None:
    for candidates in (local.levels[::-1], (*local.levels[:3], " no"), (" yes", " no")):
        (result,) = backend(served.url, local).level_logits(local.prompts[:1], candidates)
        assert "asked for" in result.failure
        assert result.log_probabilities.shape == (len(candidates),)
    (fewer,) = backend(served.url, local).level_logits(local.prompts[:1], local.levels[:3])
    assert np.exp(fewer.log_probabilities).sum() == pytest.approx(1)


@pytest.mark.slow
def test_more_images_than_the_endpoint_takes_fail_by_themselves(served: Any, local: Local) -> None:
    many = Prompt(tuple(local.images[:5]), "Which?")
    results = backend(served.url, local).level_logits([many, local.prompts[0]], local.levels)
    assert "4 images, not 5" in results[0].failure
    assert not results[1].failure


@pytest.mark.slow
def test_generation_equals_the_local_one_and_says_when_it_was_cut_off(served: Any, local: Local) -> None:
    there = backend(served.url, local)
    replies = there.generate(local.written[:6], max_tokens=8)
    here = local.backend.generate(local.written[:6], max_tokens=8)
    assert [(reply.text, reply.finished, reply.prompt_tokens) for reply in replies] == [
        (reply.text, True, reply.prompt_tokens) for reply in here
    ]
    assert all(reply.new_tokens for reply in replies)
    (cut,) = there.generate(local.written[:1], max_tokens=1)
    assert not cut.finished


@pytest.mark.slow
def test_a_server_that_ignores_logprobs_is_found_out_at_the_first_question(served: Any, local: Local) -> None:
    with servers.FaultProxy(served.url) as proxy:
        there = backend(proxy.url, local, logprobs="chat")
        with pytest.raises(MllmError, match=r"gives no log-probabilities .*ignores logprobs.* numeric"):
            there.level_logits(local.prompts, local.levels)
        assert not proxy.seen


@pytest.mark.slow
@pytest.mark.parametrize(("prefix", "message"), [("refuse", "prefix='continue'"), ("continue", "422 .*numeric")])
def test_a_begun_answer_is_refused_if_the_server_does_not_continue_it(
    served: Any, local: Local, prefix: str, message: str
) -> None:
    with pytest.raises(MllmError, match=f"The quality of the image is.*{message}"):
        backend(served.url, local, prefix=prefix).generate(local.prompts, max_tokens=3)


@pytest.mark.slow
def test_a_server_that_ignores_schemas_is_found_out_at_the_first_question(served: Any, local: Local) -> None:
    scorer = Scorer(backend(served.url, local), create_preset("numeric", parser="constrained"))
    with pytest.raises(MllmError, match=r"ignores the JSON schema of response_format.*leave parser=constrained out"):
        scorer.rate(local.images[:1])


@pytest.mark.slow
def test_requests_run_side_by_side_and_never_more_than_allowed(served: Any, local: Local, expected: np.ndarray) -> None:
    with servers.FaultProxy(served.url) as proxy:
        proxy.delay = 0.05
        results = backend(proxy.url, local, concurrency=6).level_logits(local.prompts, local.levels)
        assert proxy.most_in_flight == 6
        np.testing.assert_allclose(levels(results), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_faults_that_end_change_nothing(served: Any, local: Local, expected: np.ndarray, seed: int) -> None:
    def script(key: str, attempt: int) -> str:
        rng = random.Random(f"{seed} {key}")
        faults = rng.choices(KINDS, k=rng.randint(0, RETRIES))
        return faults[attempt - 1] if attempt <= len(faults) else ""

    called: list[int] = []
    with servers.FaultProxy(served.url, script) as proxy:
        there = backend(proxy.url, local, concurrency=8, timeout=2.0)
        results = there.level_logits(local.prompts, local.levels, on_result=lambda index, _: called.append(index))
        np.testing.assert_allclose(levels(results), expected, atol=1e-5)
        assert sorted(called) == list(range(len(local.prompts)))
        assert len(proxy.seen) == len(local.prompts)
        assert 1 < max(proxy.seen.values()) <= RETRIES + 1


@pytest.mark.slow
def test_faults_that_never_end_fail_their_item_and_say_why(served: Any, local: Local, expected: np.ndarray) -> None:
    reasons = {
        **dict.fromkeys(("hang", "drip"), "no answer within 2 s"),
        **dict.fromkeys(("drop", "reset", "half"), "the connection broke"),
        **dict.fromkeys(("garbage", "nested", "wrong", "truncated", "gzip"), "garbage"),
    }
    prompts = local.prompts[: len(KINDS) + 3]  # three of them sound
    kinds: dict[str, str] = {}

    def script(key: str, _attempt: int) -> str:
        return kinds.get(key, "")

    with servers.FaultProxy(served.url, script) as proxy:
        there = backend(proxy.url, local)
        keys = []
        for prompt in prompts:
            there.level_logits([prompt], local.levels)
            keys.append(list(proxy.seen)[-1])
        kinds.update(zip(keys, KINDS, strict=False))
        proxy.seen.clear()
        results = backend(proxy.url, local, timeout=2.0, retries=1).level_logits(prompts, local.levels)
        for key, kind, result in zip(keys, KINDS, results, strict=False):
            assert reasons.get(kind, kind.split()[0]) in result.failure
            assert "the last of 2 attempts" in result.failure
            assert np.isnan(result.log_probabilities).all()
            assert proxy.seen[key] == 2
        np.testing.assert_allclose(levels(results[-3:]), expected[len(KINDS) : len(KINDS) + 3], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 403, 413, 422, 302])
def test_a_refused_item_fails_at_once_and_alone(served: Any, local: Local, status: int) -> None:
    refused: list[str] = []

    def script(key: str, _attempt: int) -> str:
        if not refused:
            refused.append(key)
        return str(status) if key == refused[0] else ""

    with servers.FaultProxy(served.url, script) as proxy:
        replies = backend(proxy.url, local).generate(local.written[:4], max_tokens=4)
        assert [str(status) in reply.failure for reply in replies].count(True) == 1
        assert [reply.failure for reply in replies].count("") == 3
        assert proxy.seen[refused[0]] == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_all_items_share_is_asked_once(served: Any, local: Local, status: int) -> None:
    with servers.FaultProxy(served.url, lambda _key, _attempt: str(status)) as proxy:
        results = backend(proxy.url, local, concurrency=2).level_logits(local.prompts, local.levels)
        assert all(str(status) in result.failure for result in results)
        assert sum(proxy.seen.values()) <= 2
        assert sum("not sent" in result.failure for result in results) >= len(results) - 2


@pytest.mark.slow
def test_a_retry_after_is_honoured_as_seconds_and_as_a_date_and_capped(
    served: Any, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waited(header: Callable[[], str]) -> float:
        def script(_key: str, attempt: int) -> str:
            return f"429 {header()}" if attempt == 1 else ""

        with servers.FaultProxy(served.url, script) as proxy:
            levels(backend(proxy.url, local).level_logits(local.prompts[:1], local.levels))
            ((first, second),) = proxy.times.values()
            return second - first

    assert waited(lambda: "0.5") >= 0.5
    assert waited(lambda: email.utils.formatdate(time.time() + 2, usegmt=True)) >= 0.9  # dates are whole seconds
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.2)
    assert 0.2 <= waited(lambda: "100000") < 5
    assert waited(lambda: "soon") < 5


@pytest.mark.slow
def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    served: Any, local: Local, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    with servers.FaultProxy(served.url) as proxy, caplog.at_level("DEBUG"):
        there = backend(proxy.url, local, api_key_env="LAB_KEY")
        with pytest.raises(MllmError, match="LAB_KEY"):
            there.generate(local.written, max_tokens=2)
        monkeypatch.setenv("LAB_KEY", "sk-very-secret")
        assert not there.generate(local.written[:2], max_tokens=2)[0].failure
        assert proxy.authorization == {"Bearer sk-very-secret"}
        proxy.script = lambda _key, _attempt: "400"
        (reply,) = there.generate(local.written[:1], max_tokens=2)  # the proxy quotes the key
        assert "injected" in reply.failure
        held = f"{vars(there)} {there.definition()} {reply} {caplog.text}"
        assert "sk-very-secret" not in held
        assert backend(proxy.url, local).identity == there.identity


@pytest.mark.slow
def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    served: Any, local: Local, expected: np.ndarray, tmp_path: Path
) -> None:
    items = []
    for index, image in enumerate(local.images):
        path = tmp_path / f"{index}.png"
        image.save(path)
        items.append(Item(benchmark="own", dimension="quality", id=str(index), task="rate", images=(path,)))

    def kill_at_the_tenth(_key: str, _attempt: int) -> str:
        if len(proxy.seen) == 10:
            served.kill()
        return ""

    direct = backend(served.url, local, retries=1)
    identity = direct.identity
    with servers.FaultProxy(served.url, kill_at_the_tenth) as proxy:
        scorer = Scorer(backend(proxy.url, local, retries=1, concurrency=2), create_preset("q-align"))
        killed = rate(scorer, items, tmp_path / "results.jsonl")
        assert 8 <= killed.statuses["ok"] <= 10
        assert killed.statuses["ok"] + killed.statuses["failed"] == len(items)
        assert all("502" in row["raw"] for row in killed.failed)

        calls: list[int] = []
        results = direct.level_logits(local.prompts, local.levels, on_result=lambda index, _: calls.append(index))
        assert sorted(calls) == list(range(len(local.prompts)))
        assert all("no connection" in result.failure for result in results)
        with pytest.raises(MllmError, match="does not answer"):  # known to be gone: said at once, not for each item
            direct.level_logits(local.prompts, local.levels)

        served.start()
        resumed = rate(scorer, items, tmp_path / "results.jsonl")
        assert (resumed.asked, resumed.known) == (len(killed.failed), killed.statuses["ok"])
    assert direct.identity == backend(served.url, local).identity == identity
    good = [row for row in map(json.loads, (tmp_path / "results.jsonl").open()) if row["status"] == "ok"]
    assert sorted(row["item"] for row in good) == sorted(item.id for item in items)
    whole = Scorer(local.backend, create_preset("q-align")).rate(local.images)
    assert [row["value"] for row in resumed.rows] == pytest.approx([rating.value for rating in whole], abs=1e-5)
    assert all(row["mass"] is None for row in resumed.rows)  # the endpoint does not tell
    np.testing.assert_allclose(levels(direct.level_logits(local.prompts, local.levels)), expected, atol=1e-5)


def test_a_wrong_address_is_said_at_once(local: Local) -> None:
    with pytest.raises(MllmError, match=r"no connection.*check address"):
        backend(f"http://127.0.0.1:{servers.free_port()}/v1", local, retries=0).generate(local.written, max_tokens=2)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "path"), [("another", "/v1"), (None, "")])
def test_a_wrong_model_or_path_is_said_at_once(served: Any, local: Local, model: str | None, path: str) -> None:
    there = ServerBackend(served.url.removesuffix("/v1") + path, model or str(local.folder), logprobs="none")
    with pytest.raises(MllmError, match="check address"):
        there.generate(local.written, max_tokens=2)


def test_chat_gives_the_log_probabilities_of_the_local_model_over_the_whole_vocabulary(chat: Any, local: Local) -> None:
    there = backend(chat.url, local, logprobs="auto", prefix="continue", concurrency=1)
    results = there.level_logits(local.prompts[:6], local.levels)
    here = levels(local.backend.level_logits(local.prompts[:6], local.levels))
    found = np.array([result.log_probabilities for result in results])
    np.testing.assert_allclose(found[~np.isnan(found)], here[~np.isnan(found)], atol=1e-4)
    assert np.isfinite(found).mean() > 0.9
    assert all(result.over_vocabulary and not result.failure for result in results)
    assert [np.asarray(image).tolist() for image in chat.shown] == [
        np.asarray(prompt.images[0]).tolist() for prompt in local.prompts[:6]
    ]


def test_candidates_beyond_the_most_probable_are_unknown_and_none_at_all_is_a_failure(chat: Any, local: Local) -> None:
    there = backend(chat.url, local, logprobs="chat", prefix="continue", top_logprobs=2, concurrency=1)
    (result,) = there.level_logits(local.prompts[:1], local.levels)
    (here,) = levels(local.backend.level_logits(local.prompts[:1], local.levels))
    known = np.isfinite(result.log_probabilities)
    assert known.sum() == 2
    assert set(np.argsort(here)[-2:]) == set(np.flatnonzero(known))
    np.testing.assert_allclose(result.log_probabilities[known], here[known], atol=1e-4)
    (none,) = there.level_logits(local.prompts[:1], ["<never>", "excellent"])
    assert "none of the 2 candidates is among the 2 most probable tokens" in none.failure
    assert np.isnan(none.log_probabilities).all()


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        ({"logprobs": False}, {"logprobs": "auto"}, r"ignores logprobs.*no template of decision_config"),
        ({"logprobs": False}, {"logprobs": "decision"}, "no template of decision_config"),
        ({}, {"logprobs": "none"}, "logprobs='none' was given"),
        ({"most_logprobs": 5}, {"logprobs": "chat"}, "too many logprobs"),
        ({"continues": False}, {"logprobs": "chat"}, "ignores continue_final_message"),
    ],
    ids=str,
)
def test_what_a_server_cannot_do_is_one_error_before_any_image_is_sent(
    local: Local, server: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with local.chat_server(**server) as chat:
        there = backend(chat.url, local, prefix="continue", **options)
        with pytest.raises(MllmError, match=message):
            there.level_logits(local.prompts, local.levels)
        assert not chat.shown


def test_the_identity_holds_the_model_and_the_route_and_not_the_place(chat: Any, local: Local) -> None:
    def identity(model: str = "lab/tiny-vlm", **options: Any) -> str:
        return ServerBackend(chat.url, model, **options).identity

    there = ServerBackend(chat.url, "lab/tiny-vlm", timeout=3, concurrency=2)
    definition = there.definition()
    assert definition["version"] == "0.28.0"
    assert definition["reported"] == {"root": "tiny-vlm", "owned_by": "vllm"}
    assert definition["logprobs"] == "chat"
    assert "127.0.0.1" not in str(definition)
    assert there.name == "tiny-vlm"
    with local.chat_server() as elsewhere:
        assert ServerBackend(elsewhere.url, "lab/tiny-vlm").identity == there.identity == identity()
    changed = {identity("lab/other"), identity(top_logprobs=5), identity(logprobs="none"), identity(fields={"seed": 1})}
    assert len(changed | {there.identity}) == 5


def test_another_model_at_the_same_address_is_noticed_after_an_outage(chat: Any, local: Local) -> None:
    failing = True
    with servers.FaultProxy(chat.url, lambda _key, _attempt: "404" if failing else "") as proxy:
        there = backend(proxy.url, local, logprobs="chat", prefix="continue")
        assert there.level_logits(local.prompts[:1], local.levels)[0].failure
        failing, chat.model_name = False, "lab/another"
        with pytest.raises(MllmError, match="'lab/tiny-vlm' and now as 'lab/another'"):
            there.level_logits(local.prompts[:1], local.levels)


def test_it_works_inside_a_running_loop_as_notebooks_have_it(chat: Any, local: Local) -> None:
    async def cell() -> list[Reply]:
        return backend(chat.url, local).generate(local.written[:2], max_tokens=1)

    assert [reply.failure for reply in asyncio.run(cell())] == ["", ""]


def test_an_image_that_cannot_be_encoded_fails_alone(chat: Any, local: Local) -> None:
    unfit = Prompt((Image.new("CMYK", (64, 64)),), "Which?")
    bad, good = backend(chat.url, local, logprobs="chat").generate([unfit, local.written[0]], max_tokens=1)
    assert "image 1 cannot be sent as PNG" in bad.failure
    assert not good.failure


@pytest.mark.parametrize("key", [None, "", "two\nlines", "schlüssel"])
def test_a_key_that_is_none_is_said_without_quoting_it(
    local: Local, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("LAB_KEY", key)
    with pytest.raises(MllmError, match=r"^the environment variable LAB_KEY holds no key; set it, or name another$"):
        backend("http://127.0.0.1:9/v1", local, api_key_env="LAB_KEY").generate(local.written, max_tokens=1)


def test_what_a_callback_raises_ends_the_call(chat: Any, local: Local) -> None:
    def full(_index: int, _result: Reply) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        backend(chat.url, local).generate(local.written, max_tokens=1, on_result=full)


def test_nothing_asked_is_nothing_sent(local: Local) -> None:
    there = backend("http://127.0.0.1:9/v1", local)
    assert there.generate([], max_tokens=1) == there.level_logits([], local.levels) == []


@pytest.mark.parametrize(
    "options",
    [
        *({"base_url": url} for url in ("127.0.0.1:8000/v1", "ftp://lab/v1", "http://me:word@lab/v1", "http:///v1")),
        *({"logprobs": "yes"}, {"prefix": "maybe"}, {"model": ""}, {"concurrency": 0}, {"retries": -1}),
        *({"timeout": 0}, {"timeout": math.nan}, {"timeout": math.inf}, {"top_logprobs": 0}, {"backoff": -1.0}),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"base_url": "http://127.0.0.1:8000/v1", "model": "m", **options}
    with pytest.raises(MllmError) as error:
        ServerBackend(**settings)
    assert "word" not in str(error.value)


@pytest.mark.parametrize("candidates", [[], [""], [" good", " good"]], ids=str)
def test_candidates_that_cannot_be_told_apart_are_refused(candidates: list[str]) -> None:
    with pytest.raises(MllmError, match="distinct"):
        ServerBackend("http://127.0.0.1:9/v1", "m").level_logits([Prompt((), "?")], candidates)


def completion(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"} | choice]}


def test_tokens_that_a_server_spells_alike_are_not_told_apart() -> None:
    top = [{"token": "good", "logprob": -1.0}, {"token": "good", "logprob": -2.0}, {"token": "bad", "logprob": -3.0}]
    reply = completion(logprobs={"content": [{"token": "good", "logprob": -1.0, "top_logprobs": top}]})
    assert "two tokens 'good'" in read_levels(reply, ["good", "bad"]).failure
    np.testing.assert_allclose(read_levels(reply, ["bad", "awful"]).log_probabilities, [-3, math.nan])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, Reply("fine")),
        ({"finish_reason": "length"}, Reply("fine", finished=False)),
        ({"message": {"content": [{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}]}}, Reply("fine")),
        ({"message": {"content": [{"type": "thinking", "thinking": "hm"}]}}, Reply("")),
        ({"message": {"content": None, "refusal": "I cannot."}}, Reply("I cannot.")),
        ({"message": {"content": None, "reasoning_content": "hmm"}, "finish_reason": "length"}, Reply("", False)),
    ],
    ids=str,
)
def test_replies_are_read_as_the_format_says(choice: dict[str, Any], expected: Reply) -> None:
    assert read_reply(completion(**choice)) == expected


def test_a_withheld_reply_is_a_failure() -> None:
    assert "content filter" in read_reply(completion(finish_reason="content_filter")).failure


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "message", "content", "logprobs", "top_logprobs", "token", "logprob", "usage"),
                    *("prompt_tokens", "finish_reason", "answers", "levels", "probabilities", "0", "1", "input_tokens"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(json_values, json_values)
def test_whatever_a_server_says_is_read_or_called_malformed(any_json: Any, inner: Any) -> None:
    shaped = [
        any_json,
        {"choices": [any_json], "usage": inner},
        completion(logprobs={"content": [{"top_logprobs": any_json}]}),
        completion(logprobs={"content": any_json}, message=inner),
        {"answers": {"levels": {"probabilities": any_json}}, "usage": {"input_tokens": inner}},
        {"answers": {"levels": {"probabilities": {"0": any_json, "1": inner}}}, "usage": {"input_tokens": 1}},
    ]
    for reply in shaped:
        for read in (read_reply, has_logprobs, lambda r: read_levels(r, "ab"), lambda r: read_decision(r, "ab")):
            try:
                result = read(reply)
            except MalformedReplyError:
                continue
            if isinstance(result, LevelLogits) and not result.failure:
                assert not (result.log_probabilities > 1e-3).any()
                assert np.isfinite(result.log_probabilities).any()


def test_images_travel_without_loss() -> None:
    import base64
    import io

    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    file = io.BytesIO(base64.b64decode(png_base64(Image.fromarray(pixels))))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
