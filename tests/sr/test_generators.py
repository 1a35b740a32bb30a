"""Generators: SwinIR against basicsr's, official files, and the registry and its table."""

import copy
import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from support.paths import ROOT

from lopsided.common.basicsr_compat import load_basicsr
from lopsided.sr import GeneratorSpec, Tiling, build_generator, super_resolve
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.generators import ARCHITECTURES, fitting_generators, list_generators
from lopsided.sr.swinir import SwinIR

load_basicsr()
from basicsr.archs.edsr_arch import EDSR  # noqa: E402
from basicsr.archs.rrdbnet_arch import RRDBNet  # noqa: E402
from basicsr.archs.swinir_arch import SwinIR as TheirSwinIR  # noqa: E402

SMALL = {"embed_dim": 24, "depths": (2, 3), "num_heads": (2, 3)}
# What tells the published configurations apart, besides their size.
VARIANTS = {
    "classical x2": (2, {"upsampler": "pixelshuffle"}),
    "classical x3": (3, {"upsampler": "pixelshuffle"}),
    "classical x4": (4, {"upsampler": "pixelshuffle"}),
    "classical x8": (8, {"upsampler": "pixelshuffle"}),
    "lightweight x2": (2, {"upsampler": "pixelshuffledirect"}),
    "lightweight x3": (3, {"upsampler": "pixelshuffledirect"}),
    "lightweight x4": (4, {"upsampler": "pixelshuffledirect"}),
    "realworld medium": (4, {"upsampler": "nearest+conv"}),
    "realworld large": (4, {"upsampler": "nearest+conv", "resi_connection": "3conv"}),
    "denoise colour": (1, {"upsampler": ""}),
    "denoise grey": (1, {"upsampler": "", "in_chans": 1}),
    "jpeg colour": (1, {"upsampler": "", "window_size": 7, "img_range": 255.0}),
    "jpeg grey": (1, {"upsampler": "", "window_size": 7, "img_range": 255.0, "in_chans": 1}),
}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def twins(scale, options, side=None):
    """Ours and basicsr's with the same weights, spread wide enough for attention to be far from uniform."""
    window = options.get("window_size", 8)
    theirs = TheirSwinIR(upscale=scale, img_size=side or 8 * window, mlp_ratio=2, **{"window_size": 8} | options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            spread = 2.0 if name.endswith("bias_table") else 0.1
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, spread, generator=generator)
    ours = SwinIR(scale, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def slopes(network):
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def gradients(network, images, seed=0):
    torch.manual_seed(seed)
    leaf = images.clone().requires_grad_()
    network.zero_grad()
    restored = network(leaf)
    (restored * rand(*restored.shape, seed=5)).sum().backward()
    assert leaf.grad is not None
    return restored.detach(), slopes(network) | {"images": leaf.grad}


def assert_close(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (ours[name] - value).abs().max() <= tolerance * value.abs().max(), name


# --- SwinIR against basicsr's ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_gradients_equal_basicsrs(variant, training):
    """In training mode too: stochastic depth draws the same numbers.

    In float64: a leaky ReLU's slope jumps at 0, so that in float32 one rounded activation moves gradients by 2e-3.
    basicsr rounds the rates of stochastic depth to float32.
    """
    scale, options = VARIANTS[variant]
    ours, theirs = (network.double().train(training) for network in twins(scale, SMALL | options))
    window = options.get("window_size", 8)
    images = rand(2, options.get("in_chans", 3), 2 * window, 3 * window).double()
    (image, slopes), (their_image, their_slopes) = (gradients(network, images) for network in (ours, theirs))
    tolerance = 2.0**-24 if training else 1e-12
    assert (image - their_image).abs().max() <= tolerance * max(1, their_image.abs().max())
    assert_close(slopes, their_slopes, tolerance)


def test_the_classical_network_equals_basicsrs_in_full_size():
    ours = build_generator(GeneratorSpec(name="swinir-classical"), 4, seed=3).eval()
    theirs = TheirSwinIR(
        upscale=4,
        window_size=8,
        mlp_ratio=2,
        embed_dim=180,
        depths=(6,) * 6,
        num_heads=(6,) * 6,
        upsampler="pixelshuffle",
    ).eval()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False).missing_keys
    assert all(name.endswith("attn_mask") for name in missing)
    images = rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [48, 64])
