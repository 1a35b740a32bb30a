"""The losses inside other people's projects; the examples are those of docs/integrations.md, run as they stand."""

import copy
import importlib
import io
import pickle
import re
import runpy
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from support.paths import ROOT
from support.two_processes import outputs_of_two
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim.swa_utils import AveragedModel

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.losses import DISTS, DistsSpec, Measure, MeasureError, MeasureGroup, create_measure

HOW_TO = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
exports = pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="torch 2.6 cannot export an autocast region with a free batch size"
)


def example(section: str, language: str = "python") -> str:
    """The one block of a language in a section of the how-to."""
    text = HOW_TO.split(f"\n## {section}\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return block


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the example of a section in a temporary folder and returns its variables."""

    def run_example(section: str) -> dict:
        monkeypatch.chdir(tmp_path)
        Path("example.py").write_text(example(section), encoding="utf-8")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return runpy.run_path("example.py")

    return run_example


class Host(nn.Module):
    """A generator that holds its loss."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 3, padding=1)
        self.loss = loss

    def forward(self, degraded, reference):
        return self.loss(self.network(degraded), reference)


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    return images[0], images[1]


def value_and_gradient(loss, image, reference):
    prediction = image.clone().requires_grad_()
    value = loss(prediction, reference)
    value.backward()
    assert prediction.grad is not None
    return value.detach(), prediction.grad


# --- BasicSR -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def basicsr():
    """BasicSR's registry of losses."""
    load_basicsr()
    for part in ("losses", "discriminators"):
        importlib.import_module(f"lopsided.{part}.basicsr_plugin")
    return importlib.import_module("basicsr.utils.registry").LOSS_REGISTRY


@pytest.fixture
def options(tmp_path, basicsr):
    """The how-to's options as BasicSR reads and completes them, for a model without its command line."""
    import yaml
    from basicsr.utils.options import ordered_yaml

    opt = yaml.load(example("BasicSR", "yaml"), Loader=ordered_yaml()[0])
    opt |= {"dist": False, "rank": 0, "world_size": 1, "is_train": True}
    opt["path"] |= {"models": str(tmp_path), "training_states": str(tmp_path)}
    return opt


DISTS_OPTIONS = {"type": "LopsidedDISTS", "backbone": "squeezenet1_1-r"}
SLOTS = {
    "as in the how-to": ({}, {"l_pix", "l_percep"}),
    "DISTS as pixel loss": ({"pixel_opt": DISTS_OPTIONS | {"slot": "pixel"}, "perceptual_opt": None}, {"l_pix"}),
    "DISTS alone": ({"pixel_opt": None, "perceptual_opt": DISTS_OPTIONS}, {"l_percep"}),
    "SSIM alone": ({"pixel_opt": None, "perceptual_opt": {"type": "LopsidedMeasure", "measure": "ssim"}}, {"l_percep"}),
}


@pytest.mark.parametrize(("losses", "logged"), SLOTS.values(), ids=SLOTS.keys())
def test_basicsr_trains_with_a_measure_in_either_slot(losses, logged, options, tmp_path):
    from basicsr.models import build_model

    options["train"].update(losses)
    photograph = torch.from_numpy(skimage.data.astronaut()[:64, 200:264].transpose(2, 0, 1).copy())[None] / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(options)
    before = copy.deepcopy(model.net_g.state_dict())
    model.feed_data({"lq": nn.functional.avg_pool2d(photograph, 2), "gt": photograph})
    totals = []
    for step in range(12):
        model.optimize_parameters(step)
        assert set(model.get_current_log()) == logged
        totals.append(sum(model.get_current_log().values()))
        assert all(p.grad is not None for p in model.net_g.parameters())
    assert totals[-1] < totals[0]
    model.save(epoch=0, current_iter=12)
    saved = torch.load(tmp_path / "net_g_12.pth", weights_only=True)["params"]
    assert saved.keys() == before.keys()
    assert not any(torch.equal(saved[name], before[name]) for name in before)


@pytest.mark.slow
def test_basicsr_how_to_runs_from_the_command_line(tmp_path):
    (tmp_path / "train.py").write_text(example("BasicSR"), encoding="utf-8")
    (tmp_path / "options.yml").write_text(example("BasicSR", "yaml"), encoding="utf-8")
    for kind, size in {"gt": 96, "lq": 48}.items():
        (tmp_path / "datasets" / kind).mkdir(parents=True)
        for k in range(4):
            photograph = Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[90 * k :][:96, 150:246]))
            photograph.resize((size, size), Image.Resampling.BICUBIC).save(tmp_path / "datasets" / kind / f"{k}.png")
    command = [sys.executable, "train.py", "-opt", "options.yml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    steps = re.findall(r"iter: +(\d+),.* l_pix: (\S+) l_percep: (\S+)", result.stdout + result.stderr)
    assert [int(step) for step, _, _ in steps] == list(range(1, 21))
    assert all(float(value) > 0 for _, *values in steps for value in values)
    assert list((tmp_path / "experiments").rglob("net_g_20.pth"))


def test_basicsr_loss_is_the_weighted_measure(basicsr):
    image, reference = pair(2, 3, 32, 32)
    options = {"backbone": "squeezenet1_1-r", "layers": ["fire2", "fire4"], "c1": 1e-4}
    expected = DistsSpec.model_validate(options).build()(image, reference)
    percep, style = basicsr.get("LopsidedDISTS")(loss_weight=0.5, **options)(image, reference)
    assert style is None
    torch.testing.assert_close(percep, 0.5 * expected)
    pixel = basicsr.get("LopsidedMeasure")("dists", loss_weight=2, slot="pixel", reduction="sum", **options)
    torch.testing.assert_close(pixel(image, reference), 4 * expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_weight": "1e-1"}, "loss_weight must be a number, got '1e-1'"),
        ({"loss_weight": float("nan")}, "loss_weight must be a number"),
        ({"slot": "percep"}, "slot must be one of perceptual, pixel, unweighted, got 'percep'"),
        ({"reduction": "none"}, "reduction must be 'mean' or 'sum', got 'none'"),
        ({"backbon": "vgg16-r"}, "unknown option 'backbon'; did you mean 'backbone'?"),
        ({"backbone": "vgg17"}, "vgg17"),
        (
            {"loss_wieght": 1},
            "unknown option 'loss_wieght'; did you mean 'loss_weight'? (known: loss_weight, slot, reduction",
        ),
        (
            {"vgg_type": "vgg19"},
            "unknown option 'vgg_type'; known: loss_weight, slot, reduction, input_range, backbone",
        ),
        ({"loss_weight": 1, "perceptual_weight": 1}, "loss_weight and perceptual_weight are one option"),
        ({"style_weight": 2}, "style_weight must be 0, got 2"),
    ],
)
def test_basicsr_options_that_mean_nothing_are_refused(options, message, basicsr):
    with pytest.raises(MeasureError, match=re.escape(message)):
        basicsr.get("LopsidedDISTS")(**options)


