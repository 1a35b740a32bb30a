"""Weights & Biases' view of a training; offline unless ``WANDB_MODE`` says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .tasks import Pixels


class Wandb:
    """A run of the project ``WANDB_PROJECT``, "lopsided" by default; nothing leaves this machine unless asked to.

    Args:
        folder: where runs are kept until ``wandb sync`` sends them.
        key: ID of the run.
        title: its name.
    """

    def __init__(self, folder: Path, key: str, title: str) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._image = wandb.Image
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lopsided"),
            id=key,
            name=title,
            dir=str(folder),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, save_code=False, x_disable_stats=True
            ),
        )

    def row(self, row: Mapping[str, Any]) -> None:
        """Show a row of the history."""
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])

    def images(self, step: int, images: Sequence[Pixels]) -> None:
        """Show images."""
        self._run.log({"validation images": [self._image(pixels) for pixels in images]}, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