def test_state_dicts_go_both_ways_strictly(side):
    """In the layout of the files: masks belong to one size of image."""
    ours, theirs = twins(4, SMALL | {"upsampler": "pixelshuffle"}, side)
    state, their_state = ours.official_state_dict(side), theirs.state_dict()
    assert state.keys() == their_state.keys()
    assert all(torch.equal(value, their_state[name]) for name, value in state.items())
    assert state.keys() - ours.state_dict().keys() == {name for name in state if name.endswith("attn_mask")}
    other = SwinIR(4, **SMALL, upsampler="pixelshuffle").eval()
    theirs.load_state_dict(other.official_state_dict(side), strict=True)
    images = rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(other(images), theirs.eval()(images), atol=1e-5, rtol=0)


def test_the_real_world_network_doubles_as_spandrels_does():
    """The authors published it at ×2 too; basicsr has ×4 only."""
    ours = SwinIR(2, **SMALL, upsampler="nearest+conv").eval()
    spandrel = pytest.importorskip("spandrel")
    state = ours.official_state_dict()
    assert {name for name in state if name.startswith("conv_up")} == {"conv_up1.weight", "conv_up1.bias"}
    theirs = spandrel.ModelLoader().load_from_state_dict(state).model.eval()
    images = rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


def test_the_path_of_other_devices_equals_the_cpus(monkeypatch):
    ours, _ = twins(4, SMALL | {"upsampler": "pixelshuffledirect"})
    images = rand(2, 3, 16, 24)
    image, slopes = gradients(ours, images)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    fused_image, fused_slopes = gradients(ours, images)
    torch.testing.assert_close(image, fused_image, atol=1e-4, rtol=1e-5)
    assert_close(slopes, fused_slopes, 1e-4)


@pytest.mark.parametrize("block", [1, 1 << 14, 1 << 30])
def test_blocks_do_not_change_the_numbers(monkeypatch, block):
    ours, _ = twins(2, SMALL | {"upsampler": "pixelshuffledirect"})
    images = rand(3, 3, 16, 24)
    image, slopes = gradients(ours, images)
    monkeypatch.setattr("lopsided.common.blocks.BLOCK", block)
    other_image, other_slopes = gradients(ours, images)
    torch.testing.assert_close(image, other_image, atol=1e-5, rtol=1e-5)
    assert_close(other_slopes, slopes, 1e-4)


def test_bfloat16_autocast_stays_near_float32():
    """Layer norms too, whose gradients a CPU would add up in bfloat16, and lose up to half of them."""
    ours = build_generator(GeneratorSpec(name="swinir-tiny"), 4)
    images = rand(2, 3, 16, 24)
    exact, slopes = gradients(ours.eval(), images)
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_slopes = gradients(ours, images)
    assert (rough - exact).abs().max() < 0.03
    for name, slope in slopes.items():
        assert (rough_slopes[name] - slope).norm() < 0.1 * slope.norm(), name


def test_swinir_copies_compiles_and_exports():
    ours = SwinIR(2, embed_dim=8, depths=(2,), num_heads=(2,), upsampler="pixelshuffledirect").eval()
    images = rand(1, 3, 16, 24)
    with torch.no_grad():
        expected = ours(images)
        assert torch.equal(copy.deepcopy(ours)(images), expected)
        compiled = torch.compile(ours, backend="aot_eager")
        torch.testing.assert_close(compiled(images), expected, atol=1e-5, rtol=0)
        exported = torch.export.export(ours, (images,)).module()
        torch.testing.assert_close(exported(images), expected, atol=1e-5, rtol=0)


def test_compiled_training_gives_the_same_gradients():
    ours = SwinIR(2, embed_dim=8, depths=(2,), num_heads=(2,), upsampler="pixelshuffledirect").eval()
    images = rand(2, 3, 16, 16)
    _, slopes = gradients(ours, images)
    ours.compile(backend="aot_eager")
    assert_close(gradients(ours, images)[1], slopes, 1e-4)


