"""Cells: one stage with everything that determines its outputs, and the content hash that names it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from ...common.identity import identity
from ...sr.tasks import Bicubic, Degradation


class CellSpec(BaseModel, ABC):
    """What a stage needs besides the outputs of other cells.

    Attributes:
        stage: the stage's name.
        version: raised whenever the stage would give other outputs for the same content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what determines the outputs, as JSON: contents by hash, never places on this machine."""

    @property
    def together(self) -> str | None:
        """See :attr:`Cell.together`."""
        return None


def _of_task(task: Degradation) -> dict[str, Any]:
    """Return what a task adds to a content; bicubic, once the only one, adds nothing."""
    return {} if isinstance(task, Bicubic) else {"task": task.identity}


@dataclass(frozen=True, eq=False)
class Cell:
    """A node of the plan.

    Attributes:
        spec: the stage and what it needs.
        inputs: cells whose outputs it reads, by role.
        labels: names for tables and people; they do not enter the identity.
    """

    spec: CellSpec
    inputs: Mapping[str, Cell] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.spec.stage

    @property
    def together(self) -> str | None:
        """What cells have in common that are best computed in one go; None: it is computed alone."""
        return self.spec.together

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
