"""The result tables: their columns, and the object that holds them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from .errors import AnalysisError

# Fidelity of rows that no training made: images enlarged bicubically or, where a task keeps the size, as they came.
UNTRAINED = ("bicubic", "input")

SCHEMAS: dict[str, tuple[str, ...]] = {
    "sr_scores": (
        *("cell", "generator", "fidelity", "fidelity_id", "fidelity_families", "discriminator", "discriminator_id"),
        *("gan_weight", "seed", "test_set", "image", "judge", "judge_id", "judge_families", "higher_is_better"),
        *("value", "status"),
    ),
    "fr_scores": (
        *("measure", "measure_id", "dataset", "dataset_id", "reference", "image", "distortion", "level", "label"),
        *("label_kind", "label_higher_is_better", "higher_is_better", "score", "status"),
    ),
    "nr_scores": (
        *("backbone", "initialisation", "source_cell", "model", "model_id", "dataset", "dataset_id", "split"),
        *("reference", "image", "label", "label_kind", "label_higher_is_better", "higher_is_better", "score"),
        "status",
    ),
    "mllm_scores": (
        *("scorer", "scorer_id", "benchmark", "dimension", "item", "reference", "target", "higher_is_better"),
        *("value", "status", "raw"),
    ),
    "contamination": ("subject", "role", "dataset", "finding", "n_shared", "n", "detail"),
    "training": (
        *("cell", "stage", "generator", "fidelity", "discriminator", "gan_weight", "seed", "step", "term", "value"),
    ),
    "cells": (
        *("cell", "stage", "status", "reason", "experiment", "generator", "fidelity", "discriminator", "gan_weight"),
        *("seed", "judge", "measure", "dataset", "seconds", "peak_memory_mb"),
    ),
}


def require_columns(table: pd.DataFrame, name: str) -> None:
    """Raise AnalysisError naming every column that ``SCHEMAS[name]`` asks for and ``table`` lacks."""
    if missing := [column for column in SCHEMAS[name] if column not in table.columns]:
        raise AnalysisError(
            f"table {name} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}."
        )


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(SCHEMAS[name]))


@dataclass(frozen=True)
class StudyTables:
    """The result tables, one row per observation; a table may be empty but not lack a column.

    Attributes:
        sr_scores: Judges' scores of restored images.
        fr_scores: Measures' scores of distorted images, with labels.
        training: Loss terms over steps.
        cells: Status of every cell.
        nr_scores: No-reference models' scores of test images, with labels.
        mllm_scores: Multimodal LLMs' ratings and answers, with targets.
        contamination: What measures, judges and training images share with each labelled data set.
    """

    sr_scores: pd.DataFrame
    fr_scores: pd.DataFrame
    training: pd.DataFrame
    cells: pd.DataFrame
    nr_scores: pd.DataFrame = field(default_factory=lambda: _empty("nr_scores"))
    mllm_scores: pd.DataFrame = field(default_factory=lambda: _empty("mllm_scores"))
    contamination: pd.DataFrame = field(default_factory=lambda: _empty("contamination"))

    def __post_init__(self) -> None:
        """Raise AnalysisError if a table lacks a column."""
        for name in SCHEMAS:
            require_columns(getattr(self, name), name)

    @classmethod
    def load(cls, folder: Path) -> StudyTables:
        """Read ``<name>.parquet`` of a folder for every table of ``SCHEMAS``.

        Raises:
            AnalysisError: A file is missing or is not Parquet; a table lacks a column.
        """
        tables = {}
        for name in SCHEMAS:
            path = Path(folder) / f"{name}.parquet"
            if not path.is_file():
                raise AnalysisError(f"no table {path}: collect the results of the experiment first.")
            try:
                tables[name] = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise AnalysisError(f"table {path} cannot be read: {error}. Collect the results again.") from error
        return cls(**tables)
