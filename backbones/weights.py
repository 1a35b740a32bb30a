"""Where a backbone's weights come from: a seed, a local file, or an official file (found on disk or downloaded)."""

from __future__ import annotations

import os
from pathlib import Path
from types import MethodType
from typing import Literal
from urllib.error import URLError

import safetensors.torch
import torch
from torch import nn

from ..common.identity import sha256_file
from .registry import Architecture, BackboneError, BackboneSpec, architecture

WEIGHTS_FOLDER = "LOPSIDED_WEIGHTS"  # environment variable: a folder of official weight files, searched first


class WeightsUnavailableError(BackboneError):
    """Official weights that are neither on disk nor reachable."""


def locate(spec: BackboneSpec) -> Path | None:
    """Return the file that ``spec`` names, downloaded where that is needed; None for seeded random weights.

    Raises:
        WeightsUnavailableError: official weights are not on disk and cannot be downloaded.
        BackboneError: the file on disk is not the one meant.
    """
    if spec.random:
        return None
    kind = architecture(spec.name)
    instead = f"'{kind.name}-r' for seeded random weights"
    if spec.weights == "official":
        if kind.hub_id:
            return _hub_file(kind, instead)
        if kind.official_url:
            return official_file(kind.official_url, kind.official_sha256, instead)
        return _named_file(kind.official_name, kind.official_sha256, instead)
    if known := dict(kind.known_files).get(spec.weights):
        return _named_file(spec.weights, known, instead)
    return Path(spec.weights).expanduser()


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
    truncation at ±2 lies a hundred deviations away), zero biases, identity norms, unit layer scales.
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
    return _on_disk(name, sha256) or _download(url, name, sha256, instead)


def _cached(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _on_disk(name: str, sha256: str = "") -> Path | None:
    """Return ``name`` from the offline folder or torch's cache, checked against the digest's leading digits."""
    offline = os.environ.get(WEIGHTS_FOLDER)
    for path in [*([Path(offline).expanduser() / name] if offline else []), _cached(name)]:
        if path.is_file():
            digest = sha256_file(path) if sha256 else ""
            if not digest.startswith(sha256):
                raise BackboneError(
                    f"'{path}' is damaged or not the official file: its SHA-256 starts with {digest[:8]}, "
                    f"expected {sha256[:8]}; delete it and fetch it again"
                )
            return path
    return None


def _download(url: str, name: str, sha256: str, instead: str) -> Path:
    cached = _cached(name)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # Downloads to a temporary file and checks the digest before renaming it.
        torch.hub.download_url_to_file(url, str(cached), hash_prefix=sha256 or None, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        digest = f"SHA-256 {sha256}…, " if sha256 else ""
        raise WeightsUnavailableError(
            f"official weights {name} are not on this machine and cannot be downloaded ({error}). Put the file "
            f"({digest}{url}) into '{cached.parent}' or a folder named by {WEIGHTS_FOLDER}, or use {instead}"
        ) from None
    return cached


def _named_file(name: str, sha256: str, instead: str) -> Path:
    """Return a file that no address offers, by its name and full digest."""
    found = _on_disk(name, sha256)
    if found is None:
        raise WeightsUnavailableError(
            f"weights {name} are not on this machine, and no address offers them. Put the file (SHA-256 {sha256[:8]}…) "
            f"into a folder named by {WEIGHTS_FOLDER}, give its path as 'weights: PATH', or use {instead}"
        )
    return found


def _hub_file(kind: Architecture, instead: str) -> Path:
    """Return the hub's file from the offline folder, the hub's or torch's cache, or a download.

    Its digest is unknown here, so that only the architecture's strict loading checks what arrives.
    """
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache  # comes with timm

    name = f"{kind.hub_id.split('/')[1]}.safetensors"
    if found := _on_disk(name):
        return found
    cached = try_to_load_from_cache(kind.hub_id, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise WeightsUnavailableError(
            f"official weights {name} (model.safetensors of {kind.hub_id}) are not on this machine, and HF_HUB_OFFLINE "
            f"forbids fetching them. Allow it with HF_HUB_OFFLINE=0, put the file under that name into a folder named "
            f"by {WEIGHTS_FOLDER}, give a file with timm's keys as 'weights: PATH', or use {instead}"
        )
    # Not the hub's own client: offline, it tries for half a minute before it gives up.
    return _download(hf_hub_url(kind.hub_id, "model.safetensors"), name, "", instead)


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
