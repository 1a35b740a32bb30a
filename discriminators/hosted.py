"""Discriminators as networks of other trainers, which build them from options."""

from __future__ import annotations

from typing import Any

from .discriminator import Discriminator, build_discriminator


def LopsidedDiscriminator(seed: int = 0, **options: Any) -> Discriminator:  # noqa: N802 - trainers ask for it by this name
    """Build a discriminator, as ``network_d`` of BasicSR, traiNNer-redux or neosr names it.

    Args:
        seed: seed of everything drawn at random.
        options: those of :class:`DiscriminatorSpec`, such as ``form`` and ``backbone``.

    Raises:
        DiscriminatorError: an unknown option, or options that do not fit together.

    Examples:
        >>> LopsidedDiscriminator(form="unet", width=8).spec.key.split("+")[0]
        'unet'
    """
    return build_discriminator(options, seed=seed)
