"""What measures, judges and discriminators are made of, as words such as ``backbone:vgg``.

- ``backbone:<architecture family>``, whatever depth, checkpoint or random draw: VGG-16 and VGG-19 are ``backbone:vgg``;
- ``form:<form>``, the way in which it compares: ``form:ssim``, ``form:dists``, ``form:pixel``;
- ``data:<what it learnt from>``: ``data:imagenet``, ``data:kadid-10k``; none for random weights and hand-made formulas,
  ``data:unknown`` where it is not known.

A thing can have several of each. A judge that shares one with a loss is not independent of it; which of the three kinds
count is a setting of the analysis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from .errors import LopsidedError

Kind = Literal["backbone", "form", "data"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNKNOWN = "data:unknown"
PATTERN = rf"^(?:{'|'.join(KINDS)}):[a-z0-9][a-z0-9._+-]*$"


class FamilyError(LopsidedError, ValueError):
    """A family without one of the three prefixes, or with characters that a name does not have."""


def checked(*families: str) -> frozenset[str]:
    """Return families if every one is well written.

    Raises:
        FamilyError: one is not; the message names the three prefixes.

    Examples:
        >>> checked("vgg16")
        Traceback (most recent call last):
        ...
        lopsided.common.families.FamilyError: 'vgg16' is not a family; write backbone:…, form:… or data:… in small \
letters, such as backbone:vgg
    """
    found = frozenset(families)
    for family in sorted(found):
        if not re.match(PATTERN, family):
            raise FamilyError(
                f"'{family}' is not a family; write backbone:…, form:… or data:… in small letters, such as backbone:vgg"
            )
    return found


def learnt_from(names: Iterable[str] | None) -> frozenset[str]:
    """Return the ``data:`` families of data sets, however they are written; ``data:unknown`` for None.

    Examples:
        >>> sorted(learnt_from(["KADID-10k", "LIVE"])), sorted(learnt_from(None)), sorted(learnt_from([]))
        (['data:kadid-10k', 'data:live'], ['data:unknown'], [])
    """
    if names is None:
        return frozenset({UNKNOWN})
    return frozenset(f"data:{plain(name)}" for name in names)


def with_declared(known: Iterable[str], trained_on: Iterable[str] | None, declared: Iterable[str]) -> frozenset[str]:
    """Return what is known of a thing and what a user declares of it.

    Args:
        known: families that are known.
        trained_on: what its own weights learnt from; None if unknown, which a declared ``data:`` replaces.
        declared: the user's.

    Examples:
        >>> sorted(with_declared({"form:ahiq"}, None, ["backbone:vit"]))
        ['backbone:vit', 'data:unknown', 'form:ahiq']
        >>> sorted(with_declared({"form:ahiq"}, None, ["data:pipal"]))
        ['data:pipal', 'form:ahiq']
    """
    declared = frozenset(declared)
    says_data = any(family.startswith("data:") for family in declared)
    return declared | frozenset(known) | (learnt_from(trained_on) if trained_on is not None or not says_data else set())


def plain(name: str) -> str:
    """Return a name in the letters that families are written in.

    Examples:
        >>> plain("Qwen3 VL/8B")
        'qwen3-vl-8b'
    """
    return re.sub(r"[^a-z0-9._+]+", "-", name.lower()).strip("-._+") or "unnamed"


def joined(families: Iterable[str]) -> str:
    """Return the families as one text, as tables have them.

    Examples:
        >>> joined({"form:ssim", "backbone:vgg"})
        'backbone:vgg;form:ssim'
    """
    return ";".join(sorted(families))


def _ordered(families: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(checked(*families)))


_Word = Annotated[str, Field(json_schema_extra={"pattern": PATTERN})]
Families = Annotated[tuple[_Word, ...], AfterValidator(_ordered)]
"""Field type of families that a user declares."""
