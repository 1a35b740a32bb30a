"""LPIPS through its authors' package: the only module that imports ``lpips``.

Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018, version 0.1. The linear layers come inside the package; the ImageNet trunks are torchvision's.
"""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ..backbones.registry import BackboneError
from ..backbones.weights import official_file, read_state
from ..common.identity import sha256_file
from .measure import Measure, MeasureError, MeasureSpec, Reduction

# The trunk's family, its official weights, and the leading digits of their SHA-256.
NETWORKS = {
    "alex": ("alexnet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),
    "vgg": ("vgg16", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
    "squeeze": ("squeezenet1_1", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
}


class LpipsSpec(MeasureSpec):
    """Definition of an LPIPS measure.

    Attributes:
        measure: ``lpips``.
        net: trunk: ``alex`` (key ``lpips``), ``vgg`` (``lpips-vgg``) or ``squeeze`` (``lpips-squeeze``).
        weights: ``official`` ImageNet weights, or the path of a file with torchvision's keys.
    """

    measure: Literal["lpips"] = "lpips"
    net: Literal["alex", "vgg", "squeeze"] = "alex"
    weights: str = "official"

    @property
    def key(self) -> str:
        """``lpips``, ``lpips-vgg`` or ``lpips-squeeze``, followed by a mark where the trunk's weights are a file."""
        mark = "" if self.weights == "official" else f"+{self.identity[:4]}"
        return ("lpips" if self.net == "alex" else f"lpips-{self.net}") + mark

    @property
    def families(self) -> frozenset[str]:
        """The trunk's architecture."""
        return frozenset({NETWORKS[self.net][0]})

    @property
    def min_size(self) -> int:
        """AlexNet's deepest stage needs 63 pixels; 64 holds for all."""
        return 64

    def definition(self) -> dict[str, Any]:
        """The package's version, which fixes the linear layers, and the trunk's weights by content."""
        weights = NETWORKS[self.net][2] if self.weights == "official" else sha256_file(_existing(self.weights))
        return {"net": self.net, "package": _package_version(), "weights": f"sha256:{weights}"}

    def build(self, *, reduction: Reduction = "mean") -> Lpips:
        """Build the measure with its frozen trunk."""
        return Lpips(self, reduction=reduction)


class Lpips(Measure[LpipsSpec]):
    """LPIPS v0.1. Direction: lower is better; 0 for identical images. Range: [0, ∞), usually below 1.

    The package's gradient is NaN where all features of a place are zero (its epsilon stands outside the root); a
    training that meets such a place ends as diverged.
    """

    def __init__(self, spec: LpipsSpec | Literal["alex", "vgg", "squeeze"] = "alex", reduction: Reduction = "mean"):
        super().__init__(spec if isinstance(spec, LpipsSpec) else LpipsSpec(net=spec), reduction)
        _package_version()
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torchvision's old spelling of "no weights"
            self.network: nn.Module = lpips.LPIPS(net=self.spec.net, version="0.1", pnet_rand=True, verbose=False)
        _load_trunk(self.network.get_submodule("net"), self.spec)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Lpips:  # noqa: ARG002
        """Do nothing: the measure is frozen for good (its dropout must not wake), whatever its parent does."""
        return super().train(False)

    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        return self.network(images, references.expand_as(images), normalize=True).reshape(len(images))


def _load_trunk(trunk: nn.Module, spec: LpipsSpec) -> None:
    _, url, sha256 = NETWORKS[spec.net]
    try:
        if spec.weights == "official":
            path = official_file(url, sha256, "a measure without weights, such as 'dists-vgg16-r'")
        else:
            path = Path(spec.weights).expanduser()
        state = read_state(path)
    except BackboneError as error:
        raise MeasureError(f"{spec.key}: {error}") from None
    # The package cuts torchvision's `features` into slices but keeps the layers' indices as names.
    own = {name: name.split(".", 1)[1] for name in trunk.state_dict()}
    missing = [layer for layer in own.values() if f"features.{layer}" not in state]
    if missing:
        raise MeasureError(f"{spec.key}: '{path}' has no 'features.{missing[0]}'; it belongs to another network")
    try:
        trunk.load_state_dict({name: state[f"features.{layer}"] for name, layer in own.items()}, strict=True)
    except RuntimeError as error:
        raise MeasureError(f"{spec.key}: '{path}' does not fit: {' '.join(str(error).split())[:200]}") from None


def _existing(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise MeasureError(f"lpips: no weights file '{found}'; give an existing file or 'official'")
    return found


def _package_version() -> str:
    try:
        return metadata.version("lpips")
    except metadata.PackageNotFoundError:
        raise MeasureError("LPIPS is computed by the lpips package: pip install 'lopsided[study]'") from None
