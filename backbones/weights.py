"""Where a backbone's weights come from: a seed, the user's own file, or a published file."""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any, Literal

import torch
from torch import nn

from ..common.paths import expanded
from ..common.state_dicts import read_state_dict
from .files import WeightsFile, WeightsUnavailableError
from .registry import BackboneError, BackboneSpec, architecture, list_backbones

__all__ = [
    "WeightsUnavailableError",
    "initialise",
    "locate",
    "published",
    "read_state",
    "weights_file",
]


def locate(spec: BackboneSpec) -> Path | None:
    """Return the file that ``spec`` names, downloaded if it is not on disk; None for seeded random weights.

    Raises:
        WeightsUnavailableError: official weights are not on disk and cannot be downloaded.
        BackboneError: the file on disk is not the expected one.
    """
    if spec.random:
        return None
    file = weights_file(spec)
    return file.locate(f"'{spec.name}-r' for seeded random weights") if file else expanded(spec.weights)


def weights_file(spec: BackboneSpec) -> WeightsFile | None:
    """Return the published file that ``spec`` names; None for random weights and for the user's own file."""
    if spec.random:
        return None
    kind = architecture(spec.name)
    about: dict[str, Any] = {"licence": kind.licence, "purpose": f"backbone {kind.name}"}
    if spec.weights == "official":
        return WeightsFile(kind.official_file, kind.official_url, kind.official_sha256, hub_id=kind.hub_id, **about)
    if known := dict(kind.known_files).get(spec.weights):
        return WeightsFile(spec.weights, sha256=known, **about)
    return None


def published() -> list[BackboneSpec]:
    """Return a spec for every published file that a backbone of the registry can be loaded from."""
    kinds = [architecture(name) for name in list_backbones() if not name.endswith("-r")]
    return [
        BackboneSpec(name=kind.name, weights=weights)
        for kind in kinds
        for weights in ("official", *(name for name, _ in kind.known_files))
    ]


def initialise(trunk: nn.Module, spec: BackboneSpec, path: Path | None) -> None:
    """Fill ``trunk`` strictly from the file ``path``, as :func:`locate` found it, or from the seed of ``spec``.

    Raises:
        BackboneError: the file is missing, damaged or belongs to another architecture.
    """
    kind = architecture(spec.name)
    if path is None:
        _draw(trunk, spec.seed, kind.fan)
        return
    state = {k: v for k, v in read_state(path).items() if not (kind.dropped_keys and k.startswith(kind.dropped_keys))}
    try:
        trunk.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise BackboneError(f"'{path}' does not hold weights of '{kind.name}': {first[:200]}") from None


# Parameters that belong to no layer. Scales start at one: at their published 1e-5 or 1e-6 the blocks of an untrained
# network would add nothing to their input, and its features would not be those of the architecture.
_EMBEDDINGS = ("cls_token", "pos_embed", "relative_position_bias_table")
_SCALES = ("gamma", "layer_scale")


def _draw(trunk: nn.Module, seed: int, fan: Literal["fan_in", "fan_out"]) -> None:
    """Draw every parameter from ``seed``.

    He-normal convolutions (by ``fan``), normal linear layers and embeddings of deviation 0.02 (the ViT's; its
    truncation at ±2 is a hundred deviations away), zero biases, identity norms, unit layer scales.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.reset_parameters()
        else:
            for name, parameter in module.named_parameters(recurse=False):
                if name in _EMBEDDINGS:
                    nn.init.normal_(parameter, std=0.02, generator=generator)
                elif name in _SCALES:
                    nn.init.ones_(parameter)
                else:
                    raise BackboneError(f"no rule to draw '{name}' of {type(module).__name__} at random")
            if isinstance(index := getattr(module, "define_relative_position_index", None), MethodType):
                index()  # a buffer of Swin's, lost in building without memory


def read_state(path: Path | str) -> dict[str, torch.Tensor]:
    """Read a state dict without running code from the file; half-precision tensors come back as float32.

    Raises:
        BackboneError: missing or unreadable file, or one that holds something else.
    """
    state = read_state_dict(path, BackboneError)
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
