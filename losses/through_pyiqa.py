"""Full-reference measures through pyiqa: the only module that knows pyiqa's full-reference side.

Hand-crafted ones that this project has checked have an entry here; any other metric of pyiqa is a :class:`PyiqaSpec`.
pyiqa is licensed for non-commercial use (PolyForm Noncommercial 1.0.0) and is imported only when it is needed.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import logging
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Literal
from urllib.error import URLError

import torch
from pydantic import ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

from ..backbones import DeclaredFamilies
from ..backbones.freezing import freeze
from ..common.building import float32_default
from ..common.errors import one_line
from ..common.families import learnt_from, with_declared
from ..common.transforms import transformed
from .measure import MeasureError, MeasureSpec, Reduction, Spec
from .precise import PreciseMeasure


@dataclass(frozen=True)
class PyiqaEntry:
    """How one measure is called in pyiqa, and what it is.

    Attributes:
        metric: pyiqa's name.
        families: see :attr:`MeasureSpec.families`; those of ``trained_on`` are added.
        lower_is_better: direction of the score.
        value_range: bounds of the score.
        min_size: smallest side in pixels, found by trying.
        options: pyiqa options that fix the definition.
        needs_weights: whether pyiqa downloads a network for it.
        differentiable: whether it can be a loss.
        float64: whether pyiqa computes it in float64 where the images are; if not, in float32.
        trained_on: see :attr:`MeasureSpec.trained_on`; of pyiqa's default weights.
    """

    metric: str
    families: frozenset[str]
    lower_is_better: bool = False
    value_range: tuple[float | None, float | None] = (0.0, 1.0)
    min_size: int = 16
    options: dict[str, Any] = field(default_factory=dict)
    needs_weights: bool = False
    differentiable: bool = True
    float64: bool = True
    trained_on: tuple[str, ...] = ()


_SSIM = frozenset({"form:ssim"})
_GRADIENT = frozenset({"form:gradient-similarity"})
_Y = {"test_y_channel": True, "color_space": "ycbcr"}  # BT.601 luma in 16..235, MATLAB's and the SR literature's Y

# Seen with pyiqa 0.1.16, and kept true by tests: CW-SSIM and VIF round luma to 8 bits and pass the gradient straight
# through; CW-SSIM with K = 0 scores 10⁶ where nothing is seen in either image, and K = 1 (grey level squared) moves
# photographs by less than 1e-4; MAD is 0 where no difference is above its threshold, with a gradient that is NaN.
ENTRIES: dict[str, PyiqaEntry] = {
    "psnr": PyiqaEntry("psnr", frozenset({"form:pixel"}), value_range=(None, 80.0), min_size=1),
    "psnr_y": PyiqaEntry("psnr", frozenset({"form:pixel"}), value_range=(None, 80.0), min_size=1, options=_Y),
    "cw_ssim": PyiqaEntry("cw_ssim", _SSIM, min_size=64, options={"K": 1}),
    "fsim": PyiqaEntry("fsim", _GRADIENT | {"form:phase-congruency"}),
    "vsi": PyiqaEntry("vsi", _GRADIENT | {"form:saliency"}),
    "vif": PyiqaEntry("vif", frozenset({"form:information-fidelity"}), False, (0.0, None), 48, float64=False),
    "mad": PyiqaEntry("mad", frozenset({"form:mad"}), True, (0.0, None), differentiable=False, float64=False),
    "topiq_fr": PyiqaEntry(
        *("topiq_fr", frozenset({"backbone:resnet", "data:imagenet", "form:topiq"}), False, (0.0, 1.0), 64),
        needs_weights=True,
        float64=False,
        trained_on=("KADID-10k",),
    ),
}


@dataclass(frozen=True)
class _Kind:
    """What an architecture of pyiqa is made of.

    Attributes:
        families: backbone, form, and what the backbone learnt from.
        trained_on: see :attr:`MeasureSpec.trained_on`; None where pyiqa does not say.
    """

    families: frozenset[str]
    trained_on: tuple[str, ...] | None = ()


def _on(backbone: str, form: str, *trained_on: str, data: str = "imagenet") -> _Kind:
    return _Kind(frozenset({f"backbone:{backbone}", f"form:{form}", f"data:{data}"}), trained_on or None)


# By pyiqa's name of the architecture, from its code (backbones) and the names of its files of weights (AHIQ, TOPIQ,
# WaDIQaM); BAPPS, KADID-10k and PieAPP's own pairs from the papers of LPIPS and ST-LPIPS, DISTS and PieAPP.
_KINDS: dict[str, _Kind] = {
    **dict.fromkeys(("SSIM", "MS_SSIM", "CW_SSIM"), _Kind(_SSIM)),
    "PSNR": _Kind(ENTRIES["psnr"].families),
    "GMSD": _Kind(_GRADIENT),
    "FSIM": _Kind(ENTRIES["fsim"].families),
    "VSI": _Kind(ENTRIES["vsi"].families),
    "VIF": _Kind(ENTRIES["vif"].families),
    "NLPD": _Kind(frozenset({"form:laplacian-pyramid"})),
    "MAD": _Kind(ENTRIES["mad"].families),
    "DISTS": _on("vgg", "dists", "KADID-10k"),
    "DeepDC": _Kind(frozenset({"backbone:vgg", "form:distance-correlation", "data:imagenet"})),  # fits nothing
    "DMM": _Kind(frozenset({"backbone:vgg", "form:dmm", "data:imagenet"}), None),
    "AHIQ": _Kind(_on("resnet", "ahiq").families | {"backbone:vit"}, ("PIPAL",)),
    "CKDN": _on("resnet", "ckdn"),
    "AFINE": _on("vit", "afine", data="clip-400m"),
    "FGResQ": _on("vit", "fgresq", data="clip-400m"),
    "PieAPP": _Kind(frozenset({"backbone:vgg", "form:pieapp"}), ("PieAPP",)),  # like VGG, from scratch
    "WaDIQaM": _Kind(frozenset({"backbone:vgg", "form:wadiqam"}), ("KADID-10k",)),  # likewise
    "MS_SWD_learned": _Kind(frozenset({"form:sliced-wasserstein"}), None),
}
_NETS = {"alex": "alexnet", "vgg": "vgg", "squeeze": "squeezenet"}  # the option `net` of LPIPS and ST-LPIPS
_CFANET = {"kadid": "KADID-10k", "pipal": "PIPAL"}  # in the option `model_name`


def _kind(options: dict[str, Any]) -> _Kind | None:
    """Return what pyiqa's architecture with these options is made of; None if that is not known here."""
    if options["type"] in ("LPIPS", "STLPIPS") and options["net"] in _NETS:
        made = _on(_NETS[options["net"]], "lpips", "BAPPS")
        return replace(made, families=made.families | {"form:feature-distance"})
    if options["type"] == "CFANet":
        data = next((name for word, name in _CFANET.items() if word in options["model_name"]), None)
        return _Kind(ENTRIES["topiq_fr"].families, (data,) if data else None)
    return _KINDS.get(options["type"])


