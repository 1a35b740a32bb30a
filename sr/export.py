"""Generators as files: written with what a reader must know, in the layout other programs load; and read again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from .. import __version__
from ..common.files import atomic_path
from .checkpoint import read_tensors, write_tensors
from .errors import SuperResolutionError
from .generators import GeneratorSpec, build_generator

MASKED_SIDE = 64  # the image side whose attention masks the published SwinIR files hold


class LoadedGenerator(NamedTuple):
    """A generator with its weights, and what must be known to use it.

    Attributes:
        generator: LR ``(N, 3, h, w)`` in [0, 1] to ``(N, 3, scale·h, scale·w)``, on the CPU, in evaluation mode.
        spec: its architecture.
        scale: its scale.
    """

    generator: nn.Module
    spec: GeneratorSpec
    scale: int

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the weights, whatever file they come from."""
        digest = hashlib.sha256(f"{self.spec.name} ×{self.scale}".encode())
        for name, tensor in sorted(self.generator.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_exported(path: Path | str, name: str | None = None, scale: int | None = None) -> LoadedGenerator:
    """Load a generator from a file: exported, of a finished cell, or anyone's weights of a known architecture.

    Args:
        path: ``.safetensors``, or ``.pth`` with a state dict as it is or under ``params_ema`` or ``params``.
        name: the architecture, such as ``swinir-classical``; only for files that do not say it themselves.
        scale: the scale, likewise.

    Returns:
        The generator, its architecture and its scale.

    Raises:
        SuperResolutionError: a missing, damaged or ill-fitting file; one that does not say what it is, without
            ``name`` and ``scale``; or one that says otherwise.
    """
    path = Path(path).expanduser()
    stated = read_metadata(path)
    for key, given in (("generator", name), ("scale", scale)):
        if given is not None and stated.get(key, given) != given:
            raise SuperResolutionError(f"'{path}' says that its {key} is {stated[key]}, not {given}")
    name, scale = stated.get("generator", name), stated.get("scale", scale)
    if name is None or scale is None:
        raise SuperResolutionError(f"'{path}' does not say what it is; give --generator-name and --scale")
    try:
        spec = GeneratorSpec(name=name, weights=str(path))
    except ValidationError as error:
        raise SuperResolutionError(f"'{path}': {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    return LoadedGenerator(build_generator(spec, scale).eval(), spec, scale)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what a file written by lopsided says of itself; nothing for other files.

    Raises:
        SuperResolutionError: a missing or damaged file.
    """
    if not path.is_file():
        raise SuperResolutionError(f"no generator file '{path}'")
    if path.suffix != ".safetensors":
        return {}
    try:
        return read_tensors(path)[1]
    except (OSError, ValueError, SafetensorError) as error:
        raise SuperResolutionError(f"cannot read '{path}': {error}") from None


def export_generator(path: Path | str, loaded: LoadedGenerator, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a generator, whole or not at all, under the tensor names of its architecture's authors.

    SwinIR files also hold the position indices and attention masks that the authors' do: spandrel and BasicSR ask for
    them, although they follow from the window. spandrel knows no EDSR, SRResNet or RCAN under basicsr's names, and no
    RRDB with other than 32 channels of growth.

    Args:
        path: ``.safetensors`` (all metadata), or ``.pth`` for BasicSR (the state dict under ``params``; no metadata).
        loaded: the generator.
        metadata: more to say of it, such as its origin or its licence: JSON values.

    Raises:
        SuperResolutionError: another suffix.
        OSError: the file cannot be written.
    """
    path = Path(path)
    state = {name: tensor.detach().cpu().clone() for name, tensor in loaded.generator.state_dict().items()}
    if loaded.spec.name.startswith("swinir"):
        state |= _derived(state)
    if path.suffix == ".pth":
        with atomic_path(path) as temporary:
            torch.save({"params": state}, temporary)
    elif path.suffix == ".safetensors":
        stated = {
            "generator": loaded.spec.name,
            "scale": loaded.scale,
            "side_multiple": loaded.spec.side_multiple,
            "input": "RGB in [0, 1], (N, 3, h, w); h and w multiples of side_multiple",
            "output": "RGB, (N, 3, scale·h, scale·w), to be clamped to [0, 1]",
            "lopsided": __version__,
        }
        write_tensors(path, state, {**(metadata or {}), **stated})
    else:
        raise SuperResolutionError(f"'{path}': the name must end in .safetensors or .pth")


def _derived(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the constants that published SwinIR files hold beside the weights."""
    table = ".attn.relative_position_bias_table"
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(table):
            block = name.removesuffix(table)
            window = (math.isqrt(len(tensor)) + 1) // 2
            found[f"{block}.attn.relative_position_index"] = _relative_positions(window)
            if int(block.rpartition(".")[2]) % 2:  # every second block has shifted windows
                found[f"{block}.attn_mask"] = _shift_mask(MASKED_SIDE // window * window, window)
    return found


def _relative_positions(window: int) -> Tensor:
    """Row of the bias table for each pair of pixels in a window, ``(window², window²)``: one for each offset."""
    place = torch.arange(window)
    y, x = torch.meshgrid(place, place, indexing="ij")
    dy, dx = (axis.flatten()[:, None] - axis.flatten() + window - 1 for axis in (y, x))
    return dy * (2 * window - 1) + dx


def _shift_mask(side: int, window: int) -> Tensor:
    """Mask of a rolled square image, ``(windows, window², window²)``: -100 between what only rolling joined, else 0."""
    place = torch.arange(side)
    part = (place >= side - window).long() + (place >= side - window // 2).long()
    region = part[:, None] * 3 + part
    windows = region.unfold(0, window, window).unfold(1, window, window).reshape(-1, window * window)
    return (windows[:, :, None] != windows[:, None, :]).float() * -100
