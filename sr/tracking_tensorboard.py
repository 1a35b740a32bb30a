"""TensorBoard's view of a training: the history's rows as scalars, validation images as images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class TensorBoard:
    """Writes event files into ``folder``.

    Args:
        folder: where they go.
        step: the step that the run starts from; an earlier run's events of later steps are hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def row(self, row: Mapping[str, Any]) -> None:
        """Add every number of a row of the history at its step."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def images(self, step: int, images: Tensor) -> None:
        """Add images ``(N, 3, H, W)`` in [0, 1]."""
        for index, image in enumerate(images):
            self._writer.add_image(f"validation/{index}", image, step)

    def close(self) -> None:
        """Write pending events and close the file."""
        self._writer.close()
