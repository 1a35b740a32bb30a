"""Write generators to files, with all that a reader must know and in a layout that other programs load; read them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import nn

from .. import __version__
from ..common import state_dicts
from ..common.errors import one_line
from ..common.files import atomic_path
from ..common.paths import expanded
from .checkpoint import write_tensors
from .errors import SuperResolutionError
from .generators import GeneratorSpec, build_generator, learnt
from .swinir import SwinIR


class LoadedGenerator(NamedTuple):
    """A generator with its weights, and what one must know to use it.

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
    """Load a generator from a file: an exported one, one of a finished cell, or any weights of a known architecture.

    Args:
        path: ``.safetensors``, or ``.pth`` with a state dict as it is or under ``params_ema`` or ``params``.
        name: the architecture, such as ``swinir-classical``; needed only for files that do not state it.
        scale: the scale; needed only for files that do not state it.

    Returns:
        The generator, its architecture and its scale.

    Raises:
        SuperResolutionError: a missing or damaged file, or one that does not fit; a file that does not state what it
            holds, without ``name`` and ``scale``; or one that states something else.

    Examples:
        >>> import tempfile
        >>> spec = GeneratorSpec(name="swinir-tiny")
        >>> generator = LoadedGenerator(build_generator(spec, 4), spec, 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_generator(f"{folder}/x4.safetensors", generator)
        ...     loaded = load_exported(f"{folder}/x4.safetensors")
        >>> loaded.spec.name, loaded.scale, loaded.digest == generator.digest
        ('swinir-tiny', 4, True)
    """
    path = expanded(path)
    stated = read_metadata(path)
    for key, given in (("generator", name), ("scale", scale)):
        if given is not None and stated.get(key, given) != given:
            raise SuperResolutionError(f"'{path}' states that its {key} is {stated[key]}, not {given}")
    name, scale = stated.get("generator", name), stated.get("scale", scale)
    if name is None or scale is None:
        raise SuperResolutionError(f"'{path}' does not state what it holds; give --generator-name and --scale")
    try:
        spec = GeneratorSpec(name=name, weights=str(path))
    except ValidationError as error:
        raise SuperResolutionError(f"'{path}': {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    return LoadedGenerator(build_generator(spec, scale).eval(), spec, scale)


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Return the metadata of a file that lopsided wrote; an empty dict for other files.

    Raises:
        SuperResolutionError: a missing or damaged file.
    """
    path = expanded(path)
    if not path.is_file():
        raise SuperResolutionError(f"no generator file '{path}'")
    if path.suffix != ".safetensors":
        return {}
    try:
        return state_dicts.read_metadata(path)
    except (OSError, ValueError) as error:
        raise SuperResolutionError(f"cannot read '{path}': {one_line(error)}") from None


def export_generator(
    path: Path | str, loaded: LoadedGenerator, metadata: Mapping[str, Any] | None = None, *, compact: bool = False
) -> None:
    """Write a generator atomically, under the tensor names of its architecture's authors.

    SwinIR files also hold attention masks, as the authors' files do: spandrel and BasicSR require them, although they
    follow from the window. spandrel does not load EDSR, SRResNet and RCAN under basicsr's names,
    nor an RRDB whose growth is not 32 channels.

    Args:
        path: ``.safetensors`` (all metadata), or ``.pth`` for BasicSR (the state dict under ``params``; no metadata).
        loaded: the generator.
        metadata: more metadata, such as origin or licence: JSON values.
        compact: leave out masks and indices; a tiny SwinIR takes an eighth, and only lopsided loads it.

    Raises:
        SuperResolutionError: another suffix.
        OSError: the file cannot be written.
    """
    path = expanded(path)
    generator = loaded.generator
    state = generator.official_state_dict() if isinstance(generator, SwinIR) else generator.state_dict()
    if compact:
        state = learnt(state)
    state = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    if path.suffix == ".pth":
        with atomic_path(path) as temporary:
            torch.save({"params": state}, temporary)
    elif path.suffix == ".safetensors":
        stated = {
            "generator": loaded.spec.name,
            "scale": loaded.scale,
            "side_multiple": loaded.spec.side_multiple(loaded.scale),
            "input": "RGB in [0, 1], (N, 3, h, w); h and w multiples of side_multiple",
            "output": "RGB, (N, 3, scale·h, scale·w), to be clamped to [0, 1]",
            "lopsided": __version__,
        }
        write_tensors(path, state, {**(metadata or {}), **stated})
    else:
        raise SuperResolutionError(f"'{path}': the name must end in .safetensors or .pth")
