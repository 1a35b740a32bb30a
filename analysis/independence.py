"""Which judges may judge which cells: those that share neither backbone nor form with what the cells were trained with.

A family is ``kind:name``: ``backbone:vgg`` (architecture, whatever its depth or checkpoint), ``form:dists`` or
``data:kadid-10k`` (what it learnt from). Families without a kind, as old tables have them, always count.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from .errors import AnalysisError
from .statistics.frames import Row

KINDS = ("backbone", "form", "data")
INDEPENDENCE = ("backbone", "form")
# What a cell trained with no fidelity measure was trained with.
PIXEL_ONLY = "form:pixel"


def require_kinds(independence: Collection[str]) -> None:
    """Raise AnalysisError if a word is none of ``KINDS``."""
    if unknown := sorted(set(independence) - set(KINDS)):
        raise AnalysisError(f"independence by {', '.join(unknown)} is not known: choose from {', '.join(KINDS)}.")


def families(joined: Any) -> frozenset[str]:
    """Split a ";"-joined list of families; empty or missing gives the empty set."""
    return frozenset() if pd.isna(joined) else frozenset(part.strip() for part in str(joined).split(";")) - {""}


def families_of_cell(row: Row) -> frozenset[str]:
    """Return the families of what a cell was trained with: its measure, or the pixel loss, and its discriminator."""
    of_measure = families(row["fidelity_families"])
    if row["fidelity"] == "none":
        of_measure |= {PIXEL_ONLY}
    return of_measure | families(row.get("discriminator_families", ""))


def counted(found: frozenset[str], independence: Collection[str]) -> frozenset[str]:
    """Return the families whose kind counts; "backbone:vgg" counts if "backbone" does, "vgg" always."""
    return frozenset(family for family in found if ":" not in family or family.split(":")[0] in independence)


def is_related(cell: Row, judge: Row, independence: Collection[str] = INDEPENDENCE) -> bool:
    """Return whether a judge is the cell's own measure or shares a family that counts with what it was trained with.

    Args:
        cell: A row of ``sr_scores`` of the cell.
        judge: A row of ``sr_scores`` of the judge.
        independence: Kinds of families that must not be shared.

    Examples:
        >>> cell = {"fidelity": "dists-vgg16", "fidelity_id": "1", "fidelity_families": "backbone:vgg;form:dists"}
        >>> judge = {"judge": "lpips-vgg19", "judge_id": "2", "judge_families": "backbone:vgg;form:lpips"}
        >>> is_related(cell, judge), is_related(cell, judge, independence=["form"])
        (True, False)
    """
    if judge["judge"] == cell["fidelity"] or judge["judge_id"] == cell["fidelity_id"]:
        return True
    shared = families_of_cell(cell) & families(judge["judge_families"])
    return bool(counted(shared, independence))
