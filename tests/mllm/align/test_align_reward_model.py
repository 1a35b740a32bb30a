"""A scorer as a reward: its forms, the service and its limits, the best of several draws."""

import base64
import http.client
import io
import json
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny_vlm

from lopsided.mllm import MllmError, Scorer, TransformersBackend, create_preset
from lopsided.mllm.align import RewardModel, RewardService, best_of, expected_best
from lopsided.mllm.backends import Backend, Reply


class Brightness(Backend):
    """Writes how bright an image is, and refuses a black one."""

    wait = 0.0

    @property
    def name(self):
        return "brightness"

    def definition(self):
        return {}

    def check_candidates(self, candidates):
        pass

    def level_logits(self, prompts, candidates):
        raise NotImplementedError

    def generate(self, prompts, *, max_tokens, temperature=0.0, seed=0):
        time.sleep(self.wait)
        values = [100 * tiny_vlm.brightness(prompt.images[0]) for prompt in prompts]
        return [Reply(f"{value:.2f}" if value else "I'm sorry, but I can't rate this image.") for value in values]


def grey(level, size=(8, 8)):
    return Image.new("RGB", size, (level,) * 3)


@pytest.fixture
def reward():
    return RewardModel(Scorer(Brightness(), create_preset("numeric")), {"quality": 3, "aesthetics": 1})


def test_all_forms_of_images_get_the_same_reward(reward):
    pictures = [grey(51), grey(255)]
    array = np.array([np.asarray(picture) for picture in pictures])
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2) / 255
    for images in (pictures, array, tensor):
        scores, details = reward(images, ["a", "b"], {})
        assert scores == pytest.approx([0.2, 1.0])
        assert details == {"quality": pytest.approx([0.2, 1.0]), "aesthetics": pytest.approx([0.2, 1.0])}


def test_no_images_get_no_rewards(reward):
    assert reward(torch.zeros(0, 3, 8, 8), [])[0] == reward([], [])[0] == []


def test_a_rating_that_failed_gets_the_least_and_says_so(reward):
    (failed,) = reward.rate([grey(0)])
    assert failed["reward"] == 0
    assert failed["quality"] is None
    assert failed["quality_status"] == "refused"
    reward.on_failure = 0.5
    assert reward.rate([grey(0)])[0]["reward"] == 0.5


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 4), torch.full((1, 3, 4, 4), 255.0), np.zeros((1, 4, 4, 3)), ["a.png"]]
)
def test_other_forms_are_refused(reward, images):
    with pytest.raises(MllmError):
        reward.rate(images)


