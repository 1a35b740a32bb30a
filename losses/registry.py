"""Measures by key (``l1``, ``lpips-vgg``, ``dists-vgg16-r`` …) or by a mapping with a ``measure`` and its options."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..backbones import BackboneError, list_backbones
from .dists import DistsSpec
from .handcrafted import ENTRIES, HandcraftedSpec
from .lpips import NETWORKS, LpipsSpec
from .measure import Measure, MeasureError, MeasureSpec, Reduction
from .pixel import PixelSpec

_SPECS: dict[str, type[MeasureSpec]] = {
    **dict.fromkeys(("l1", "l2", "charbonnier"), PixelSpec),
    **dict.fromkeys(ENTRIES, HandcraftedSpec),
    "lpips": LpipsSpec,
    "dists": DistsSpec,
}


def list_measures() -> list[str]:
    """Return every measure key."""
    plain = [name for name in _SPECS if name not in ("dists", "lpips")]
    lpips = [LpipsSpec.model_validate({"net": network}).key for network in NETWORKS]
    return [*plain, *lpips, *(f"dists-{backbone}" for backbone in list_backbones())]


def parse_measure(value: str | Mapping[str, Any] | MeasureSpec) -> MeasureSpec:
    """Return the spec of a measure given by key or by a mapping such as ``{measure: dists, backbone: vgg16-r}``.

    Raises:
        MeasureError: unknown measure or option; the message names the nearest one.
    """
    if isinstance(value, MeasureSpec):
        return value
    fields = _from_key(value) if isinstance(value, str) else dict(value)
    name = fields.get("measure")
    if not isinstance(name, str) or name not in _SPECS:
        raise MeasureError(_unknown(str(name), list(_SPECS)))
    try:
        return _SPECS[name].model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = _unknown(str(first["loc"][-1]), list(_SPECS[name].model_fields), what="option")
        raise MeasureError(f"measure '{name}': {where}: {message}") from None
    except BackboneError as error:
        raise MeasureError(f"measure '{name}': {error}") from None


def create_measure(value: str | Mapping[str, Any] | MeasureSpec, *, reduction: Reduction = "mean") -> Measure:
    """Build a measure from its key, a mapping or a spec.

    Raises:
        MeasureError: unknown measure or option, or weights that are not to be had.
    """
    return parse_measure(value).build(reduction=reduction)


def _from_key(key: str) -> dict[str, Any]:
    if key in _SPECS:
        return {"measure": key}
    name, _, network = key.partition("-")
    if name == "dists" and network in list_backbones():
        return {"measure": "dists", "backbone": network}
    if name == "lpips" and network in NETWORKS:
        return {"measure": "lpips", "net": network}
    raise MeasureError(_unknown(key, list_measures()))


def _unknown(name: str, known: list[str], what: str = "measure") -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"unknown {what} '{name}'; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}")
