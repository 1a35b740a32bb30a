"""Where a backbone's weights come from: a seed, a local file, or the official file (found on disk or downloaded)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

import safetensors.torch
import torch
from torch import nn

from ..common.identity import sha256_file
from .registry import BackboneError, BackboneSpec, architecture

WEIGHTS_FOLDER = "LOPSIDED_WEIGHTS"  # environment variable: a folder of official weight files, searched first


class WeightsUnavailableError(BackboneError):
    """Official weights that are neither on disk nor reachable."""


def initialise(trunk: nn.Module, spec: BackboneSpec) -> None:
    """Fill ``trunk`` with the weights that ``spec`` names, strictly.

    Raises:
        WeightsUnavailableError: official weights are not on disk and cannot be downloaded.
        BackboneError: the file is damaged or belongs to another architecture.
    """
    if spec.random:
        _draw(trunk, spec.seed)
        return
    kind = architecture(spec.name)
    path = (
        official_file(kind.official_url, kind.official_sha256, f"'{kind.name}-r' for seeded random weights")
        if spec.weights == "official"
        else Path(spec.weights).expanduser()
    )
    state = read_state(path)
    state = {k: v for k, v in state.items() if not k.startswith(kind.dropped_keys)}
    try:
        trunk.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise BackboneError(f"'{path}' does not hold weights of '{kind.name}': {first[:200]}") from None


def _draw(trunk: nn.Module, seed: int) -> None:
    """He-normal convolutions (fan-out, as torchvision trains its VGG and ResNet from), zero biases, identity norms."""
    generator = torch.Generator().manual_seed(seed)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def official_file(url: str, sha256: str, instead: str) -> Path:
    """Return the path of an official weights file: from the offline folder, torch's cache, or a download.

    Args:
        url: where its publisher offers it.
        sha256: the leading hexadecimal digits of its SHA-256.
        instead: what to use when it is not to be had, for the message.

    Raises:
        WeightsUnavailableError: neither on disk nor reachable.
        BackboneError: the file on disk is not the official one.
    """
    name = url.rsplit("/", 1)[1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    offline = os.environ.get(WEIGHTS_FOLDER)
    for path in [*([Path(offline).expanduser() / name] if offline else []), cached]:
        if path.is_file():
            digest = sha256_file(path)
            if not digest.startswith(sha256):
                raise BackboneError(
                    f"'{path}' is damaged or not the official file: its SHA-256 starts with {digest[:8]}, "
                    f"expected {sha256}; delete it and fetch it again"
                )
            return path
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # Downloads to a temporary file and checks the digest before renaming it.
        torch.hub.download_url_to_file(url, str(cached), hash_prefix=sha256, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsUnavailableError(
            f"official weights {name} are not on this machine and cannot be downloaded ({error}). Put the file "
            f"(SHA-256 {sha256}…, {url}) into '{cached.parent}' or a folder named by {WEIGHTS_FOLDER}, or use {instead}"
        ) from None
    return cached


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict without running code from the file; half-precision tensors come back as float32.

    Raises:
        BackboneError: missing or unreadable file, or one that holds something else.
    """
    if not path.is_file():
        raise BackboneError(f"no weights file '{path}'; give an existing .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BackboneError(f"cannot read weights '{path}': {str(error).splitlines()[0][:200]}") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BackboneError(f"'{path}' is not a state dict (a mapping of names to tensors)")
    return {name: v.float() if v.is_floating_point() else v for name, v in state.items()}