def test_weights_and_prompts_are_checked(reward):
    with pytest.raises(MllmError, match="as many prompts"):
        reward([grey(1)], [])
    with pytest.raises(MllmError, match="must be positive"):
        RewardModel(reward.scorer, {"quality": 0})
    with pytest.raises(MllmError, match="must be positive"):
        RewardModel(reward.scorer, {"quality": "x"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(MllmError, match="does not rate"):
        RewardModel(reward.scorer, {"charm": 1})


# --- the best of several ---------------------------------------------------------------------------------------------


def test_the_best_draw_is_kept(reward):
    drawn = best_of(lambda prompt, seed: grey(10 * seed + len(prompt)), reward, ["a", "bb"], 4, seed=3)
    assert drawn.chosen == (3, 3)
    assert [image.getpixel((0, 0)) for image in drawn.images] == [(61,) * 3, (62,) * 3]
    assert drawn.rewards.shape == (2, 4)
    with pytest.raises(MllmError, match="gave 1 numbers for 2 images of 'a'"):
        best_of(lambda prompt, seed: grey(seed), lambda images, prompts: ([1.0], {}), ["a"], 2)


def test_the_expected_best_is_the_mean_over_all_subsets():
    from itertools import combinations

    rng = np.random.default_rng(0)
    rewards, judged = rng.normal(size=(3, 6)), rng.normal(size=(3, 6))
    for number in (1, 2, 4, 6):
        every = [
            judged[row, max(subset, key=lambda n: rewards[row, n])]
            for row in range(3)
            for subset in combinations(range(6), number)
        ]
        assert expected_best(rewards, judged, number) == pytest.approx(np.mean(every))
    with pytest.raises(MllmError):
        expected_best(rewards, judged, 7)
    with pytest.raises(MllmError, match="not a finite number"):
        expected_best([[np.nan, 1.0]], [[1.0, 2.0]], 1)
    with pytest.raises(MllmError, match="positive and finite"):
        RewardModel(Scorer(Brightness(), create_preset("numeric")), {"quality": np.inf})


def test_equal_rewards_are_chosen_by_chance():
    for judged in ([[0, 10, 5]], [[10, 0, 5]]):  # of the pairs: 5 by chance, 10 and 0
        assert expected_best([[1, 1, 0]], judged, 2) == pytest.approx(5)


# --- the service -----------------------------------------------------------------------------------------------------


def packed(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def ask(service, body, *, path="/reward", method="POST", **headers) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, content, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, json.loads(text) if response.getheader("Content-Type") == "application/json" else text


@pytest.fixture
def service(reward):
    with RewardService(reward, most_bytes=100_000, most_pixels=10_000, most_images=8) as running:
        yield running


def test_rewards_over_http_are_those_here(tiny):
    reward = RewardModel(Scorer(TransformersBackend(tiny, dtype="float32"), create_preset("q-align")))
    pictures = tiny_vlm.images(3)
    with RewardService(reward) as service:
        status, answer = ask(service, {"images": [packed(picture) for picture in pictures]})
    assert status == 200
    local = reward.rate(pictures)
    assert answer["rewards"] == pytest.approx([each["reward"] for each in local], abs=1e-6)
    assert answer["details"][0].keys() == local[0].keys()


def test_a_hundred_parallel_requests_are_served(service):
    answers = {}

    def send(n):
        answers[n] = ask(service, {"images": [packed(grey(n + 1))], "prompts": ["x"]})

    threads = [threading.Thread(target=send, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[n][0] for n in range(100)] == [200] * 100
    assert [answers[n][1]["rewards"][0] for n in range(100)] == pytest.approx(
        [(n + 1) / 255 for n in range(100)], abs=1e-4
    )
    _, metrics = ask(service, None, path="/metrics", method="GET")
    assert "lopsided_reward_requests_total 100" in metrics
    assert ask(service, None, path="/health", method="GET") == (
        200,
        {"status": "ok", "scorer": "brightness/numeric"},
    )


def test_what_does_not_fit_the_queue_is_refused(reward):
    reward.scorer.backend.wait = 0.3
    with RewardService(reward, queue=1) as service:
        statuses = []
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(service, {"images": [packed(grey(9))]})[0]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200, 503}
        assert ask(service, {"images": [packed(grey(9))]})[0] == 200  # the place is free again


GIF, BIG = packed(grey(9), "GIF"), packed(grey(9, (101, 100)))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 50_000, 400, "not JSON"),
        ({}, 400, "give images"),
        ({"images": []}, 400, "give images"),
        ({"images": [3]}, 400, "give images"),
        ({"images": ["?"]}, 400, "image 0 is not base64"),
        ({"images": [packed(grey(1)), "aGVsbG8="]}, 400, "image 1 is not a PNG or JPEG"),
        ({"images": [GIF]}, 400, "image 0 is not a PNG or JPEG file"),
        ({"images": [packed(grey(1))], "prompt": [""]}, 400, "unknown key 'prompt'"),
        ({"images": [packed(grey(1))[:60]]}, 400, "image 0"),
        ({"images": [BIG]}, 413, "10100 pixels, at most 10000"),
        ({"images": [packed(grey(1))] * 9}, 413, "9 images, at most 8"),
        ({"images": ["A" * 200_000]}, 413, "bytes, at most 100000"),
        ({"images": [packed(grey(1))], "prompts": []}, 400, "as many prompts"),
        ({"images": [packed(Image.new("RGBA", (8, 8), (0, 0, 0, 9)))]}, 400, "image 0"),
    ],
)
def test_malformed_and_oversized_requests_get_a_reason(service, body, status, words):
    got, answer = ask(service, body)
    assert got == status
    assert words in answer["error"]
    assert "/tmp" not in answer["error"]
    assert "0x" not in answer["error"]
    assert ask(service, {"images": [packed(grey(1), "JPEG")]})[0] == 200


def test_requests_that_are_not_meant_for_it_are_refused(service):
    body = {"images": [packed(grey(1))]}
    assert ask(service, body, Host="evil.example")[0] == 403
    assert ask(service, body, **{"Content-Type": "text/plain"})[0] == 415
    assert ask(service, body, path="/else")[0] == 404
    assert ask(service, None, path="/else", method="GET")[0] == 404
    assert ask(service, body, Host="localhost:1")[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"OPTIONS /reward HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (
            b"POST /reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
            413,
        ),
    ],
    ids=["method", "address", "header", "garbage", "length"],
)
def test_what_is_no_request_gets_json_too(service, request_, status):
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0]
    assert b"application/json" in head
    assert json.loads(body)["error"]


def test_a_model_that_fails_does_not_stop_the_service(service, monkeypatch):
    monkeypatch.setattr(service.reward.scorer.backend, "generate", lambda *a, **k: 1 / 0)
    assert ask(service, {"images": [packed(grey(1))]}) == (500, {"error": "division by zero"})
    monkeypatch.undo()
    assert ask(service, {"images": [packed(grey(1))]})[0] == 200
