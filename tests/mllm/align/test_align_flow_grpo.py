"""Flow-GRPO on the smallest generator: a step's distribution, what is learnt, the penalty, and continuing."""

import json
from itertools import pairwise

import pytest
import torch

from lopsided.mllm import MllmError
from lopsided.mllm.align import FlowGrpo, draw, flow_grpo
from lopsided.mllm.align.reinforced_flow import noisy_step, times

PROMPTS, CONDITIONS, SHAPE = ("dark", "light"), torch.tensor([[0.3], [0.5]]), (3, 2, 2)


def exact(latents, time, mean, deviation):
    """The velocity of normal data: the expected noise less the expected data."""
    away, whole = latents - (1 - time) * mean, (1 - time) ** 2 * deviation**2 + time**2
    return away * (time - (1 - time) * deviation**2) / whole - mean


class Grey(torch.nn.Module):
    """Draws normal images whose mean is what the condition says, and what it learnt besides."""

    def __init__(self):
        super().__init__()
        self.more = torch.nn.Parameter(torch.zeros(1))

    def forward(self, latents, time, condition):
        return exact(latents, time.reshape(-1, 1, 1, 1), (condition + self.more).reshape(-1, 1, 1, 1), 0.2)


def velocity(model, latents, time, condition):
    return model(latents, time, condition)


def brightness(images, prompts):
    assert len(images) == len(prompts)
    return images.mean((1, 2, 3)).tolist(), {}


def train(folder, reward=brightness, prompts=PROMPTS, **more):
    model = Grey()
    settings = FlowGrpo(
        **{"updates": 20, "rate": 0.02, "penalty": 0.0, "steps": 6, "trained": 3, "save_every": 5} | more
    )
    flow_grpo(model, velocity, prompts, CONDITIONS, reward, SHAPE, settings, folder)
    return model.more.item()


def test_noise_leaves_what_is_drawn_the_same():
    """For normal data of a known deviation, whose velocity is known, the noisy walk ends at that deviation too."""
    deviation, number = 0.5, 4000
    chance = torch.Generator().manual_seed(0)

    for noise in (0.0, 0.7):
        latents = torch.randn(number, generator=chance)
        at = times(200).tolist()
        for time, to in pairwise(at):
            mean, spread = noisy_step(latents, exact(latents, time, 0.0, deviation), time, to, noise)
            latents = mean + spread * torch.randn(number, generator=chance) if to else mean
        assert latents.std().item() == pytest.approx(deviation, rel=0.05)


def test_the_reward_is_learnt_a_shuffled_one_is_not_and_the_penalty_holds_back(tmp_path):
    chance = torch.Generator().manual_seed(5)

    def shuffled(images, prompts):
        scores = torch.tensor(brightness(images, prompts)[0])
        return scores[torch.randperm(len(scores), generator=chance)].tolist(), {}

    learnt = train(tmp_path / "learnt")
    assert learnt > 0.2
    assert abs(train(tmp_path / "shuffled", shuffled)) < learnt / 2
    assert 0 < train(tmp_path / "held", penalty=10.0) < learnt / 2
    lines = [json.loads(line) for line in (tmp_path / "learnt" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["reward"] > lines[0]["reward"] + 0.1
    assert lines[0]["penalty"] == 0 < lines[-1]["penalty"]


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path):
    whole = train(tmp_path / "whole", penalty=1.0)
    calls = []

    def killed(images, prompts):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return brightness(images, prompts)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed, penalty=1.0)
    assert train(tmp_path / "killed", penalty=1.0) == whole
    assert (tmp_path / "killed" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()
    with pytest.raises(MllmError, match="with other rate"):
        train(tmp_path / "killed", rate=0.01, penalty=1.0)


def test_it_can_be_stopped_and_refuses_what_is_no_number(tmp_path):
    settings = FlowGrpo(updates=20, save_every=5, steps=4, trained=2)
    stopped = flow_grpo(
        Grey(), velocity, PROMPTS, CONDITIONS, brightness, SHAPE, settings, tmp_path, stop=lambda n, _: n == 10
    )
    assert stopped == 10
    again = flow_grpo(Grey(), velocity, PROMPTS, CONDITIONS, brightness, SHAPE, settings, tmp_path)
    assert again == 10  # the same call does not train on
    with pytest.raises(MllmError, match="update 1: a reward is not a finite number"):
        train(tmp_path / "nan", lambda images, _: ([float("nan")] * len(images), {}))
    with pytest.raises(MllmError, match="images got 1 rewards"):
        train(tmp_path / "few", lambda images, _: ([1.0], {}))
    with pytest.raises(MllmError, match="one condition for each"):
        flow_grpo(Grey(), velocity, ["one"], CONDITIONS, brightness, SHAPE, settings, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    train(tmp_path, penalty=1.0)
    good = (tmp_path / "state.pt").read_bytes()
    settings = FlowGrpo(updates=1)
    for bad in (b"", good[: len(good) // 2], b"no checkpoint"):
        (tmp_path / "state.pt").write_bytes(bad)
        with pytest.raises(MllmError, match="is damaged or of something else"):
            train(tmp_path, penalty=1.0)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "state.pt")
    with pytest.raises(MllmError, match="is damaged or of something else"):
        flow_grpo(Grey(), velocity, PROMPTS, CONDITIONS, brightness, SHAPE, settings, tmp_path)
    (tmp_path / "state.pt").write_bytes(good)
    with pytest.raises(MllmError, match="with other prompts"):
        train(tmp_path, penalty=1.0, prompts=[*PROMPTS[::-1]])


def test_drawing_follows_the_condition():
    noise = torch.randn(2, 64, *SHAPE, generator=torch.Generator().manual_seed(0))
    for latents, condition in zip(noise, CONDITIONS, strict=True):
        images = draw(Grey(), velocity, latents, condition.expand(64, 1), 20)
        assert images.mean().item() == pytest.approx(condition.item(), abs=0.03)
