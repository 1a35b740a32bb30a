"""What an executor is to a run: some workers elsewhere, which it starts, looks after and stops."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import util

from ...schema.errors import ExperimentError
from ..work import Task

EXTRAS = {"slurm": "submitit", "ray": "ray"}  # executors that need a library, and its name


class Pool(ABC):
    """Workers that compute the cells of a run.

    Attributes:
        here: they run on this machine: what they need can be checked here before they start.
    """

    here = False

    @abstractmethod
    def start(self, tasks: Sequence[Task]) -> None:
        """Start one worker for each task.

        Raises:
            LopsidedError: they cannot be started.
        """

    @abstractmethod
    def tend(self) -> int:
        """Look after the workers, and start those again that crashed; returns how many work or will."""

    @abstractmethod
    def stop(self, *, at_once: bool = False) -> None:
        """Ask the workers to checkpoint and end, and wait until they have.

        Args:
            at_once: end them instead.
        """


def make_pool(executor: str) -> Pool:
    """Return the pool of an executor.

    Raises:
        ExperimentError: its library is not installed.
    """
    if (library := EXTRAS.get(executor)) and util.find_spec(library) is None:
        raise ExperimentError(
            f"the executor '{executor}' needs {library}, which is not installed; pip install 'lopsided[{executor}]'"
        )
    kinds = {"local": "LocalPool", "slurm": "SlurmPool", "ray": "RayPool"}
    module = importlib.import_module(f".{executor}_pool", __package__)
    return getattr(module, kinds[executor])()
