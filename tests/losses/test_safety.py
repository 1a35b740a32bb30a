"""What may not happen to a training that holds one of the measures, whatever it is fed and however long it runs."""

import copy
import functools
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lopsided.losses import Measure, create_measure, list_measures

FAMILIES = ("dists", "lpips", "perceptual", "style", "contextual")
KEYS = [
    key
    for key in [
        *(f"dists-{backbone}" for backbone in ("vgg16-r", "resnet18-r", "squeezenet1_1-r", "convnext_tiny-r")),
        *(f"{family}-squeezenet1_1-r" for family in FAMILIES[1:]),
        *(f"{family}-convnext_tiny-r" for family in FAMILIES[1:]),
    ]
    if key in list_measures()
]
# Where many places look the same, the contextual loss of an image from itself is not 0; see its docstring.
ZERO_AT_IDENTITY = [key for key in KEYS if not key.startswith("contextual")]
SHALLOW = {"measure": "dists", "backbone": "squeezenet1_1-r", "layers": ["relu1", "fire2"]}
SIDE = 40


@pytest.fixture(scope="module")
def measures():
    return functools.cache(create_measure)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 3, SIDE, SIDE), float(value))


def one_pixel_off() -> torch.Tensor:
    image = noise(1, 3, SIDE, SIDE)
    image[0, 1, 5, 7] = 1 - image[0, 1, 5, 7]
    return image


def value_and_gradient(measure: Measure, image: torch.Tensor, reference: torch.Tensor):
    prediction = image.clone().requires_grad_()
    loss = measure(prediction, reference)
    loss.backward()
    assert prediction.grad is not None
    return loss.detach(), prediction.grad


PAIRS = {
    "black, black": lambda: (flat(0), flat(0)),
    "white, white": lambda: (flat(1), flat(1)),
    "black, white": lambda: (flat(0), flat(1)),
    "grey, grey": lambda: (flat(0.3), flat(0.6)),
    "flat, textured": lambda: (flat(0.5), noise(1, 3, SIDE, SIDE)),
    "identical": lambda: (noise(1, 3, SIDE, SIDE), noise(1, 3, SIDE, SIDE)),
    "one pixel": lambda: (one_pixel_off(), noise(1, 3, SIDE, SIDE)),
    "overshoot": lambda: (17 * noise(1, 3, SIDE, SIDE, seed=1) - 8, noise(1, 3, SIDE, SIDE)),
    "oblong": lambda: (noise(1, 3, 33, 120, seed=1), noise(1, 3, 33, 120)),
}