def test_basicsr_says_what_a_loss_in_the_pixel_slot_needs(options):
    from basicsr.models import build_model

    options["train"].update(pixel_opt=DISTS_OPTIONS, perceptual_opt=None)
    with torch.random.fork_rng(devices=[]):
        model = build_model(options)
    low, high = pair(1, 3, 64, 64)
    model.feed_data({"lq": low[..., ::2, ::2], "gt": high})
    with pytest.raises(MeasureError, match="needs the option 'slot: pixel'"):
        model.optimize_parameters(1)


def test_basicsr_options_of_its_own_perceptual_loss_are_understood(basicsr):
    image, reference = pair(2, 3, 32, 32)
    ours = basicsr.get("LopsidedDISTS")(perceptual_weight=0.5, style_weight=0, backbone="squeezenet1_1-r")
    torch.testing.assert_close(
        ours(image, reference)[0], 0.5 * DistsSpec.on("squeezenet1_1-r").build()(image, reference)
    )


def gan(options, **network_d):
    """The options with a discriminator, as official ones of ESRGAN have it."""
    options |= {"model_type": "SRGANModel", "network_d": {"type": "LopsidedDiscriminator", **network_d}}
    options["train"] |= {
        "optim_d": {"type": "Adam", "lr": 0.001},
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
    }
    return options


