"""Measures under torch.func and forward-mode differentiation, refused by TorchScript, and sharded by FSDP."""

import re

import pytest
import torch
from support.photograph import build, crop, degrade
from support.two_processes import outputs_of_two
from torch import nn
from torch.autograd import forward_ad
from torch.func import grad, hessian, jvp, vmap

from lopsided.discriminators import build_discriminator, gradient_penalty, list_discriminators, r1_penalty
from lopsided.discriminators.errors import DiscriminatorError
from lopsided.losses import MeasureError, MeasureGroup

OWN = ["l1", "charbonnier", "psnr_y", "ssim", "ms_ssim", "gmsd", "nlpd"]
DEEP = [f"{family}-squeezenet1_1-r" for family in ("dists", "lpips", "perceptual", "style", "contextual")]
OTHERS = ["fsim", "vsi", "vif", "cw_ssim", "dists-clip_vit_b32-r"]


def pair(key, samples=1):
    side = max(build(key).spec.min_size, 40)
    reference = torch.cat([crop(side + 8 * k)[..., -side:, -side:] for k in range(samples)])
    return degrade(reference), reference


def gradient_of(key, image, reference):
    leaf = image.clone().requires_grad_()
    return torch.autograd.grad(build(key)(leaf, reference), leaf)[0]


def close(seen, expected, tolerance=1e-3):
    return (seen - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("key", [*OWN, *DEEP, *OTHERS])
def test_grad_and_jvp_are_the_derivatives_of_autograd(key):
    image, reference = pair(key)
    expected = gradient_of(key, image, reference)
    assert expected.abs().max() > 0
    assert close(grad(build(key))(image, reference), expected)
    value, slope = jvp(lambda x: build(key)(x, reference), (image,), (expected,))  # pyright: ignore[reportAssignmentType]
    torch.testing.assert_close(value, build(key)(image, reference), rtol=1e-4, atol=1e-7)
    assert close(slope, expected.square().sum())
    with forward_ad.dual_level():
        loss = build(key)(forward_ad.make_dual(image, expected), reference)
        assert close(forward_ad.unpack_dual(loss).tangent, expected.square().sum())


@pytest.mark.parametrize("key", [*OWN, *DEEP, *(key for key in OTHERS if key != "vif")])
def test_vmap_scores_and_differentiates_each_pair_alone(key):
    images, references = pair(key, samples=2)

    def loss(image, reference):
        return build(key)(image[None], reference[None])

    expected = torch.stack([loss(*both).detach() for both in zip(images, references, strict=True)])
    torch.testing.assert_close(vmap(loss)(images, references), expected, rtol=1e-4, atol=1e-7)
    gradients = [gradient_of(key, images[k : k + 1], references[k : k + 1]) for k in (0, 1)]
    assert close(vmap(grad(loss))(images, references), torch.cat(gradients))


def test_vmap_of_vif_is_refused_by_name():
    images, references = pair("vif", samples=2)
    with pytest.raises(MeasureError, match=r"vif: pyiqa .* failed on images"):
        vmap(lambda x, y: build("vif")(x[None], y[None]))(images, references)


@pytest.mark.parametrize("key", ["ssim", "gmsd", *DEEP])
def test_second_derivatives_agree_forward_over_reverse(key):
    image, reference = pair(key)
    leaf, direction = image.clone().requires_grad_(), gradient_of(key, image, reference)
    (first,) = torch.autograd.grad(build(key)(leaf, reference), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(first, leaf, direction)
    assert close(jvp(grad(lambda x: build(key)(x, reference)), (image,), (direction,))[1], expected, 1e-2)


def test_hessian_of_a_factor():
    """The second derivative with respect to one number, by hand from values."""
    image, reference = (x.double() for x in pair("ssim"))
    loss = lambda factor: build("ssim")(factor * image, reference)  # noqa: E731
    one, step = torch.tensor(0.9, dtype=torch.float64), 1e-4
    numeric = (loss(one + step) - 2 * loss(one) + loss(one - step)) / step**2
    assert hessian(loss)(one).item() == pytest.approx(numeric.item(), rel=1e-4)


def test_a_group_works_too():
    group = MeasureGroup(["l1", "ssim", "dists-squeezenet1_1-r", "style-squeezenet1_1-r"])
    image, reference = pair("ssim")

    def total(x):
        return torch.stack(list(group(x, reference).values())).sum()

    leaf = image.clone().requires_grad_()
    assert close(grad(total)(image), torch.autograd.grad(total(leaf), leaf)[0])


@pytest.mark.parametrize("key", ["ssim", "dists-squeezenet1_1-r"])
def test_values_are_checked_under_transforms(key):
    images, references = pair(key, samples=2)
    with pytest.raises(MeasureError, match=re.escape("must be in [0, 1]")):
        vmap(lambda x, y: build(key)(x[None], y[None]))(images * 255, references)
    with pytest.raises(MeasureError, match=re.escape("must be in [0, 1]")):
        grad(build(key))(images, references * 255)


@pytest.mark.parametrize("penalty", ["r1", "gradient"])
def test_penalties_reach_through_attention(penalty):
    """Fused attention has no second derivative."""
    network = build_discriminator("patch-clip_vit_b32-r")
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = (
        r1_penalty(network, images[0])
        if penalty == "r1"
        else gradient_penalty(network, images[0], images[1], torch.Generator())
    )
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["trunk.trunk.pos_embed"].abs().sum() > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_torchscript_is_refused_by_name_with_the_way_out():
    host = nn.Sequential(nn.Conv2d(3, 3, 1), build("ssim"))
    for module in (host, build("dists-squeezenet1_1-r"), MeasureGroup(["l1"])):
        with pytest.raises(MeasureError, match=r"cannot read a measure; use torch.compile, torch.export or"):
            torch.jit.script(module)
    assert "unet" in list_discriminators()
    with pytest.raises(DiscriminatorError, match=r"'unet.*': torch.jit.script cannot read it; use torch.compile"):
        torch.jit.script(build_discriminator({"form": "unet", "width": 4}))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*")
@pytest.mark.parametrize("key", ["ssim", "dists-squeezenet1_1-r"])
def test_traced_measures_give_the_values_of_other_images(key):
    images, references = pair(key, samples=2)
    traced = torch.jit.trace(build(key), (images[:1], references[:1]))
    torch.testing.assert_close(traced(images[1:], references[1:]), build(key)(images[1:], references[1:]))  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("key", [k for k in OWN if k != "psnr_y"])
def test_handcrafted_measures_compile_without_a_graph_break(key):
    torch.compiler.reset()
    image, reference = pair(key)
    leaf = image.clone().requires_grad_()
    loss = torch.compile(build(key), backend="aot_eager", fullgraph=True)(leaf, reference)
    torch.testing.assert_close(loss, build(key)(image, reference), rtol=1e-5, atol=1e-7)
    assert close(torch.autograd.grad(loss, leaf)[0], gradient_of(key, image, reference), 1e-4)


@pytest.mark.parametrize("key", ["ssim", "dists-squeezenet1_1-r"])
def test_a_compiled_gradient_of_torch_func_is_the_gradient(key):
    torch.compiler.reset()
    image, reference = pair(key)
    compiled = torch.compile(grad(build(key)), backend="aot_eager")
    assert close(compiled(image, reference), gradient_of(key, image, reference), 1e-4)


WORKER = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from lopsided.discriminators import build_discriminator
from lopsided.losses import create_measure

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
images = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))

