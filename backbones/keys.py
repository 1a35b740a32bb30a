"""How keys tell apart definitions that share a name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from .registry import BackboneSpec, weights_names


class _OnBackbone(Protocol):
    """A definition that has a backbone."""

    @property
    def backbone(self) -> BackboneSpec | str: ...

    @property
    def identity(self) -> str: ...


Spec = TypeVar("Spec", bound=_OnBackbone)


def distinguished(base: str, spec: Spec, default: Spec) -> str:
    """Return ``base``, followed by what sets ``spec`` apart from the definition that ``base`` alone stands for.

    A seed of random weights, and a file of weights that the registry knows, are named; anything else is a piece of the
    identity, because a name could stand for two definitions.

    Examples:
        >>> from lopsided.losses import parse_measure
        >>> parse_measure({"measure": "dists", "backbone": {"name": "squeezenet1_1-r", "seed": 2}}).key
        'dists-squeezenet1_1-r@seed2'
    """
    if spec == default:
        return base
    backbone, plain = spec.backbone, default.backbone
    if isinstance(backbone, BackboneSpec) and isinstance(plain, BackboneSpec):
        words = _words(backbone)
        if words and spec.identity == _with(default, backbone).identity:
            return f"{base}@{words}"
    return f"{base}+{spec.identity[:4]}"


def _words(backbone: BackboneSpec) -> str:
    if backbone.random:
        return f"seed{backbone.seed}" if backbone.seed else ""
    return Path(backbone.weights).stem if backbone.weights in weights_names() else ""


def _with(default: Spec, backbone: BackboneSpec) -> Spec:
    return default.model_copy(update={"backbone": backbone})  # pyright: ignore[reportAttributeAccessIssue]