def test_stochastic_depth_is_drawn_by_the_default_generator():
    ours = build_generator(GeneratorSpec(name="swinir-tiny"), 2)
    images = rand(8, 3, 8, 8)

    def restored(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return ours(images)

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(restored(0), restored(0))
        assert any(not torch.equal(restored(0), restored(seed)) for seed in range(1, 20))


def test_swinir_refuses_what_it_cannot_do():
    network = SwinIR(2, **SMALL, upsampler="pixelshuffle")
    with pytest.raises(SuperResolutionError, match="multiples of 8 px, got 16×20"):
        network(torch.zeros(1, 3, 16, 20))
    for scale, upsampler in ((1, "pixelshuffle"), (2, ""), (3, "nearest+conv"), (2, "bilinear")):
        with pytest.raises(SuperResolutionError, match=f"upsampler '{re.escape(upsampler)}' has no ×{scale}"):
            SwinIR(scale, **SMALL, upsampler=upsampler)
    with pytest.raises(SuperResolutionError, match="resi_connection 1conv and 3conv, not '2conv'"):
        SwinIR(2, **SMALL, upsampler="pixelshuffle", resi_connection="2conv")


# --- the registry ---------------------------------------------------------------------------------------------------

CASES = [(name, scale) for name, architecture in ARCHITECTURES.items() for scale in architecture.scales]
LIGHT = ["swinir-tiny", "swinir-small", "rrdb-tiny", "edsr-tiny", "srresnet"]


@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if case[0] in LIGHT])
def test_generators_enlarge_by_their_scale_and_learn(name, scale):
    spec = GeneratorSpec(name=name)
    generator = build_generator(spec, scale)
    images = rand(1, 3, 17, 18)  # no multiples of anything
    restored = super_resolve(generator, images, scale, multiple=spec.side_multiple(scale))
    assert restored.shape == (1, 3, 17 * scale, 18 * scale)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert generator.training  # left as it was
    check_step(generator, spec, scale)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if case[0] in LIGHT])
def test_restoring_equals_the_bare_network(name, scale, tiled):
    """At sides from 16 to 40 that the network itself takes: every one for the smallest of each family."""
    spec = GeneratorSpec(name=name)
    generator = build_generator(spec, scale).eval()
    multiple = spec.side_multiple(scale)
    tiling = None
    if tiled:  # RRDBNet at ×1 sees four times as far, on pixels unshuffled by 4
        tiling = Tiling(tile=36, overlap=32) if multiple == 4 else Tiling(tile=32, overlap=24)
    sides = [side for side in range(16, 41) if side % multiple == 0][:: 1 if name.endswith("tiny") else 6]
    if multiple == 1:
        with torch.no_grad():
            assert generator(rand(1, 3, 17, 19)).shape == (1, 3, 17 * scale, 19 * scale)
    for height, width in zip(sides, reversed(sides), strict=True):
        images = rand(1, 3, height, width)
        with torch.no_grad():
            bare = generator(images).clamp(0, 1)
        restored = super_resolve(generator, images, scale, multiple=multiple, tiling=tiling)
        torch.testing.assert_close(restored, bare, atol=1e-4, rtol=0)


def check_step(generator, spec, scale):
    """One training step moves every parameter by a finite amount."""
    multiple = spec.side_multiple(scale)
    side = multiple * max(1, 8 // multiple)
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    optimiser = torch.optim.Adam(generator.parameters(), 1e-3)
    F.mse_loss(generator.eval()(rand(1, 3, side, side)), rand(1, 3, side * scale, side * scale, seed=1)).backward()
    assert all(torch.isfinite(p.grad).all() for p in generator.parameters() if p.grad is not None)
    optimiser.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True)]
    # A bias that shifts a query's product with all keys alike, and one of a unit that is never active, have no slope.
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in LIGHT])
def test_large_generators_build_enlarge_and_learn(name):
    spec = GeneratorSpec(name=name)
    generator = build_generator(spec, spec.scales[-1])
    check_step(generator, spec, spec.scales[-1])


@pytest.mark.parametrize("name", LIGHT)
def test_generators_take_images_in_0_to_1(name):
    """A constant added to the image comes out again only where the mean is handled; the range is that of the input."""
    generator = build_generator(GeneratorSpec(name=name), 2).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
        black = generator(torch.zeros(1, 3, 8, 8))
    # With no weights at all EDSR and SwinIR say the mean colour of DIV2K, the others what their skip connection says.
    mean = torch.tensor((0.4488, 0.4371, 0.4040)) if name.startswith(("swinir", "edsr")) else torch.zeros(3)
    torch.testing.assert_close(black.mean((0, 2, 3)), mean)


def test_seeds_decide_the_weights_and_leave_torchs_generator_alone():
    spec = GeneratorSpec(name="swinir-tiny")
    before = torch.random.get_rng_state()
    first, again, other = (build_generator(spec, 2, seed=seed).get_parameter("conv_first.weight") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_bad_generators_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="did you mean 'swinir-tiny'"):
        GeneratorSpec(name="swinir-tinny")
    with pytest.raises(SuperResolutionError, match="'swinir-realworld' has no ×3, only ×2, ×4"):
        build_generator(GeneratorSpec(name="swinir-realworld"), 3)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(SuperResolutionError, match="cannot read weights"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(broken)), 4)
    with pytest.raises(SuperResolutionError, match="no weights file"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(tmp_path / "none.pth")), 4)


# --- official files -------------------------------------------------------------------------------------------------


