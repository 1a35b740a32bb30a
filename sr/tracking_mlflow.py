"""MLflow's view of a training; files of this machine unless ``MLFLOW_TRACKING_URI`` names a server."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .tasks import Pixels

CELL = "lopsided.cell"


class Mlflow:
    """A run of the experiment ``MLFLOW_EXPERIMENT_NAME``, "lopsided" by default.

    Args:
        folder: where runs are kept, unless there is a server.
        key: names the training; a run with this tag is continued.
        title: name of the run.
    """

    def __init__(self, folder: Path, key: str, title: str) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:  # files need no database library; MLflow wants to be told that this is meant
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            folder.mkdir(parents=True, exist_ok=True)
            uri = folder.resolve().as_uri()
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

        self._client, self._metric = MlflowClient(tracking_uri=uri), Metric
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lopsided")
        found = self._client.get_experiment_by_name(name)
        try:
            experiment = found.experiment_id if found else self._client.create_experiment(name)
        except MlflowException:  # another worker was first
            experiment = self._client.get_experiment_by_name(name).experiment_id
        runs = self._client.search_runs([experiment], f"tags.`{CELL}` = '{key}'", max_results=1)
        run = runs[0] if runs else self._client.create_run(experiment, tags={CELL: key}, run_name=title)
        self._run = run.info.run_id
        self._client.set_terminated(self._run, "RUNNING")

    def row(self, row: Mapping[str, Any]) -> None:
        """Show a row of the history."""
        now = int(time.time() * 1000)
        metrics = [self._metric(name, float(value), now, row["step"]) for name, value in row.items() if name != "step"]
        self._client.log_batch(self._run, metrics)

    def images(self, step: int, images: Sequence[Pixels]) -> None:
        """Keep images as files of the run."""
        for number, pixels in enumerate(images):
            self._client.log_image(self._run, pixels, f"validation/{number}-{step:08d}.png")

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)
