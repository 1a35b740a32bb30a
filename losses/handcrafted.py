"""Hand-crafted and third-party full-reference measures through pyiqa: the only module that knows pyiqa's FR side.

pyiqa is licensed for non-commercial use (PolyForm Noncommercial 1.0.0) and is imported only when a measure is built.
"""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from urllib.error import URLError

from pydantic import Field, field_validator
from torch import Tensor, nn

from .measure import Measure, MeasureError, MeasureSpec, Reduction


@dataclass(frozen=True)
class PyiqaEntry:
    """How one measure is called in pyiqa, and what it is.

    Attributes:
        metric: pyiqa's name.
        families: see :attr:`MeasureSpec.families`.
        lower_is_better: direction of the score.
        value_range: bounds of the score.
        min_size: smallest side in pixels, found by trying.
        options: pyiqa options that fix the definition.
        needs_weights: whether pyiqa downloads a network for it.
        differentiable: whether its gradient is finite (MAD's is not, seen with pyiqa 0.1.16).
    """

    metric: str
    families: frozenset[str]
    lower_is_better: bool = False
    value_range: tuple[float | None, float | None] = (0.0, 1.0)
    min_size: int = 16
    options: dict[str, Any] = field(default_factory=dict)
    needs_weights: bool = False
    differentiable: bool = True


_SSIM = frozenset({"structural-similarity"})
_GRADIENT = frozenset({"gradient-similarity"})
_Y = {"test_y_channel": True, "color_space": "ycbcr"}  # BT.601 luma in 16..235, MATLAB's and the SR literature's Y

ENTRIES: dict[str, PyiqaEntry] = {
    "psnr": PyiqaEntry("psnr", frozenset({"pixel"}), value_range=(None, 80.0), min_size=1),
    "psnr_y": PyiqaEntry("psnr", frozenset({"pixel"}), value_range=(None, 80.0), min_size=1, options=_Y),
    "ssim": PyiqaEntry("ssim", _SSIM, min_size=11, options=_Y),
    "ms_ssim": PyiqaEntry("ms_ssim", _SSIM, min_size=176, options=_Y),
    "cw_ssim": PyiqaEntry("cw_ssim", _SSIM, min_size=64),
    "fsim": PyiqaEntry("fsim", _GRADIENT | {"phase-congruency"}),
    "vsi": PyiqaEntry("vsi", _GRADIENT | {"saliency"}),
    "gmsd": PyiqaEntry("gmsd", _GRADIENT, lower_is_better=True, value_range=(0.0, None)),
    "nlpd": PyiqaEntry("nlpd", frozenset({"laplacian-pyramid"}), lower_is_better=True, value_range=(0.0, None)),
    "vif": PyiqaEntry("vif", frozenset({"information-fidelity"}), value_range=(0.0, None), min_size=48),
    "mad": PyiqaEntry("mad", frozenset({"mad"}), True, (0.0, None), differentiable=False),
    "topiq_fr": PyiqaEntry("topiq_fr", frozenset({"resnet50"}), False, (0.0, 1.0), 64, needs_weights=True),
}


def pyiqa_version() -> str:
    """Return the installed pyiqa's version without importing it.

    Raises:
        MeasureError: pyiqa is not installed.
    """
    try:
        return metadata.version("pyiqa")
    except metadata.PackageNotFoundError:
        raise MeasureError("this measure is computed by pyiqa: pip install 'lopsided[study]'") from None


def pyiqa_network(metric: str, **options: Any) -> nn.Module:
    """Return pyiqa's bare network for ``metric``, frozen, on the CPU.

    The bare network is used because pyiqa's wrapper forces deterministic cuDNN, holds a non-leaf tensor that breaks
    ``deepcopy`` and ``.to()``, and multiplies by a weight that crashes when it is a float.

    Raises:
        MeasureError: pyiqa is not installed, does not know the metric, or cannot get its weights.
    """
    pyiqa_version()
    try:
        # pyiqa prints every download and logs every construction.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import pyiqa

            logging.getLogger("pyiqa").setLevel(logging.ERROR)
            network = pyiqa.create_metric(metric, device="cpu", **options).net
    except AssertionError:
        raise MeasureError(f"pyiqa {pyiqa_version()} has no metric '{metric}'") from None
    except (URLError, OSError, RuntimeError, ValueError) as error:
        chain, seen = error, []
        while chain is not None:
            seen.append(type(chain).__name__)
            chain = chain.__cause__ or chain.__context__
        if not {"URLError", "gaierror", "LocalEntryNotFoundError", "OfflineModeIsEnabled"} & set(seen):
            raise
        raise MeasureError(
            f"pyiqa cannot download the weights of '{metric}' ({str(error).splitlines()[0][:120]}). Run once with a "
            "network and HF_HUB_OFFLINE=0, or copy the files into pyiqa's cache (torch.hub.get_dir()/pyiqa), or "
            "leave it out"
        ) from None
    return network.eval().requires_grad_(False)


class HandcraftedSpec(MeasureSpec):
    """A measure computed by pyiqa; its identity holds pyiqa's version and the options that fix the definition.

    Attributes:
        measure: one of :data:`ENTRIES`.
        pyiqa: pyiqa's version; filled in from the installed one, which a given version must equal.
    """

    measure: str
    pyiqa: str = Field(default_factory=pyiqa_version)

    @field_validator("measure")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ENTRIES:
            raise ValueError(f"not computed by pyiqa here; known: {', '.join(ENTRIES)}")
        return value

    @property
    def entry(self) -> PyiqaEntry:
        """What the registry knows of the measure."""
        return ENTRIES[self.measure]

    @property
    def key(self) -> str:
        """The measure's name."""
        return self.measure

    @property
    def families(self) -> frozenset[str]:
        """Declared in the registry."""
        return self.entry.families

    @property
    def min_size(self) -> int:
        """Declared in the registry."""
        return self.entry.min_size

    @property
    def differentiable(self) -> bool:
        """Declared in the registry."""
        return self.entry.differentiable

    def definition(self) -> dict[str, Any]:
        """The pyiqa name and every option that fixes the definition."""
        return {"metric": self.entry.metric, "pyiqa": self.pyiqa, "options": self.entry.options}

    def build(self, *, reduction: Reduction = "mean") -> Handcrafted:
        """Build the measure."""
        return Handcrafted(self, reduction=reduction)


class Handcrafted(Measure[HandcraftedSpec]):
    """A pyiqa measure as metric and loss; direction and range are the entry's."""

    def __init__(self, spec: HandcraftedSpec | str, reduction: Reduction = "mean") -> None:
        spec = spec if isinstance(spec, HandcraftedSpec) else HandcraftedSpec(measure=spec)
        super().__init__(spec, reduction)
        if spec.pyiqa != pyiqa_version():
            raise MeasureError(f"{spec.key}: asked for pyiqa {spec.pyiqa}, installed is {pyiqa_version()}")
        self.network = pyiqa_network(spec.entry.metric, **spec.entry.options)
        self.lower_is_better = spec.entry.lower_is_better
        self.value_range = spec.entry.value_range

    def train(self, mode: bool = True) -> Handcrafted:  # noqa: ARG002
        """Do nothing: the measure is frozen for good, whatever its parent does."""
        return super().train(False)

    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        score = self.network(images, references.expand_as(images))
        return score.reshape(len(images)).to(images.dtype)  # some of pyiqa's measures return (N, 1) or float64