def official(name):
    """A network of basicsr's as the published file of that name was made from."""
    lightweight = {"embed_dim": 60, "depths": (6,) * 4, "num_heads": (6,) * 4, "upsampler": "pixelshuffledirect"}
    medium = {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6}
    return {
        "swinir-lightweight": lambda: TheirSwinIR(upscale=2, img_size=64, window_size=8, mlp_ratio=2, **lightweight),
        "swinir-denoise": lambda: TheirSwinIR(upscale=1, img_size=128, window_size=8, mlp_ratio=2, **medium),
        "swinir-jpeg": lambda: TheirSwinIR(
            upscale=1, img_size=126, window_size=7, mlp_ratio=2, img_range=255.0, **medium
        ),
        "rrdb-small": lambda: RRDBNet(3, 3, scale=4, num_block=6),
        "edsr-baseline": lambda: EDSR(3, 3, upscale=2),
    }[name]()


@pytest.mark.parametrize(
    ("name", "scale", "layout"),
    [
        ("swinir-lightweight", 2, "params"),
        ("swinir-denoise", 1, "params"),
        ("swinir-jpeg", 1, None),
        ("rrdb-small", 4, "params_ema"),
        ("edsr-baseline", 2, "params"),
    ],
)
def test_official_files_load_strictly_and_restore_alike(tmp_path, name, scale, layout):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = official(name).eval()
    path = tmp_path / "official.pth"
    state = theirs.state_dict()
    torch.save({layout: state} if layout else state, path)
    spec = GeneratorSpec(name=name, weights=str(path))
    ours = build_generator(spec, scale, seed=2).eval()
    side = 2 * spec.side_multiple(scale) if "swinir" in name else 12
    images = rand(1, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


def test_esrgans_first_files_load(tmp_path):
    theirs = RRDBNet(3, 3, scale=4, num_feat=32, num_grow_ch=16, num_block=2)
    state = {}
    for name, value in theirs.state_dict().items():
        name = re.sub(r"^body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB", name)
        name = name.replace("conv_body", "trunk_conv").replace("conv_up", "upconv").replace("conv_hr", "HRconv")
        state[name] = value
    path = tmp_path / "RRDB_ESRGAN_x4.pth"
    torch.save(state, path)
    ours = build_generator(GeneratorSpec(name="rrdb-tiny", weights=str(path)), 4)
    images = rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_a_file_of_another_generator_is_refused_with_the_name_of_the_one_it_fits(tmp_path):
    path = tmp_path / "file.pth"
    torch.save({"params": build_generator(GeneratorSpec(name="swinir-lightweight"), 3).state_dict()}, path)
    with pytest.raises(SuperResolutionError, match=r"does not fit this generator: it fits swinir-lightweight at ×3"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(path)), 4)
    torch.save({"params": {"weight": torch.zeros(3)}}, path)
    with pytest.raises(SuperResolutionError, match=r"does not fit this generator: Error\(s\) in loading"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(path)), 4)


@pytest.mark.parametrize(("name", "scale"), [("swinir-jpeg", 1), ("edsr-baseline", 1)])
def test_state_dicts_are_recognised(name, scale):
    state = build_generator(GeneratorSpec(name=name), scale).state_dict()
    assert fitting_generators(state) == [f"{name} at ×{scale}"]


# --- the table of docs/generators.md --------------------------------------------------------------------------------


def table():
    """Rows of the table, by name: scales, side multiple, parameters, source."""
    text = (ROOT / "docs" / "generators.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| ([×\d ]+) \| ([\d, ]+) \| ([\d,]+) \| (.+) \|$", text, re.MULTILINE)
    return {name: row for name, *row in rows}


def test_the_table_lists_every_generator():
    assert list(table()) == list_generators()
    for name, (scales, multiple, _, source) in table().items():
        spec = GeneratorSpec(name=name)
        assert scales == " ".join(f"×{scale}" for scale in spec.scales), name
        expected = dict.fromkeys(str(spec.side_multiple(scale)) for scale in spec.scales)
        assert multiple == ", ".join(expected), name
        assert source == ARCHITECTURES[name].source, name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_tables_parameters_are_those_of_the_largest_scale(name):
    scale = ARCHITECTURES[name].scales[-1]
    with torch.device("cpu" if name.startswith("hat") else "meta"):
        generator = build_generator(GeneratorSpec(name=name), scale)
    assert f"{sum(p.numel() for p in generator.parameters()):,}" == table()[name][2]


def test_the_examples_of_the_docs_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))  # one example registers a network
    text = (ROOT / "docs" / "generators.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for example in examples:
        exec(example, {})
    assert len(examples) == 2
    assert build_generator(GeneratorSpec(name="one-layer"), 2)(rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    assert (tmp_path / "net_g.pth").is_file()
