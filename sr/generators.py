"""Generators by name: SwinIR, and the networks of basicsr and spandrel; official checkpoints load strictly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ..common.errors import did_you_mean
from ..common.identity import sha256_file
from ..common.state_dicts import read_state_dict
from .errors import SuperResolutionError
from .swinir import SwinIR


class Architecture(NamedTuple):
    """A network that can be built.

    Attributes:
        build: builds it for a scale, with random weights.
        scales: magnifications it has.
        side_multiple: LR sides must be multiples of it.
        width: channels after the first convolution.
        source: paper, or what it is for.
    """

    build: Callable[[int], nn.Module]
    scales: tuple[int, ...]
    side_multiple: int
    width: int
    source: str


_LIANG = "Liang et al., 2021 (SwinIR)"
_LAPTOP = "ours: for laptops and tests"


def _swinir(scale: int, *, upsampler: str, **options: Any) -> nn.Module:
    return SwinIR(scale, upsampler=upsampler if scale > 1 else "", **options)


def _rrdb(scale: int, **options: Any) -> nn.Module:
    from basicsr.archs.rrdbnet_arch import RRDBNet

    return RRDBNet(3, 3, scale=scale, **options)


def _edsr(scale: int, **options: Any) -> nn.Module:
    from basicsr.archs.edsr_arch import EDSR

    return EDSR(3, 3, upscale=scale, **options)


def _rcan(scale: int, **options: Any) -> nn.Module:
    from basicsr.archs.rcan_arch import RCAN

    return RCAN(3, 3, upscale=scale, **options)


def _srresnet(scale: int, **options: Any) -> nn.Module:
    from basicsr.archs.srresnet_arch import MSRResNet

    return MSRResNet(upscale=scale, **options)


def _hat(scale: int, *, groups: int = 6, **options: Any) -> nn.Module:
    try:
        from spandrel.architectures.HAT import HAT
    except ImportError as error:
        raise SuperResolutionError(f"HAT needs spandrel ({error}): pip install 'lopsided[study]'") from error
    return HAT(upscale=scale, window_size=16, mlp_ratio=2, depths=(6,) * groups, num_heads=(6,) * groups, **options)


_DIRECT = {"upsampler": "pixelshuffledirect"}
_MEDIUM = {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6}
_LARGE = {"embed_dim": 240, "depths": (6,) * 9, "num_heads": (8,) * 9, "resi_connection": "3conv"}
_EVERY, _ENLARGING = (1, 2, 3, 4), (2, 3, 4)


def _entry(
    build: Callable[..., nn.Module], scales: tuple[int, ...], side_multiple: int, source: str, **options: Any
) -> Architecture:
    width = options.get("embed_dim", options.get("num_feat", 64))
    return Architecture(partial(build, **options), scales, side_multiple, width, source)


# SwinIR's configurations are those of the authors' test script, the others those of basicsr's and HAT's option files.
ARCHITECTURES: dict[str, Architecture] = {
    "swinir-tiny": _entry(_swinir, _EVERY, 8, _LAPTOP, embed_dim=32, depths=(2,) * 2, num_heads=(2,) * 2, **_DIRECT),
    "swinir-small": _entry(_swinir, _EVERY, 8, _LAPTOP, embed_dim=48, depths=(4,) * 2, num_heads=(4,) * 2, **_DIRECT),
    "swinir-lightweight": _entry(
        _swinir, _EVERY, 8, _LIANG, embed_dim=60, depths=(6,) * 4, num_heads=(6,) * 4, **_DIRECT
    ),
    "swinir-classical": _entry(_swinir, _ENLARGING, 8, _LIANG, upsampler="pixelshuffle", **_MEDIUM),
    "swinir-realworld": _entry(_swinir, (2, 4), 8, _LIANG, upsampler="nearest+conv", **_MEDIUM),
    "swinir-realworld-large": _entry(_swinir, (4,), 8, _LIANG, upsampler="nearest+conv", **_LARGE),
    "swinir-denoise": _entry(_swinir, (1,), 8, _LIANG, upsampler="", **_MEDIUM),
    "swinir-jpeg": _entry(_swinir, (1,), 7, _LIANG, upsampler="", window_size=7, img_range=255.0, **_MEDIUM),
    # The pixel-unshuffling of RRDBNet at ×1 and ×2 needs sides that are multiples of 4 and 2.
    "rrdb-tiny": _entry(_rrdb, (1, 2, 4), 4, _LAPTOP, num_feat=32, num_grow_ch=16, num_block=2),
    "rrdb-small": _entry(_rrdb, (1, 2, 4), 4, "Wang et al., 2021 (Real-ESRGAN, anime 6B)", num_block=6),
    "rrdb": _entry(_rrdb, (1, 2, 4), 4, "Wang et al., 2018 (ESRGAN); 2021 (Real-ESRGAN)"),
    "edsr-tiny": _entry(_edsr, _EVERY, 1, _LAPTOP, num_feat=32, num_block=8),
    "edsr-baseline": _entry(_edsr, _EVERY, 1, "Lim et al., 2017 (EDSR)"),
    "edsr": _entry(_edsr, _EVERY, 1, "Lim et al., 2017 (EDSR)", num_feat=256, num_block=32, res_scale=0.1),
    "rcan": _entry(_rcan, _EVERY, 1, "Zhang et al., 2018 (RCAN)", num_block=20),
    "srresnet": _entry(_srresnet, _ENLARGING, 1, "Ledig et al., 2017 (SRGAN), without batch normalisation"),
    "hat-small": _entry(
        _hat, _ENLARGING, 16, "Chen et al., 2023 (HAT)", embed_dim=144, compress_ratio=24, squeeze_factor=24
    ),
    "hat": _entry(_hat, _ENLARGING, 16, "Chen et al., 2023 (HAT)", embed_dim=180),
    "hat-large": _entry(_hat, _ENLARGING, 16, "Chen et al., 2023 (HAT)", embed_dim=180, groups=12),
}


class GeneratorSpec(BaseModel):
    """A generator; in YAML ``swinir-tiny`` or a mapping.

    Attributes:
        name: one of :func:`list_generators`.
        weights: an official or own checkpoint to start from instead of random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="A generator, such as swinir-tiny, edsr-baseline or rrdb; docs/generators.md.")
    weights: str | None = Field(default=None, description="Checkpoint (.pth, .safetensors) to start from.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> GeneratorSpec:
        if self.name not in list_generators():
            raise ValueError(f"unknown generator '{self.name}'; {did_you_mean(self.name, list_generators())}")
        return self

    @property
    def scales(self) -> tuple[int, ...]:
        """Magnifications it has; 1 restores at the same size."""
        return ARCHITECTURES[self.name].scales

    @property
    def side_multiple(self) -> int:
        """Sides of LR images must be multiples of it."""
        return ARCHITECTURES[self.name].side_multiple

    @property
    def identity(self) -> dict[str, Any]:
        """Configuration and the digest of the starting weights."""
        weights = None
        if self.weights is not None:
            path = Path(self.weights).expanduser()
            if not path.is_file():
                raise SuperResolutionError(f"generator '{self.name}': no weights file '{path}'")
            weights = sha256_file(path)
        return {"name": self.name, "weights": weights}


def list_generators() -> list[str]:
    """Return every generator's name."""
    return list(ARCHITECTURES)


def build_generator(spec: GeneratorSpec, scale: int, *, seed: int = 0) -> nn.Module:
    """Build a generator on the CPU: LR images ``(N, 3, h, w)`` in [0, 1] to ``(N, 3, scale·h, scale·w)``, unclamped.

    Height and width of the input must be multiples of ``spec.side_multiple``; :func:`~lopsided.sr.super_resolve` pads.

    Args:
        spec: the generator.
        scale: one of ``spec.scales``.
        seed: seed of the random weights.

    Raises:
        SuperResolutionError: a scale the generator has not, or a checkpoint that does not fit.
        BasicsrUnavailableError: a network of basicsr's, where that cannot be imported.
    """
    if scale not in spec.scales:
        has = ", ".join(f"×{scale}" for scale in spec.scales)
        raise SuperResolutionError(f"'{spec.name}' has no ×{scale}, only {has}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = _build(spec.name, scale)
    if spec.weights is not None:
        load_generator(generator, Path(spec.weights).expanduser())
    return generator


def _build(name: str, scale: int) -> nn.Module:
    from ..common.basicsr_compat import load_basicsr

    if not name.startswith(("swinir", "hat")):
        load_basicsr()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")  # spandrel's call, to no effect on the result
        return ARCHITECTURES[name].build(scale)


def load_generator(generator: nn.Module, path: Path) -> None:
    """Load a checkpoint strictly: a plain state dict, or one under ``params_ema`` / ``params`` as basicsr writes it.

    ESRGAN's first files, whose layers have other names, are understood.

    Raises:
        SuperResolutionError: missing, unreadable or ill-fitting file; the message names a generator that it fits.
    """
    state = _learnt(_renamed(read_state(path)))
    own = generator.state_dict()
    constants = {name: own[name] for name in own.keys() - _learnt(own).keys()}
    try:
        generator.load_state_dict(state | constants, strict=True)
    except RuntimeError as error:
        fits = fitting_generators(state)
        detail = f"it fits {' and '.join(fits)}" if fits else " ".join(str(error).split())[:240]
        raise SuperResolutionError(f"'{path}' does not fit this generator: {detail}") from None


def fitting_generators(state: dict[str, Tensor]) -> list[str]:
    """Return ``<name> at ×<scale>`` of every generator whose parameters have the names and shapes of a state dict."""
    shapes = {name: value.shape for name, value in _learnt(state).items()}
    width = shapes.get("conv_first.weight", (0,))[0]
    hat = any("overlap_attn" in name for name in shapes)
    found = []
    for name, architecture in ARCHITECTURES.items():
        if architecture.width != width or name.startswith("hat") != hat:
            continue
        for scale in architecture.scales:
            # Without memory and initialisation, which spandrel's HAT cannot be built without.
            with torch.random.fork_rng(devices=[]), torch.device("cpu" if hat else "meta"):
                network = _build(name, scale)
            if shapes == {key: value.shape for key, value in _learnt(network.state_dict()).items()}:
                found.append(f"{name} at ×{scale}")
    return found


def _learnt(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out masks and indices, constants of window and image size, of which every network computes its own."""
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


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a basicsr ``.pth``, the averaged weights where it has them.

    Raises:
        SuperResolutionError: missing or unreadable file, or one that holds something else.
    """
    return read_state_dict(path, SuperResolutionError, under=("params_ema", "params"))