@functools.cache
def pyiqa_version() -> str:
    """Return the installed pyiqa's version without importing it; it is looked up once per process.

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
        MeasureError: pyiqa is not installed, does not know the metric or an option, or cannot get its weights.
    """
    pyiqa_version()
    try:
        # pyiqa prints every download, logs every construction, and draws initial weights before it loads others.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import pyiqa

            logging.getLogger("pyiqa").setLevel(logging.ERROR)
            with torch.random.fork_rng(devices=[]):
                network = pyiqa.create_metric(metric, device="cpu", **options).net
    except AssertionError:
        raise MeasureError(f"pyiqa {pyiqa_version()} has no metric '{metric}'") from None
    except TypeError as error:
        raise MeasureError(
            f"pyiqa {pyiqa_version()} cannot build '{metric}' with {options}: {one_line(error)}"
        ) from None
    except (URLError, OSError, RuntimeError, ValueError) as error:
        chain, seen = error, []
        while chain is not None:
            seen.append(type(chain).__name__)
            chain = chain.__cause__ or chain.__context__
        if not {"URLError", "gaierror", "LocalEntryNotFoundError", "OfflineModeIsEnabled"} & set(seen):
            raise
        raise MeasureError(
            f"pyiqa cannot download the weights of '{metric}' ({one_line(error, 120)}). Run once with a "
            "network and HF_HUB_OFFLINE=0, or copy the files into pyiqa's cache (torch.hub.get_dir()/pyiqa), or "
            "leave it out"
        ) from None
    freeze(network)
    return network.eval()


