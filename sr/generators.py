"""Generators by name: SwinIR and the networks of basicsr and spandrel; official checkpoints load strictly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ..common.basicsr_compat import load_basicsr
from ..common.building import building
from ..common.errors import did_you_mean, one_line
from ..common.fields import Keyed
from ..common.identity import identity, sha256_file
from ..common.paths import expanded
from ..common.registry import Registry
from ..common.state_dicts import read_state_dict
from .errors import SuperResolutionError
from .swinir import SwinIR


class Architecture(NamedTuple):
    """A network that can be built.

    Attributes:
        build: builds it for a scale, with random weights.
        scales: magnifications that it supports.
        side_multiple: LR sides must be multiples of it; a mapping where it depends on the scale.
        width: channels after the first convolution.
        source: paper, or what it is for.
    """

    build: Callable[[int], nn.Module]
    scales: tuple[int, ...]
    side_multiple: int | Mapping[int, int]
    width: int
    source: str


_LIANG = "Liang et al., 2021 (SwinIR)"
_CHEN = "Chen et al., 2023 (HAT)"
_LAPTOP = "ours: for laptops and tests"


def _swinir(scale: int, *, upsampler: str, **options: Any) -> nn.Module:
    return SwinIR(scale, upsampler=upsampler if scale > 1 else "", **options)


def _rrdb(scale: int, **options: Any) -> nn.Module:
    load_basicsr()
    from basicsr.archs.rrdbnet_arch import RRDBNet

    return RRDBNet(3, 3, scale=scale, **options)


def _edsr(scale: int, **options: Any) -> nn.Module:
    load_basicsr()
    from basicsr.archs.edsr_arch import EDSR

    return EDSR(3, 3, upscale=scale, **options)


def _rcan(scale: int, **options: Any) -> nn.Module:
    load_basicsr()
    from basicsr.archs.rcan_arch import RCAN

    return RCAN(3, 3, upscale=scale, **options)


def _srresnet(scale: int, **options: Any) -> nn.Module:
    load_basicsr()
    from basicsr.archs.srresnet_arch import MSRResNet

    return MSRResNet(upscale=scale, **options)


def _hat(scale: int, *, groups: int = 6, **options: Any) -> nn.Module:
    try:
        from spandrel.architectures.HAT import HAT
    except ImportError as error:
        raise SuperResolutionError(f"HAT needs spandrel ({one_line(error)}): pip install 'lopsided[study]'") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")  # spandrel's call; the result is right
        return HAT(upscale=scale, window_size=16, mlp_ratio=2, depths=(6,) * groups, num_heads=(6,) * groups, **options)


_DIRECT = {"upsampler": "pixelshuffledirect"}
_MEDIUM = {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6}
_LARGE = {"embed_dim": 240, "depths": (6,) * 9, "num_heads": (8,) * 9, "resi_connection": "3conv"}
_EVERY, _ENLARGING = (1, 2, 3, 4), (2, 3, 4)


ARCHITECTURES: Registry[Architecture] = Registry("generator")
SHIPPED = Path(__file__).parent / "weights"


def _add(
    name: str,
    build: Callable[..., nn.Module],
    scales: tuple[int, ...],
    side_multiple: int | Mapping[int, int],
    source: str,
    **options: Any,
) -> None:
    width = options.get("embed_dim", options.get("num_feat", 64))
    ARCHITECTURES.register(name, Architecture(partial(build, **options), scales, side_multiple, width, source))


# SwinIR's configurations are those of the authors' test script, the others those of basicsr's and HAT's option files.
_add("swinir-tiny", _swinir, _EVERY, 8, _LAPTOP, embed_dim=32, depths=(2,) * 2, num_heads=(2,) * 2, **_DIRECT)
_add("swinir-small", _swinir, _EVERY, 8, _LAPTOP, embed_dim=48, depths=(4,) * 2, num_heads=(4,) * 2, **_DIRECT)
_add("swinir-lightweight", _swinir, _EVERY, 8, _LIANG, embed_dim=60, depths=(6,) * 4, num_heads=(6,) * 4, **_DIRECT)
_add("swinir-classical", _swinir, _ENLARGING, 8, _LIANG, upsampler="pixelshuffle", **_MEDIUM)
_add("swinir-realworld", _swinir, (2, 4), 8, _LIANG, upsampler="nearest+conv", **_MEDIUM)
_add("swinir-realworld-large", _swinir, (4,), 8, _LIANG, upsampler="nearest+conv", **_LARGE)
_add("swinir-denoise", _swinir, (1,), 8, _LIANG, upsampler="", **_MEDIUM)
_add("swinir-jpeg", _swinir, (1,), 7, _LIANG, upsampler="", window_size=7, img_range=255.0, **_MEDIUM)
# RRDBNet unshuffles pixels at ×1 and ×2, so sides are multiples of 4 and 2 there. At ×4 any side fits, and padding
# would change the result: convolutions see zeros beyond the border, not the reflected image.
_UNSHUFFLED = {1: 4, 2: 2, 4: 1}
_add("rrdb-tiny", _rrdb, (1, 2, 4), _UNSHUFFLED, _LAPTOP, num_feat=32, num_grow_ch=16, num_block=2)
_add("rrdb-small", _rrdb, (1, 2, 4), _UNSHUFFLED, "Wang et al., 2021 (Real-ESRGAN, anime 6B)", num_block=6)
_add("rrdb", _rrdb, (1, 2, 4), _UNSHUFFLED, "Wang et al., 2018 (ESRGAN); 2021 (Real-ESRGAN)")
_add("edsr-tiny", _edsr, _EVERY, 1, _LAPTOP, num_feat=32, num_block=8)
_add("edsr-baseline", _edsr, _EVERY, 1, "Lim et al., 2017 (EDSR)")
_add("edsr", _edsr, _EVERY, 1, "Lim et al., 2017 (EDSR)", num_feat=256, num_block=32, res_scale=0.1)
_add("rcan", _rcan, _EVERY, 1, "Zhang et al., 2018 (RCAN)", num_block=20)
_add("srresnet", _srresnet, _ENLARGING, 1, "Ledig et al., 2017 (SRGAN), without batch normalisation")
_add("hat-small", _hat, _ENLARGING, 16, _CHEN, embed_dim=144, compress_ratio=24, squeeze_factor=24)
_add("hat", _hat, _ENLARGING, 16, _CHEN, embed_dim=180)
_add("hat-large", _hat, _ENLARGING, 16, _CHEN, embed_dim=180, groups=12)


class GeneratorSpec(Keyed):
    """A generator; in YAML ``swinir-tiny`` or a mapping.

    Attributes:
        name: one of :func:`list_generators`.
        weights: checkpoint to start from instead of random weights: an official or own file, or the name of one that
            comes with this package, ``swinir-tiny-x4``.

    Examples:
        >>> GeneratorSpec.model_validate("swinir-tiny") == GeneratorSpec(name="swinir-tiny")
        True
        >>> GeneratorSpec(name="rrdb").scales
        (1, 2, 4)
    """

    name: str = Field(description="A generator, such as swinir-tiny, edsr-baseline or rrdb; docs/generators.md.")
    weights: str | None = Field(
        default=None,
        description="Checkpoint (.pth, .safetensors) to start from; `swinir-tiny-x4` comes with the package.",
    )

    @model_validator(mode="after")
    def _known(self) -> GeneratorSpec:
        if self.name not in list_generators():
            raise ValueError(f"unknown generator '{self.name}'; {did_you_mean(self.name, list_generators())}")
        return self

    @property
    def scales(self) -> tuple[int, ...]:
        """Magnifications that it supports; 1 restores at the same size."""
        return ARCHITECTURES[self.name].scales

    def side_multiple(self, scale: int) -> int:
        """Return what the sides of LR images must be multiples of at that scale."""
        multiple = ARCHITECTURES[self.name].side_multiple
        return multiple if isinstance(multiple, int) else multiple[scale]

    def definition(self) -> dict[str, Any]:
        """Return the configuration and the SHA-256 of the starting weights.

        Raises:
            SuperResolutionError: the file of weights does not exist.
        """
        weights = None
        if self.weights is not None:
            path = weights_path(self.weights)
            if not path.is_file():
                raise SuperResolutionError(f"generator '{self.name}': no weights file '{path}'")
            weights = sha256_file(path)
        return {"name": self.name, "weights": weights}

    @property
    def identity(self) -> str:
        """Short content hash of the definition.

        Raises:
            SuperResolutionError: the file of weights does not exist.
        """
        return identity({"kind": "generator", **self.definition()})


def list_generators() -> list[str]:
    """Return every generator's name."""
    return list(ARCHITECTURES)


