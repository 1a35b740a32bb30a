"""TensorBoard's view of a training: the history's rows as scalars, validation images as images."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .tasks import Pixels


class TensorBoard:
    """Writes an event file into ``folder``, each event at once.

    The ``SummaryWriter`` of torch writes in a thread of its own, and what fails there ends in a traceback on the
    terminal; here it is an error that can be caught.

    Args:
        folder: where it goes.
        step: the step that the run starts from; an earlier run's events of later steps are hidden.

    Raises:
        OSError: the file cannot be written; so in all methods.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("xb")
        messages: Any = event_pb2  # its names are made at run time, unseen by type checkers
        self._records, self._event = RecordWriter(self._file), messages.Event
        self._add(file_version="brain.Event:2")
        self._add(step=step + 1, session_log=messages.SessionLog(status=messages.SessionLog.START))

    def row(self, row: Mapping[str, Any]) -> None:
        """Add every number of a row of the history at its step."""
        from torch.utils.tensorboard.summary import scalar

        for name, value in row.items():
            if name != "step":
                self._add(step=row["step"], summary=scalar(name, value))

    def images(self, step: int, images: Sequence[Pixels]) -> None:
        """Add images."""
        from torch.utils.tensorboard.summary import image

        for index, shown in enumerate(images):
            self._add(step=step, summary=image(f"validation/{index}", shown, dataformats="HWC"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()