@pytest.mark.parametrize(
    "network_d",
    [{"form": "unet", "width": 8}, {"form": "patch", "backbone": "squeezenet1_1-r", "trainable": False}],
    ids=["unet", "frozen trunk"],
)
def test_basicsr_trains_a_discriminator(network_d, options, basicsr):
    from basicsr.models import build_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(gan(options, **network_d))
    before = copy.deepcopy(model.net_d.state_dict())
    photograph = torch.from_numpy(skimage.data.astronaut()[:64, 200:264].transpose(2, 0, 1).copy())[None] / 255
    model.feed_data({"lq": nn.functional.avg_pool2d(photograph, 2), "gt": photograph})
    for step in range(4):
        model.optimize_parameters(step)
    assert {"l_g_gan", "l_d_real", "l_d_fake"} <= set(model.get_current_log())
    moved = {name for name, value in model.net_d.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {name for name in before if not network_d.get("trainable", True) and name.startswith("trunk.")}
    assert moved
    assert not moved & frozen


# --- traiNNer-redux and neosr, which do not install from PyPI: their registries, and the lines that call a loss -------


class HostRegistry(dict):
    """What the two programs have in common with BasicSR: things by the names of their classes or functions."""

    def register(self, thing):
        self[thing.__name__] = thing


@pytest.mark.parametrize(("host", "weight_of_host"), [("traiNNer", 0.1), ("neosr", 1.0)])
def test_a_loss_has_the_right_weight_in_each_program(host, weight_of_host, monkeypatch):
    registries = types.SimpleNamespace(LOSS_REGISTRY=HostRegistry(), ARCH_REGISTRY=HostRegistry())
    for name in (host, f"{host}.utils", f"{host}.utils.registry"):
        monkeypatch.setitem(sys.modules, name, registries)
    for part in ("losses", "discriminators"):
        monkeypatch.delitem(sys.modules, f"lopsided.{part}.{host.lower()}_plugin", raising=False)
        importlib.import_module(f"lopsided.{part}.{host.lower()}_plugin")
    image, reference = pair(1, 3, 32, 32)
    expected = DistsSpec.on("squeezenet1_1-r").build()(image, reference)
    loss = registries.LOSS_REGISTRY["LopsidedDISTS"](backbone="squeezenet1_1-r", loss_weight=0.1)
    # traiNNer-redux: l_g_loss * abs(loss.loss_weight); neosr: the loss as it is.
    assert loss.loss_weight == 0.1
    torch.testing.assert_close(weight_of_host * loss(image, reference), 0.1 * expected)
    assert registries.ARCH_REGISTRY["LopsidedDiscriminator"](form="unet", width=8)(image).shape == (1, 1, 32, 32)
    two = registries.LOSS_REGISTRY["LopsidedMeasure"]("l1", slot="perceptual")(image, reference)
    for wrong in (lambda: two * 0.1, lambda: 0.1 * two, lambda: 0 + two, lambda: two / 2):
        with pytest.raises(ValueError, match="'slot: pixel', which gives one, or 'slot: unweighted'"):
            wrong()


# --- Lightning and Accelerate --------------------------------------------------------------------------------------


def falls(printed: str) -> bool:
    before, after = map(float, re.findall(r"DISTS (\S+) -> ([\d.]+)", printed)[0])
    return after < before


def test_lightning_how_to(run, capsys, tmp_path):
    pytest.importorskip("lightning", reason="lightning is not installed")
    variables = run("Lightning")
    assert falls(capsys.readouterr().out)
    own = {"network.weight", "network.bias"}
    saved = torch.load(tmp_path / "restorer.ckpt", weights_only=False)
    assert saved["state_dict"].keys() == own
    variables["model"].load_state_dict(saved["state_dict"], strict=True)
    # Put in on demand, and loaded again by a module that did not ask for it.
    trainer, restorer = variables["trainer"], variables["Restorer"]
    variables["model"].loss.persistent = True
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    whole = torch.load(tmp_path / "whole.ckpt", weights_only=False)["state_dict"]
    assert {name.split(".")[0] for name in whole} == {"network", "loss"}
    restored = restorer.load_from_checkpoint(tmp_path / "whole.ckpt", weights_only=True)
    image, reference = pair(2, 3, 32, 32)
    torch.testing.assert_close(restored.loss(image, reference), variables["model"].loss(image, reference))


def test_accelerate_how_to(run, capsys, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from safetensors.torch import load_file

    run("Accelerate")
    assert falls(capsys.readouterr().out)
    assert load_file(tmp_path / "state" / "model.safetensors").keys() == {"weight", "bias"}


# --- Plain PyTorch -------------------------------------------------------------------------------------------------


def saved_and_loaded(host: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(host, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def averaged(host: nn.Module) -> nn.Module:
    model = AveragedModel(host)
    model.update_parameters(host)
    return model


COPIES = {
    "pickle": lambda host: pickle.loads(pickle.dumps(host)),
    "deepcopy": copy.deepcopy,
    "torch.save": saved_and_loaded,
    "EMA": averaged,
}


@pytest.mark.parametrize("key", ["dists-vgg16-r", "dists-convnext_tiny-r", "lpips-squeezenet1_1-r", "l1"])
def test_a_host_can_be_copied_in_every_way(key):
    host = Host(create_measure(key))
    image, reference = pair(2, 3, 32, 32)
    expected = host(image, reference)
    for name, copied in COPIES.items():
        twin = copied(host)
        assert torch.equal(twin(image, reference), expected), name
        assert not any("loss" in entry for entry in twin.state_dict()), name


@pytest.mark.parametrize("key", ["dists-squeezenet1_1-r", "perceptual-squeezenet1_1-r"])
def test_a_host_moves_to_float64(key):
    host = Host(create_measure(key))
    image, reference = pair(2, 3, 32, 32)
    expected = host(image, reference)
    value = host.to(torch.float64)(image.double(), reference.double())
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, expected.double(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [lambda: DISTS("resnet18-r"), lambda: MeasureGroup(["dists-resnet18-r", "l1"])])
def test_checkpoints_with_and_without_the_measure_are_interchangeable(loss):
    without, within = Host(loss()), Host(loss())
    for module in within.modules():
        if isinstance(module, Measure):
            module.persistent = True
    small, whole = without.state_dict(), within.state_dict()
    assert small.keys() == {"network.weight", "network.bias"}
    assert any(name.startswith("loss.") for name in whole)
    for host in (without, within):
        for state in (small, whole):
            host.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match=r"loss\.extra"):
        without.load_state_dict(whole | {"loss.extra": torch.zeros(1)}, strict=True)


@pytest.mark.slow
def test_compiled_dists_has_no_graph_break_and_is_compiled_for_all_sizes():
    loss = DISTS("vgg16-r")
    counter = CompileCounter()
    torch.compiler.reset()
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    counts = []
    for seed, (batch, height, width) in enumerate([(2, 32, 32), (3, 40, 48), (4, 48, 33), (2, 40, 48)]):
        images = pair(batch, 3, height, width, seed=seed)
        for seen, expected in zip(
            value_and_gradient(compiled, *images), value_and_gradient(loss, *images), strict=True
        ):
            torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-7)
        counts.append(counter.frame_count)
    assert counts == [1, 2, 2, 2] or counts == [1, 2, 3, 3]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler, which torch's inductor needs on the CPU")
def test_inductor_keeps_value_and_gradient():
    loss = DistsSpec.model_validate({"backbone": "squeezenet1_1-r", "layers": ["relu1"]}).build()
    torch.compiler.reset()
    images = pair(2, 3, 32, 32)
    value, gradient = value_and_gradient(torch.compile(loss, fullgraph=True), *images)
    expected, expected_gradient = value_and_gradient(loss, *images)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    assert (gradient - expected_gradient).abs().max() < 1e-5 * expected_gradient.abs().max()


@pytest.mark.slow
@exports
def test_export_how_to(run, capsys):
    run("Plain PyTorch")
    exported, eager = map(float, re.findall(r"exported (\S+), eager (\S+)", capsys.readouterr().out)[0])
    assert exported == pytest.approx(eager, rel=1e-5)
    assert eager > 0


@exports
def test_strictly_exported_program_gives_values_and_gradients_on_other_batches():
    loss = DISTS("squeezenet1_1-r")
    batch = {0: torch.export.Dim("batch", min=2)}
    program = torch.export.export(loss, pair(2, 3, 32, 32), strict=True, dynamic_shapes=(batch, batch)).module()
    for size in (2, 5):
        images = pair(size, 3, 32, 32, seed=size)
        for seen, expected in zip(value_and_gradient(program, *images), value_and_gradient(loss, *images), strict=True):
            torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-8)


WORKER = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from lopsided.losses import DISTS

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
images = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

class Host(nn.Module):
    def __init__(self, inside):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
        self.loss = DISTS("squeezenet1_1-r") if inside else None
    def forward(self, degraded, reference):
        prediction = self.network(degraded)
        return self.loss(prediction, reference) if self.loss else prediction

def train(host, module, inside, degraded, reference):
    outside = None if inside else DISTS("squeezenet1_1-r").double()
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1)
    for _ in range(3):  # unused parameters are an error in the second step
        optimizer.zero_grad()
        out = module(degraded, reference)
        (out if inside else outside(out, reference)).backward()
        optimizer.step()
    return [p.grad for p in host.network.parameters()]

for inside in (False, True):
    host, single = Host(inside).double(), Host(inside).double()
    shard = slice(2 * rank, 2 * rank + 2)
    seen = train(host, DistributedDataParallel(host), inside, *images[:, shard])
    expected = train(single, single, inside, *images)
    assert all(g.abs().max() > 0 for g in expected)
    print(inside, max((a - b).abs().max().item() for a, b in zip(seen, expected)))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_two_processes_train_as_one(tmp_path):
    for out in outputs_of_two(WORKER, tmp_path, timeout=120):
        differences = dict(line.split() for line in out.splitlines())
        assert differences.keys() == {"False", "True"}
        assert all(float(difference) < 1e-6 for difference in differences.values())
