"""Where the curves of a training go besides its history: TensorBoard, Weights & Biases, MLflow.

Trackers look on. What goes wrong in one of them is a warning, and the training goes on without it; the numbers are in
the history in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..common.errors import one_line
from ..common.images import to_uint8
from .errors import SuperResolutionError
from .tasks import Pixels

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "wandb", "mlflow"]
EXTRA = {"tensorboard": "study", "wandb": "wandb", "mlflow": "mlflow"}


class Tracker(Protocol):
    """Something that shows curves."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Show every number of a row of the history at its step."""
        ...

    def images(self, step: int, images: Sequence[Pixels]) -> None:
        """Show images ``(H, W, 3)`` of 8 bits."""
        ...

    def close(self) -> None:
        """Write what is pending."""
        ...


OpenTracker = Callable[[int], Tracker]  # given the step that the run starts from


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Check that the libraries of trackers are there, before anything is trained.

    Raises:
        SuperResolutionError: one is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise SuperResolutionError(
                f"{name} is not installed; pip install 'lopsided[{EXTRA[name]}]', or leave '{name}' out of "
                "execution.tracking"
            )


def tracker(name: TrackerName, folder: Path, shared: Path, key: str, title: str) -> OpenTracker:
    """Return what opens a tracker for a training.

    Args:
        name: which.
        folder: of the training, for what is of it alone; it outlives the training.
        shared: folder of what a tracker keeps of all trainings on this machine.
        key: names the training for good, so that a resumed one continues its curves.
        title: for people.
    """

    def opened(step: int) -> Tracker:
        if name == "tensorboard":
            from .tracking_tensorboard import TensorBoard

            return TensorBoard(folder / "tensorboard", step)
        if name == "wandb":
            from .tracking_wandb import Wandb

            return SentOnce(Wandb(shared, key, title), folder / "tracking" / name)
        from .tracking_mlflow import Mlflow

        return SentOnce(Mlflow(shared / "mlflow", key, title), folder / "tracking" / name)

    return opened


class SentOnce:
    """Passes on only what an earlier, killed run of the training has not passed on.

    The last step is noted in a file before it is sent: a kill can leave a gap in the curves, and never a point twice.

    Args:
        of: the tracker.
        note: the file.
    """

    def __init__(self, of: Tracker, note: Path) -> None:
        self._of, self._note = of, note
        self._sent: dict[str, int] = {}
        if note.exists():
            lines = (line.split("\t") for line in note.read_text(encoding="utf-8").splitlines())
            self._sent = {name: int(step) for name, step in lines}
        note.parent.mkdir(parents=True, exist_ok=True)

    def row(self, row: Mapping[str, Any]) -> None:
        """Pass on the numbers that are new."""
        new = {name: value for name, value in row.items() if name != "step" and row["step"] > self._sent.get(name, -1)}
        if new:
            self._remember(row["step"], new)
            self._of.row({"step": row["step"], **new})

    def images(self, step: int, images: Sequence[Pixels]) -> None:
        """Pass on images of a new step."""
        if step > self._sent.get(" images", -1):
            self._remember(step, [" images"])
            self._of.images(step, images)

    def close(self) -> None:
        """Close the tracker."""
        self._of.close()

    def _remember(self, step: int, names: Any) -> None:
        self._sent |= dict.fromkeys(names, step)
        self._note.write_text("".join(f"{name}\t{at}\n" for name, at in self._sent.items()), encoding="utf-8")


class Trackers:
    """Several trackers as one; one that fails is left out from then on, with a warning.

    Args:
        openers: what opens them.
        step: the step that the run starts from.
    """

    def __init__(self, openers: Sequence[OpenTracker], step: int) -> None:
        self._open: list[Tracker] = []
        for opener in openers:
            try:
                self._open.append(opener(step))
            except Exception as error:
                log.warning("a tracker of curves cannot start (%s); the training goes on without it", one_line(error))

    def row(self, row: Mapping[str, Any]) -> None:
        """Show a row of the history."""
        self._each(lambda one: one.row(row))

    def images(self, step: int, images: Sequence[Tensor]) -> None:
        """Show images ``(3, H, W)`` in [0, 1], of any sizes."""
        self._each(lambda one: one.images(step, [to_uint8(image.cpu()) for image in images]))

    def close(self) -> None:
        """Close all."""
        self._each(lambda one: one.close())

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for one in list(self._open):
            try:
                do(one)
            except Exception as error:
                self._open.remove(one)
                log.warning("%s failed (%s); the training goes on without it", type(one).__name__, one_line(error))
