"""Words for cells that several stages have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...analysis import SHARE


def network(labels: Mapping[str, Any]) -> str:
    """Name a trained network by its place in the grid."""
    parts = [str(labels[name]) for name in ("generator", "fidelity") if name in labels]
    discriminator = str(labels.get("discriminator", ""))
    parts += [discriminator.removesuffix(SHARE)] if discriminator else []
    if labels.get("gan_weight"):
        parts.append(f"{'share' if discriminator.endswith(SHARE) else 'w'}={labels['gan_weight']:g}")
    return " ".join([*parts, f"seed {labels['seed']}"])


def restored_set(labels: Mapping[str, Any]) -> str:
    """Name a test set as a trained network restored it."""
    return f"{network(labels)} on {labels['test_set']}"


def assessed(labels: Mapping[str, Any]) -> str:
    """Name a measure or model, and the labelled set it is used on."""
    return f"{labels['measure']} on {labels['dataset']}"