class Host(nn.Module):
    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
        self.loss = loss()
    def forward(self, degraded, reference):
        prediction = self.network(degraded)
        if hasattr(self.loss, "spectral"):
            return self.loss(prediction).square().mean()
        return self.loss(prediction, reference)

class Adversary(nn.Module):
    spectral = True
    def __init__(self):
        super().__init__()
        self.network = build_discriminator({"form": "patch", "backbone": "squeezenet1_1-r", "frozen_stages": 1})
    def forward(self, images):
        return self.network(images)

def whole(host):
    return FullyShardedDataParallel(host, device_id=torch.device("cpu"))

def original(host):
    return FullyShardedDataParallel(host, device_id=torch.device("cpu"), use_orig_params=True)

def second(host):
    fully_shard(host.network, mesh=mesh)
    return fully_shard(host, mesh=mesh) or host

def train(host, degraded, reference):
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = host(degraded, reference)
        loss.backward()
        optimizer.step()
    return loss.detach()

def dists():
    return create_measure("dists-squeezenet1_1-r")

LOSSES = {"ssim": lambda: create_measure("ssim"), "dists": dists, "D": Adversary}
for name, loss in LOSSES.items():
    expected = train(Host(loss), *images)
    for wrap in (whole, original, second):
        seen = train(wrap(Host(loss)), *images[:, 2 * rank : 2 * rank + 2])
        dist.all_reduce(seen)
        print(name, wrap.__name__, abs(seen.item() / 2 / expected.item() - 1))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_sharded_hosts_train_as_one_process(tmp_path):
    for out in outputs_of_two(WORKER, tmp_path, timeout=240):
        found = {tuple(line.split()[:2]): float(line.split()[2]) for line in out.splitlines()}
        assert len(found) == 9
        assert all(difference < 1e-4 for difference in found.values()), found