@pytest.mark.parametrize("images", PAIRS.values(), ids=PAIRS.keys())
@pytest.mark.parametrize("key", KEYS)
def test_loss_and_gradient_are_finite(key, images, measures):
    loss, gradient = value_and_gradient(measures(key), *images())
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("key", KEYS)
def test_the_smallest_image_is_enough(key, measures):
    side = measures(key).spec.min_size
    loss, gradient = value_and_gradient(measures(key), noise(2, 3, side, side, seed=1), noise(2, 3, side, side))
    assert loss > 0
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("family", ["dists", "lpips", "perceptual", "style"])
def test_large_images_are_no_problem(family, measures):
    images = noise(1, 3, 768, 768, seed=1), noise(1, 3, 768, 768)
    loss, gradient = value_and_gradient(measures(f"{family}-squeezenet1_1-r"), *images)
    assert loss > 0
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("key", KEYS)
def test_half_precision_costs_at_most_one_percent(key, dtype, measures):
    """Of networks, half precision is about three digits; statistics are in float32, so that nothing adds up."""
    measure = measures(key)
    image, reference = noise(2, 3, SIDE, SIDE, seed=1), noise(2, 3, SIDE, SIDE)
    expected, direction = value_and_gradient(measure, image, reference)
    with torch.autocast("cpu", dtype=dtype):
        under_autocast = value_and_gradient(measure, image, reference)
    for loss, gradient in (under_autocast, value_and_gradient(measure, image.to(dtype), reference.to(dtype))):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
        assert torch.isfinite(gradient).all()
        assert torch.cosine_similarity(gradient.float().flatten(), direction.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("key", ZERO_AT_IDENTITY)
def test_identical_images_give_zero_and_no_gradient(key, measures):
    for image in (flat(0.0), flat(0.7), noise(1, 3, SIDE, SIDE)):
        loss, gradient = value_and_gradient(measures(key), image, image.clone())
        assert abs(loss) < 1e-6
        assert gradient.abs().max() < 1e-6


class Host(nn.Module):
    def __init__(self, loss: Measure) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.loss = loss

    def forward(self, degraded, reference):
        return self.loss(self.network(degraded), reference)


@pytest.mark.parametrize("key", KEYS)
def test_nothing_that_is_done_to_the_host_changes_the_measure(key, measures):
    host = Host(copy.deepcopy(measures(key)))
    before = {name: tensor.clone() for name, tensor in [*host.loss.named_parameters(), *host.loss.named_buffers()]}
    host.train()
    host.requires_grad_(True)
    optimizer = torch.optim.AdamW(host.parameters(), lr=0.1, weight_decay=0.5)
    weight = next(host.network.parameters())
    network = weight.clone()
    degraded, reference = noise(2, 3, SIDE, SIDE, seed=1), noise(2, 3, SIDE, SIDE)
    for _ in range(2):
        optimizer.zero_grad()
        host(degraded, reference).backward()
        assert all(parameter.grad is None for parameter in host.loss.parameters())
        optimizer.step()
        host.train()
    assert not torch.equal(weight, network)
    assert host.network[1].training
    assert not any(module.training for module in host.loss.modules())
    after = dict([*host.loss.named_parameters(), *host.loss.named_buffers()])
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_a_compiled_measure_cannot_be_woken():
    torch.compiler.reset()
    measure = create_measure(SHALLOW)
    host = nn.Sequential(measure).requires_grad_(True)
    prediction, reference = noise(1, 3, SIDE, SIDE, seed=1).requires_grad_(), noise(1, 3, SIDE, SIDE)
    torch.compile(measure, backend="eager", fullgraph=True)(prediction, reference).backward()
    assert prediction.grad is not None
    assert not list(host.parameters())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from Linux's /proc")
def test_a_thousand_steps_leave_nothing_behind():
    measure = create_measure(SHALLOW)
    host, side = Host(measure), measure.spec.min_size
    optimizer = torch.optim.Adam(host.network.parameters(), lr=1e-3)
    degraded, reference = noise(1, 3, side, side, seed=1), noise(1, 3, side, side)
    seen = []
    for step in range(1, 1001):
        optimizer.zero_grad()
        host(degraded, reference).backward()
        optimizer.step()
        if step in (100, 1000):
            seen.append((tensors(), resident_bytes()))
    (early_tensors, early), (late_tensors, late) = seen
    assert late_tensors <= early_tensors
    assert late - early < 8 * 2**20  # a step whose graph is kept alive costs 0.2 MB


IMPORT = """
import socket, sys, time
def refuse(*_, **__): raise AssertionError("network touched")
socket.socket.connect = refuse
start = time.process_time()
import torch, torchvision
bare = time.process_time() - start
import lopsided.losses
ours = time.process_time() - start
print(bare, ours, *{"basicsr", "pyiqa", "transformers", "lpips", "timm", "pandas", "scipy"} & set(sys.modules))
"""


@pytest.mark.slow
def test_importing_the_losses_costs_less_than_a_third_of_importing_torch():
    # Python's own cache of compiled modules is on, as it is for a user.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = []
    for _ in range(3):
        result = subprocess.run(
            [sys.executable, "-c", IMPORT], capture_output=True, text=True, env=environment, check=False
        )
        assert result.returncode == 0, result.stderr
        bare, ours, *heavy = result.stdout.split()
        assert not heavy
        runs.append((float(bare), float(ours)))
    bare, ours = (min(seconds) for seconds in zip(*runs, strict=True))
    assert ours < 1.3 * bare
