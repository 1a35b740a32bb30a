"""Cells: one stage with everything that determines its outputs, and the content hash that names it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from ...common.fields import Settings
from ...common.identity import identity


class CellSpec(Settings, ABC):
    """What a cell is, besides the outputs of other cells that it reads.

    Attributes:
        stage: the stage's name.
        version: raised whenever the stage would give other outputs for the same content.
    """

    stage: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what determines the outputs, as JSON: contents by hash, never places on this machine."""

    def title(self, labels: Mapping[str, Any]) -> str:
        """Return what tells a cell with these labels apart from others of its stage, in a few words."""
        return " ".join(str(value) for value in labels.values() if value is not None)

    def row(self, labels: Mapping[str, Any]) -> str:
        """Return the row of ``lopsided plan`` that the cell shares with others; by default one of its own."""
        return self.title(labels)

    @property
    def together(self) -> str | None:
        """A key shared by cells that are best computed in one go; None: the cell is computed alone."""
        return None


S = TypeVar("S", bound=CellSpec, covariant=True)
K = TypeVar("K", bound=CellSpec)


@dataclass(frozen=True, eq=False)
class Cell(Generic[S]):
    """A node of the plan.

    Attributes:
        spec: the stage and what it needs.
        inputs: cells whose outputs it reads, by role.
        labels: names for tables and people; they do not enter the identity.
    """

    spec: S
    inputs: Mapping[str, Cell[CellSpec]] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.spec.stage

    @cached_property
    def id(self) -> str:
        """Content hash of stage, spec and inputs."""
        return identity(
            {
                "stage": self.stage,
                "version": self.spec.version,
                "spec": self.spec.content(),
                "inputs": {role: cell.id for role, cell in self.inputs.items()},
            }
        )

    @property
    def title(self) -> str:
        """The cell in a few words, its stage first."""
        return f"{self.stage} {self.spec.title(self.labels)}"

    @property
    def row(self) -> str:
        """The row of ``lopsided plan`` that the cell shares with others."""
        return self.spec.row(self.labels)

    def input(self, role: str, kind: type[K]) -> Cell[K]:
        """Return the input of that role, a cell of ``kind``."""
        (found,) = only([self.inputs[role]], kind)
        return found


def only(cells: Iterable[Cell[CellSpec]], kind: type[K]) -> list[Cell[K]]:
    """Return the cells of one kind."""
    return [cell for cell in cells if isinstance(cell.spec, kind)]  # pyright: ignore[reportReturnType]
