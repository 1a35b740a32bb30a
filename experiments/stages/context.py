"""What stages share besides their cells: the store, the execution settings, and networks that are built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from ...common.kept import Kept
from ...iqa import Judge, JudgeSpec
from ...losses import Measure, MeasureSpec
from ...sr.checkpoint import read_tensors
from ..schema.execution import Execution
from ..schema.measures import LearntDists
from ..store import Store, checked
from .cell import Cell
from .cell_files import damaged

ALPHA_BETA = "alpha_beta.safetensors"  # in the folder of a cell that learns them
JUDGED_BYTES = 1 << 30  # of reference features that judges keep; features beyond that are computed again for every cell

T = TypeVar("T")


@dataclass
class Context:
    """What a stage can use besides its cell.

    Attributes:
        store: where inputs are.
        execution: device, threads, checkpoint interval.
        progress: told (units done, units in all, note).
        stop: asked whether to stop at the next good moment; raises LostLeaseError if the cell belongs to another
            process by now, so ask before something is written that others read.
        references: what judges computed from references; all restored cells of a test set share it.
    """

    store: Store
    execution: Execution
    progress: Callable[[int, int, str], None] = field(default=lambda _done, _total, _note: None)
    stop: Callable[[], bool] = field(default=lambda: False)
    references: Kept = field(default_factory=lambda: Kept(JUDGED_BYTES))
    _made: dict[str, Any] = field(default_factory=dict)
    _read: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def work(self, cell: Cell) -> Path:
        """Return the folder of what a cell resumes from; it is deleted when the cell is done."""
        return self.store.folder(cell.stage, cell.id) / "work"

    def input(self, cell: Cell, role: str, name: str) -> Path:
        """Return an output of an input, a file or a folder, once its bytes are those that were recorded.

        Raises:
            DamagedError: it is missing or differs.
        """
        source = cell.inputs[role]
        path, sha256 = checked(self.store.folder(source.stage, source.id), name)
        if sha256 is None:
            raise damaged(path, FileNotFoundError("no such file"))
        self._read.setdefault(cell.id, {}).setdefault(role, {})[name] = sha256
        return path

    def inputs_read(self, cell: Cell) -> dict[str, dict[str, str]]:
        """Return the SHA-256 of what was read of a cell's inputs, by role and name."""
        return self._read.get(cell.id, {})

    def weights(self, cell: Cell, role: str, name: str) -> dict[str, torch.Tensor]:
        """Read a file of tensors of an input.

        Raises:
            ExperimentError: the file is missing or damaged.
        """
        path = self.input(cell, role, name)
        try:
            return read_tensors(path)[0]
        except (OSError, ValueError, SafetensorError) as error:
            raise damaged(path, error) from None

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` made the first time it was asked for under ``key``: networks and decoded images."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def measure(self, spec: MeasureSpec, cell: Cell | None = None) -> Measure[Any]:
        """Build a measure; one whose weights the experiment learns takes them from the cell's input ``weights``.

        Without a cell such a measure has uniform weights, which is enough to find out whether it can be built.
        """
        if isinstance(spec, LearntDists):
            spec = spec.with_weights(self.input(cell, "weights", ALPHA_BETA)) if cell else spec.base
        return self.once(f"measure {spec.identity}", spec.build)

    def judge(self, spec: JudgeSpec) -> Judge:
        """Build a judge on the device."""
        return self.once(f"judge {spec.identity}", lambda: Judge(spec, self.execution.device))