class PyiqaMeasure(PreciseMeasure[Spec]):
    """A metric of pyiqa as metric and loss: what pyiqa leaves open is checked here.

    A gradient that is not finite although the images are is an error, raised in the backward pass.
    """

    def __init__(self, spec: Spec, network: nn.Module, reduction: Reduction, *, version: str, float64: bool) -> None:
        super().__init__(spec, reduction)
        if version != pyiqa_version():
            raise MeasureError(f"{spec.key}: asked for pyiqa {version}, installed is {pyiqa_version()}")
        self.network = network
        self._float64 = float64

    @abstractmethod
    def _require_gradient(self, device: torch.device) -> None:
        """Raise MeasureError if the measure cannot be a loss."""

    def _compute(self, images: Tensor, references: Tensor) -> Tensor:
        dtype = images.dtype
        if not self._float64:
            images, references = images.float(), references.float()
        if torch.is_grad_enabled() and images.requires_grad:
            self._require_gradient(images.device)
            images = images if transformed() else self._guarded(images)
        return self._call(images, references.expand_as(images)).to(dtype)

    def _call(self, images: Tensor, references: Tensor) -> Tensor:
        where = f"{self.spec.key}: pyiqa {pyiqa_version()}"
        try:
            with float32_default():  # in which pyiqa makes its constants
                score = self.network(images, references)
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
            reason = one_line(error, 160)
            raise MeasureError(f"{where} failed on images of shape {tuple(images.shape)}: {reason}") from error
        if not isinstance(score, Tensor) or score.numel() != len(images):
            raise MeasureError(f"{where} gave {type(score).__name__}, not one number per image; not a measure")
        return score.reshape(len(images))

    def _guarded(self, images: Tensor) -> Tensor:
        guarded = images.view_as(images)  # a node of its own: the hook must not stay on a tensor of the caller's

        def check(gradient: Tensor) -> None:
            if not torch.isfinite(gradient).all() and torch.isfinite(images).all():
                raise MeasureError(
                    f"{self.spec.key}: pyiqa {pyiqa_version()} has no finite gradient on these images (an image of one "
                    "colour, or identical ones?); use another measure as the loss"
                )

        guarded.register_hook(check)
        return guarded


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

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of :data:`ENTRIES`."""
        return tuple(ENTRIES)

    @property
    def entry(self) -> PyiqaEntry:
        """What :data:`ENTRIES` says about the measure."""
        return ENTRIES[self.measure]

    @property
    def key(self) -> str:
        """The measure's name, followed by a mark of the definition where images are in another range than [0, 1]."""
        return self.measure + (f"+{self.identity[:4]}" if self.preprocessing else "")

    @property
    def families(self) -> frozenset[str]:
        """Declared in the registry."""
        return self.entry.families | learnt_from(self.trained_on)

    @property
    def min_size(self) -> int:
        """Declared in the registry."""
        return self.entry.min_size

    @property
    def differentiable(self) -> bool:
        """Declared in the registry."""
        return self.entry.differentiable

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Declared in the registry."""
        return self.entry.trained_on

    def definition(self) -> dict[str, Any]:
        """The pyiqa name and every option that fixes the definition."""
        return {"metric": self.entry.metric, "pyiqa": self.pyiqa, "options": self.entry.options} | self.preprocessing

    def build(self, *, reduction: Reduction = "mean") -> Handcrafted:
        """Build the measure."""
        return Handcrafted(self, reduction=reduction)


class Handcrafted(PyiqaMeasure[HandcraftedSpec]):
    """A measure of :data:`ENTRIES`; direction and range are the entry's."""

    def __init__(self, spec: HandcraftedSpec | str, reduction: Reduction = "mean") -> None:
        spec = spec if isinstance(spec, HandcraftedSpec) else HandcraftedSpec(measure=spec)
        network = pyiqa_network(spec.entry.metric, **spec.entry.options)
        super().__init__(spec, network, reduction, version=spec.pyiqa, float64=spec.entry.float64)
        self.lower_is_better = spec.entry.lower_is_better
        self.value_range = spec.entry.value_range

    def _require_gradient(self, device: torch.device) -> None:  # noqa: ARG002
        if not self.spec.differentiable:
            raise MeasureError(f"{self.spec.key} has no finite gradient, so it cannot be a loss; use it as a judge")