@building()
def build_generator(spec: GeneratorSpec, scale: int, *, seed: int = 0) -> nn.Module:
    """Build a generator on the CPU: LR images ``(N, 3, h, w)`` in [0, 1] to ``(N, 3, scale·h, scale·w)``, unclamped.

    Height and width of the input must be multiples of ``spec.side_multiple(scale)``;
    :func:`~lopsided.sr.super_resolve` pads.

    Args:
        spec: the generator.
        scale: one of ``spec.scales``.
        seed: seed of the random weights.

    Raises:
        SuperResolutionError: a scale that the generator does not support, or a checkpoint that does not fit.
        BasicsrUnavailableError: a network of basicsr's, where basicsr cannot be imported.

    Examples:
        >>> generator = build_generator(GeneratorSpec(name="swinir-tiny"), 4)
        >>> generator(torch.rand(1, 3, 16, 24)).shape
        torch.Size([1, 3, 64, 96])
    """
    if scale not in spec.scales:
        has = ", ".join(f"×{scale}" for scale in spec.scales)
        raise SuperResolutionError(f"'{spec.name}' has no ×{scale}, only {has}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = ARCHITECTURES[spec.name].build(scale)
    if spec.weights is not None:
        load_generator(generator, spec.weights)
    return generator


def load_generator(generator: nn.Module, path: Path | str) -> None:
    """Load a checkpoint strictly: a plain state dict, or one under ``params_ema`` / ``params`` as basicsr writes it.

    ESRGAN's first files, whose layers have other names, are read too.

    Raises:
        SuperResolutionError: missing, unreadable or ill-fitting file; the message names a generator that it fits.
    """
    state = learnt(_renamed(read_state(weights_path(path))))
    own = generator.state_dict()
    constants = {name: own[name] for name in own.keys() - learnt(own).keys()}
    try:
        generator.load_state_dict(state | constants, strict=True)
    except RuntimeError as error:
        fits = fitting_generators(state)
        detail = f"it fits {' and '.join(fits)}" if fits else one_line(error, 240)
        raise SuperResolutionError(f"'{path}' does not fit this generator: {detail}") from None


def weights_path(weights: Path | str) -> Path:
    """Return the file that ``weights`` names: one that comes with this package, by its name, or any by its path."""
    shipped = SHIPPED / f"{weights}.safetensors"
    return shipped if shipped.parent == SHIPPED and shipped.is_file() else expanded(weights)


def list_shipped() -> list[str]:
    """Return the names of the checkpoints that come with this package.

    Examples:
        >>> list_shipped()
        ['swinir-tiny-x4']
    """
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def fitting_generators(state: dict[str, Tensor]) -> list[str]:
    """Return ``<name> at ×<scale>`` of every generator whose parameters have the names and shapes of a state dict."""
    shapes = {name: value.shape for name, value in learnt(state).items()}
    width = shapes.get("conv_first.weight", (0,))[0]
    hat = any("overlap_attn" in name for name in shapes)
    found = []
    for name, architecture in ARCHITECTURES.items():
        if architecture.width != width or name.startswith("hat") != hat:
            continue
        for scale in architecture.scales:
            # On the meta device networks take no memory and no initialisation; spandrel's HAT cannot be built there.
            with torch.random.fork_rng(devices=[]), torch.device("cpu" if hat else "meta"):
                network = architecture.build(scale)
            if shapes == {key: value.shape for key, value in learnt(network.state_dict()).items()}:
                found.append(f"{name} at ×{scale}")
    return found


def learnt(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out masks and indices: they follow from window and image size, and every network computes its own."""
    constants = ("attn_mask", "relative_position_index", "relative_position_index_SA", "relative_position_index_OCA")
    return {name: value for name, value in state.items() if not name.endswith(constants)}


# Layers of ESRGAN's first files, and what they are called now.
_ESRGAN = {"RRDB_trunk": "body", "RDB": "rdb", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.startswith("RRDB_trunk") for name in state):
        return state
    for old, new in _ESRGAN.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a basicsr ``.pth``, the averaged weights where it has them.

    Raises:
        SuperResolutionError: missing or unreadable file, or one that holds something else.
    """
    return read_state_dict(Path(path), SuperResolutionError, under=("params_ema", "params"))
