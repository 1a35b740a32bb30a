"""Super-resolution generators by name and preset; SwinIR is basicsr's, and its official checkpoints load."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ..common.identity import sha256_file
from .errors import SuperResolutionError

SCALES = (2, 3, 4)

# SwinIR (Liang et al., 2021): the published configurations, and two small ones for laptops and tests.
_SWINIR: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 2), "upsampler": "pixelshuffledirect"},
    "small": {"embed_dim": 48, "depths": (4, 4), "num_heads": (4, 4), "upsampler": "pixelshuffledirect"},
    "lightweight": {"embed_dim": 60, "depths": (6,) * 4, "num_heads": (6,) * 4, "upsampler": "pixelshuffledirect"},
    "classical": {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6, "upsampler": "pixelshuffle"},
    "realworld": {"embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6, "upsampler": "nearest+conv"},
    "realworld-large": {
        "embed_dim": 240,
        "depths": (6,) * 9,
        "num_heads": (8,) * 9,
        "upsampler": "nearest+conv",
        "resi_connection": "3conv",
    },
}
WINDOW = 8


class GeneratorSpec(BaseModel):
    """A generator; in YAML ``swinir-tiny`` or a mapping.

    Attributes:
        name: ``swinir-<preset>`` with preset tiny, small, lightweight, classical, realworld or realworld-large.
        weights: an official or own checkpoint to start from instead of random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="swinir-tiny, -small, -lightweight, -classical, -realworld or -realworld-large.")
    weights: str | None = Field(default=None, description="Checkpoint (.pth, .safetensors) to start from.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> GeneratorSpec:
        if self.name not in list_generators():
            near = difflib.get_close_matches(self.name, list_generators(), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(list_generators())}"
            raise ValueError(f"unknown generator '{self.name}'; {hint}")
        return self

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
    return [f"swinir-{preset}" for preset in _SWINIR]


def build_generator(spec: GeneratorSpec, scale: int, *, seed: int = 0) -> nn.Module:
    """Build a generator on the CPU: LR images ``(N, 3, h, w)`` in [0, 1] to ``(N, 3, scale·h, scale·w)``, unclamped.

    Height and width of the input must be multiples of the window (8); :func:`~lopsided.sr.super_resolve` pads.

    Args:
        spec: the generator.
        scale: 2, 3 or 4 (the ``realworld`` presets: 4 only).
        seed: seed of the random weights.

    Raises:
        SuperResolutionError: a scale the generator has not, or a checkpoint that does not fit.
    """
    from ..common.basicsr_compat import load_basicsr

    load_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    options = _SWINIR[spec.name.removeprefix("swinir-")]
    if scale not in SCALES or (options["upsampler"] == "nearest+conv" and scale != 4):
        raise SuperResolutionError(f"'{spec.name}' has no ×{scale}; scales are ×2, ×3, ×4 (realworld: ×4 only)")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")  # basicsr's call, to no effect on the result
        torch.manual_seed(seed)
        # img_size only fixes the size of precomputed masks; other sizes compute theirs. 64 is the official files'.
        generator = SwinIR(upscale=scale, img_size=64, window_size=WINDOW, mlp_ratio=2, **options)
    if spec.weights is not None:
        load_generator(generator, Path(spec.weights).expanduser())
    return generator


def load_generator(generator: nn.Module, path: Path) -> None:
    """Load a checkpoint strictly: a plain state dict, or one under ``params_ema`` / ``params`` as basicsr writes it.

    Raises:
        SuperResolutionError: missing, unreadable or ill-fitting file.
    """
    state = read_state(path)
    # Masks and indices are constants of the window and image size; every model computes its own.
    derived = ("attn_mask", "relative_position_index")
    own = {k: v for k, v in generator.state_dict().items() if k.endswith(derived)}
    state = {k: v for k, v in state.items() if not k.endswith(derived)}
    try:
        generator.load_state_dict(state | own, strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:240]
        raise SuperResolutionError(f"'{path}' does not fit this generator: {detail}") from None


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a basicsr ``.pth`` without running code from the file."""
    if not path.is_file():
        raise SuperResolutionError(f"no checkpoint '{path}'")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SuperResolutionError(f"cannot read checkpoint '{path}': {str(error).splitlines()[0][:200]}") from None
    for key in ("params_ema", "params"):
        if isinstance(state, dict) and key in state:
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SuperResolutionError(f"'{path}' holds no state dict (tensors by name, or under params_ema or params)")
    return state