class PyiqaSpec(MeasureSpec):
    """Any full-reference metric of pyiqa, as pyiqa itself describes it.

    Attributes:
        measure: ``pyiqa``.
        metric: pyiqa's name, e.g. ``ahiq``.
        options: pyiqa options that change the definition.
        shares: in YAML ``families``: what the metric is made of and learnt from, beyond what is known here, e.g.
            ``[backbone:vgg, data:bapps]``; required where nothing is known.
        pyiqa: pyiqa's version; filled in from the installed one, which a given version must equal.
    """

    model_config = ConfigDict(populate_by_name=True)

    measure: Literal["pyiqa"] = "pyiqa"
    metric: str
    options: dict[str, Any] = Field(default_factory=dict)
    shares: DeclaredFamilies = Field(default=(), alias="families")
    pyiqa: str = Field(default_factory=pyiqa_version)

    @field_validator("metric")
    @classmethod
    def _full_reference(cls, value: str) -> str:
        mode = _configuration(value).get("metric_mode")
        if mode != "FR":
            raise ValueError(f"pyiqa's '{value}' is not a full-reference metric (its mode is {mode})")
        return value

    def __hash__(self) -> int:
        return hash(self.identity)

    @property
    def key(self) -> str:
        """``pyiqa-<metric>``, followed by a mark of the definition where options are given."""
        return f"pyiqa-{self.metric}" + (f"+{self.identity[:4]}" if self.options or self.preprocessing else "")

    @model_validator(mode="after")
    def _made_of_something(self) -> PyiqaSpec:
        if self._kind is None and not self.shares:
            raise ValueError(
                f"it is not known here what pyiqa's '{self.metric}' is made of; say so, so that it does not pass for "
                "independent: families: [backbone:…, form:…, data:…]"
            )
        return self

    @property
    def _kind(self) -> _Kind | None:
        return _kind(_configuration(self.metric)["metric_opts"] | self.options)

    @property
    def families(self) -> frozenset[str]:
        """What is known of its architecture, and what was declared."""
        return with_declared(self._kind.families if self._kind else (), self.trained_on, self.shares)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """What is known of pyiqa's weights; None (unknown) if ``options`` may name others."""
        if self._kind is None or (self.options and self._kind.trained_on):
            return None
        return self._kind.trained_on

    @property
    def min_size(self) -> int:
        """Enough for the five halvings of pyiqa's networks; pyiqa states no minimum. A metric can still refuse it."""
        return 64

    def definition(self) -> dict[str, Any]:
        """The metric, pyiqa's version and the options; declared families change no score."""
        return {"metric": self.metric, "pyiqa": self.pyiqa, "options": self.options} | self.preprocessing

    def build(self, *, reduction: Reduction = "mean") -> Pyiqa:
        """Build the metric; pyiqa may download weights."""
        return Pyiqa(self, reduction=reduction)


class Pyiqa(PyiqaMeasure[PyiqaSpec]):
    """Any full-reference metric of pyiqa. Direction and range are those of pyiqa's configuration table.

    A bound that pyiqa marks as rough (``~1``) is taken as none. Whether there is a gradient is tried on one small pair
    the first time it is needed.
    """

    def __init__(self, spec: PyiqaSpec, reduction: Reduction = "mean") -> None:
        network = pyiqa_network(spec.metric, **spec.options)
        super().__init__(spec, network, reduction, version=spec.pyiqa, float64=False)
        configuration = _configuration(spec.metric)
        self.lower_is_better = bool(configuration.get("lower_better", False))
        self.value_range = _bounds(configuration.get("score_range", ""))
        self._has_gradient = False

    def _require_gradient(self, device: torch.device) -> None:
        if self._has_gradient:
            return
        generator = torch.Generator().manual_seed(0)
        reference = torch.rand(1, 3, 28, 28, generator=generator)
        reference = nn.functional.interpolate(reference, scale_factor=8, mode="bilinear")  # 224 px: every network's
        image = (reference + 0.1 * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
        image = image.to(device).requires_grad_()
        try:
            (gradient,) = torch.autograd.grad(self._call(image, reference.to(device)).sum(), image)
            found = "zero" if not gradient.any() else "not finite"
            self._has_gradient = bool(torch.isfinite(gradient).all() and gradient.any())
        except RuntimeError as error:  # no graph, or an in-place operation in it
            found = one_line(error, 120)
        if not self._has_gradient:
            raise MeasureError(
                f"{self.spec.key}: pyiqa {self.spec.pyiqa} gives '{self.spec.metric}' no usable gradient ({found}), so "
                "it cannot be a loss; use it as a judge"
            )


def _configuration(metric: str) -> dict[str, Any]:
    """Return pyiqa's own entry of a metric: architecture and its options, mode, direction, range.

    Raises:
        ValueError: pyiqa does not know the metric.
    """
    pyiqa_version()
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    if metric not in DEFAULT_CONFIGS:
        near = difflib.get_close_matches(metric, DEFAULT_CONFIGS, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"pyiqa {pyiqa_version()} has no metric '{metric}'{hint}")
    return DEFAULT_CONFIGS[metric]


def _bounds(text: str) -> tuple[float | None, float | None]:
    """Read pyiqa's ``"0, 1"``, ``"~0, ~1"`` or ``"0, ~"``."""
    try:
        low, high = (None if "~" in part else float(part) for part in text.split(","))
    except ValueError:
        return None, None
    return low, high
