"""The reward for Flow-Factory, which is not on PyPI: a double has the part of its interface that is documented."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from support import tiny_vlm
from torch import nn

from lopsided.mllm import MllmError, Scorer, TransformersBackend, create_preset
from lopsided.mllm.align import RewardModel


class Pointwise:
    """Flow-Factory's base class: keeps the configuration, and where and how to compute."""

    def __init__(self, config, accelerator):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device if config.device == torch.device("cuda") else config.device
        self.dtype, self.model = config.dtype, nn.Identity()

    def to(self, device):
        self.model.to(device)
        self.device = device
        return self


@pytest.fixture
def reward_class(monkeypatch):
    double = ModuleType("flow_factory.rewards")
    vars(double).update(PointwiseRewardModel=Pointwise, RewardModelOutput=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "flow_factory", ModuleType("flow_factory"))
    monkeypatch.setitem(sys.modules, "flow_factory.rewards", double)
    name = "lopsided.mllm.align.flow_factory"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name).LopsidedReward
    sys.modules.pop(name)


@pytest.fixture
def config(tiny):
    def make(**keys):
        keys = {"model": str(tiny), "preset": "q-align", "dimensions": {"quality": 3.0, "aesthetics": 1.0}} | keys
        return SimpleNamespace(
            device=torch.device("cuda"), dtype=torch.float32, batch_size=2, extra_kwargs=keys, weight=1.0
        )

    return make


ACCELERATOR = SimpleNamespace(device=torch.device("cpu"))


def test_it_gives_what_the_reward_model_gives(reward_class, config, tiny):
    made = reward_class(config=config(), accelerator=ACCELERATOR)
    images = tiny_vlm.images(3, 5)
    output = made(prompt=["a lamp"] * 3, image=images)
    scorer = Scorer(TransformersBackend(str(tiny), dtype="float32"), create_preset("q-align"))
    rewards, details = RewardModel(scorer, {"quality": 3.0, "aesthetics": 1.0})(images, ["a lamp"] * 3)
    assert output.rewards == pytest.approx(rewards, abs=1e-6)
    assert output.extra_info.keys() == details.keys()
    assert len(set(output.rewards)) == 3
    assert {"prompt", "image"} == set(made.required_fields)
    assert made.to(torch.device("cpu")).model.dtype == torch.float32


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"presett": "q-align"}, "presett: Extra inputs are not permitted; keys of ours: model, preset,"),
        ({"on_failure": 2}, "on_failure: Input should be less than or equal to 1"),
        ({"preset": "q-alin"}, "did you mean 'q-align'"),
    ],
)
def test_a_wrong_key_is_named(reward_class, config, keys, words):
    with pytest.raises(MllmError, match=words):
        reward_class(config=config(**keys), accelerator=ACCELERATOR)


def test_videos_are_refused(reward_class, config):
    made = reward_class(config=config(), accelerator=ACCELERATOR)
    with pytest.raises(MllmError, match="videos and sound are not rated"):
        made(prompt=["a lamp"])
