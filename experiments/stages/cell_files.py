"""Files in the folders of cells, and the columns that name trained networks in the result tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...common.errors import one_line
from ...common.files import atomic_path
from ..schema.errors import ExperimentError
from ..store import checked

SCORES = "scores.parquet"
NAMES = ("generator", "fidelity", "discriminator", "gan_weight", "seed")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(folder: Path) -> pd.DataFrame:
    """Read the table of scores that the cell in ``folder`` has written.

    Raises:
        ExperimentError: it is missing or damaged.
    """
    path, _ = checked(folder, SCORES)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> ExperimentError:
    """Return the error about an output that cannot be read."""
    return ExperimentError(f"'{path}' is missing or damaged ({one_line(error)}); delete its folder and run again")
