"""Measures by key (``l1``, ``lpips-vgg``, ``dists-vgg16-r`` …) or by a mapping with a ``measure`` and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..backbones import BackboneError, list_backbones
from ..common.errors import did_you_mean
from ..common.registry import Registry
from .artefact import ArtefactSpec
from .contextual import ContextualSpec
from .dists import DistsSpec
from .features import FeatureSpec
from .gmsd import GmsdSpec
from .lpips import KEYS as LPIPS_KEYS
from .lpips import PUBLISHED as LPIPS_NETWORKS
from .lpips import LpipsSpec
from .measure import Measure, MeasureError, MeasureSpec, Reduction
from .nlpd import NlpdSpec
from .perceptual import PerceptualSpec
from .pixel import PixelSpec
from .ssim import SsimSpec
from .style import StyleSpec
from .through_pyiqa import HandcraftedSpec, PyiqaSpec

SPECS = Registry[type[MeasureSpec]]("measure")


def register_measure(spec: type[MeasureSpec]) -> type[MeasureSpec]:
    """Add a measure to the registry under the values of its field ``measure``, and return it; usable as a decorator.

    Raises:
        LopsidedError: there is a measure of that name, or ``spec`` is no subclass of MeasureSpec.
    """
    if not (isinstance(spec, type) and issubclass(spec, MeasureSpec)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MeasureError(f"register_measure takes a subclass of MeasureSpec, got {spec!r}")
    for name in spec.names():
        SPECS.register(name, spec)
    return spec


for _spec in (
    *(PixelSpec, SsimSpec, GmsdSpec, NlpdSpec, ArtefactSpec, HandcraftedSpec, PyiqaSpec),
    *(LpipsSpec, DistsSpec, PerceptualSpec, StyleSpec, ContextualSpec),
):
    register_measure(_spec)


def list_measures() -> list[str]:
    """Return every measure key.

    Examples:
        >>> from lopsided.losses import list_measures
        >>> list_measures()[:6]
        ['l1', 'l2', 'charbonnier', 'ssim', 'ms_ssim', 'gmsd']
    """
    on_backbones = [f"{name}-{backbone}" for name in _on_backbones() for backbone in list_backbones()]
    aliases = [f"lpips-{backbone}" for backbone in LPIPS_NETWORKS]
    return [*_short_keys(), *(key for key in on_backbones if key not in aliases)]


def parse_measure(value: str | Mapping[str, Any] | MeasureSpec) -> MeasureSpec:
    """Return the spec of a measure given by key or by a mapping such as ``{measure: dists, backbone: vgg16-r}``.

    Raises:
        MeasureError: unknown measure or option; the message names the nearest one.

    Examples:
        >>> from lopsided.losses import parse_measure
        >>> parse_measure("dists-vgg16-r") == parse_measure({"measure": "dists", "backbone": "vgg16-r"})
        True
        >>> parse_measure("disst")
        Traceback (most recent call last):
        lopsided.losses.errors.MeasureError: unknown measure 'disst'; did you mean 'dists'?
    """
    if isinstance(value, MeasureSpec):
        return value
    if not isinstance(value, str | Mapping):
        raise MeasureError(f"a measure is a key or a mapping, got {value!r}")
    fields = _from_key(value) if isinstance(value, str) else dict(value)
    if "measure" not in fields:
        raise MeasureError(f"'measure' is missing in {fields}; write {{measure: dists, …}}, known: {', '.join(SPECS)}")
    name = fields["measure"]
    if not isinstance(name, str) or name not in SPECS:
        raise MeasureError(_unknown(str(name), list(SPECS)))
    try:
        return SPECS[name].model_validate(fields)
    except ValidationError as error:
        # An unknown key says more than what is missing because of it.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = "is missing"
        elif first["type"] == "extra_forbidden":
            known = [field.alias or option for option, field in SPECS[name].model_fields.items()]
            message = "unknown option" if "." in where else _unknown(where, known, what="option")
        raise MeasureError(f"measure '{name}': {where + ': ' if where else ''}{message}") from None
    except BackboneError as error:
        raise MeasureError(f"measure '{name}': {error}") from None


def create_measure(
    value: str | Mapping[str, Any] | MeasureSpec,
    *,
    reduction: Reduction = "mean",
    input_range: tuple[float, float] | None = None,
) -> Measure:
    """Build a measure from its key, a mapping or a spec.

    Args:
        value: which measure.
        reduction: how its loss is reduced over the batch.
        input_range: values of black and white in the images that it will be given, such as ``(-1, 1)``; [0, 1] unless
            ``value`` says otherwise. They are brought to [0, 1] first. It is part of the identity.

    Raises:
        MeasureError: unknown measure or option.
        LopsidedError: weights that are missing or fail verification.

    Examples:
        >>> import torch
        >>> from lopsided.losses import create_measure
        >>> black, white = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
        >>> ssim = create_measure({"measure": "ssim", "color": "rgb"})
        >>> f"{ssim.score(black, white).item():.4f}", ssim.lower_is_better
        ('0.0001', False)
        >>> f"{ssim(black, white).item():.4f}"  # as a loss: 1 - score
        '0.9999'
        >>> round(create_measure("l1", input_range=(-1, 1))(-white, white).item(), 4)
        1.0
    """
    spec = parse_measure(value)
    if input_range is not None:
        spec = parse_measure({**spec.model_dump(), "input_range": input_range})
    return spec.build(reduction=reduction)


def _on_backbones() -> list[str]:
    """Names of the measures that take any backbone of the registry."""
    return [name for name, spec in SPECS.items() if issubclass(spec, FeatureSpec)]


def _short_keys() -> list[str]:
    """Every key that names no backbone of the registry."""
    return [*(name for name in SPECS if name not in (*_on_backbones(), "pyiqa")), *LPIPS_KEYS, "dists"]


def _from_key(key: str) -> dict[str, Any]:
    if key in LPIPS_KEYS:
        return {"measure": "lpips", **LPIPS_KEYS[key]}
    if key in SPECS:
        return {"measure": key}
    name, _, backbone = key.partition("-")
    if name in _on_backbones() and backbone in list_backbones():
        return {"measure": name, "backbone": backbone}
    if name == "pyiqa" and backbone:
        return {"measure": "pyiqa", "metric": backbone}
    raise MeasureError(_unknown(key, list_measures(), [*_short_keys(), *(f"{n}-<backbone>" for n in _on_backbones())]))


def _unknown(name: str, known: list[str], shown: list[str] | None = None, what: str = "measure") -> str:
    hint = did_you_mean(name, known, f"known: {', '.join(shown or known)}")
    return f"unknown {what} '{name}'; {hint}"
