"""The result tables of an experiment, each declared once, as a field of ``StudyTables``."""

# ruff: noqa: RUF009 - `_table` returns a `field`

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.errors import one_line
from ..common.files import atomic_path
from ..common.spreadsheets import without_formulas
from .errors import AnalysisError
from .statistics.frames import grouped

# Fidelity of rows that no training made: images enlarged bicubically or, where a task keeps the size, unchanged ones.
UNTRAINED = ("bicubic", "input")
# Prefix of the terms in the table `training` that summarise a training, at its last step.
STABILITY = "stability/"


@dataclass(frozen=True)
class ResultTable:
    """What is known about one result table.

    Attributes:
        description: What a row is.
        columns: The columns it must have; it can have more.
        counted_by: Its rows are counted by these columns and by status; not counted if empty.
        part: Name of the two modules that go with it: ``analysis/<part>.py``, whose ``derive`` computes further tables
            from the result tables, and ``analysis/report/<part>.py``, whose ``section`` shows them. "" for a table that
            the comparison of metrics and objectives reads itself.
    """

    description: str
    columns: tuple[str, ...]
    counted_by: tuple[str, ...] = ()
    part: str = ""


def _table(description: str, *columns: str, counted_by: tuple[str, ...] = (), part: str = "") -> Any:
    return field(
        default_factory=lambda: pd.DataFrame(columns=list(columns)),
        metadata={"table": ResultTable(description, columns, counted_by, part)},
    )


# Ends the key of a measure with another draw of random weights than the first, or of the mean of several.
DRAW = re.compile(r"(?<=-r)@(seed\d+|\d+draws)$")
# Ends the key of a discriminator whose ``gan_weight`` is its share of the gradient on the image, held in training.
SHARE = "@share"


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyTables:
    """The result tables, one row per observation. A table can be empty (it is, if left out) but must have its columns.

    A ``discriminator`` that ends in ``@share`` was held at a share of the gradient: ``gan_weight`` is this share.

    To add a table, add a field; ``TABLES``, and everything that reads, writes or counts tables, then includes it.

    Raises:
        AnalysisError: A table lacks a column.

    Examples:
        >>> StudyTables().fr_scores.empty
        True
        >>> StudyTables(cells=pd.DataFrame({"cell": ["a"], "stage": ["train"]}))
        Traceback (most recent call last):
        ...
        lopsided.analysis.errors.AnalysisError: table cells lacks the column(s) status, reason, experiment, ...
    """

    cells: pd.DataFrame = _table(
        "Status of every cell.",
        *("cell", "stage", "status", "reason", "experiment", "generator", "fidelity", "discriminator", "gan_weight"),
        *("seed", "judge", "measure", "dataset", "seconds", "peak_memory_mb"),
        counted_by=("stage",),
    )
    sr_scores: pd.DataFrame = _table(
        "Judges' scores of restored images; optional: ``discriminator_families``.",
        *("cell", "generator", "fidelity", "fidelity_id", "fidelity_families", "discriminator", "discriminator_id"),
        *("gan_weight", "seed", "test_set", "image", "judge", "judge_id", "judge_families"),
        *("higher_is_better", "value", "status"),
        counted_by=("judge",),
    )
    fr_scores: pd.DataFrame = _table(
        "Measures' scores of distorted images, with labels; optional: ``imported_from``, of scores not computed here.",
        *("measure", "measure_id", "dataset", "dataset_id", "reference", "image", "distortion", "level", "label"),
        *("label_kind", "label_higher_is_better", "higher_is_better", "score", "status"),
        counted_by=("measure", "dataset"),
    )
    nr_scores: pd.DataFrame = _table(
        "No-reference models' scores of test images, with labels.",
        *("backbone", "initialisation", "source_cell", "model", "model_id", "dataset", "dataset_id", "split"),
        *("reference", "image", "label", "label_kind", "label_higher_is_better", "higher_is_better", "score"),
        "status",
        counted_by=("model", "dataset"),
        part="no_reference",
    )
    mllm_scores: pd.DataFrame = _table(
        "Multimodal LLMs' ratings and answers, with targets.",
        *("scorer", "scorer_id", "benchmark", "dimension", "item", "reference", "target", "higher_is_better"),
        *("value", "status", "raw"),
        counted_by=("scorer", "benchmark"),
        part="scorers",
    )
    diagnostics: pd.DataFrame = _table(
        "Diagnostics of measures as objectives.",
        *("measure", "measure_id", "diagnostic", "start", "detail", "image", "value", "unit", "note", "other"),
        *("other_id", "status"),
        counted_by=("diagnostic",),
        part="diagnostics",
    )
    contamination: pd.DataFrame = _table(
        "What measures, judges and training images share with each labelled data set.",
        *("subject", "role", "dataset", "finding", "n_shared", "n", "detail"),
    )
    training: pd.DataFrame = _table(
        "Loss terms over steps.",
        *("cell", "stage", "generator", "fidelity", "discriminator", "gan_weight", "seed", "step", "term", "value"),
        part="stability",
    )
    alignments: pd.DataFrame = _table(
        "Agreement with people of the ratings before, after and, calibrated, after the training of multimodal LLMs;"
        " optional: ``srcc_change`` with its ends.",
        *("cell", "alignment", "method", "benchmark", "dimension", "ratings", "step", "n", "n_valid"),
        *("srcc", "srcc_low", "srcc_high", "plcc", "rmse", "mae"),
        part="alignments",
    )
    alignment_log: pd.DataFrame = _table(
        "What the training of multimodal LLMs logged: numbers, and sample replies, over steps.",
        *("cell", "alignment", "method", "step", "term", "value", "text"),
    )

    def __post_init__(self) -> None:
        for name, table in self.by_name().items():
            require_columns(table, name)

    def __repr__(self) -> str:
        return (
            f"StudyTables({', '.join(f'{name}: {len(of):,} rows' for name, of in self.by_name().items() if len(of))})"
        )

    def by_name(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name, in the order of ``TABLES``."""
        return {name: getattr(self, name) for name in TABLES}

    @classmethod
    def load(cls, folder: str | Path) -> StudyTables:
        """Read ``<name>.parquet`` of a folder for every table.

        Raises:
            AnalysisError: A file is missing or is not Parquet; a table lacks a column.
        """
        tables = {}
        for name in TABLES:
            path = Path(folder) / f"{name}.parquet"
            if not path.is_file():
                raise AnalysisError(f"no table {path}: collect the results of the experiment first.")
            try:
                tables[name] = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise AnalysisError(
                    f"table {path} cannot be read: {one_line(error)}. Collect the results again."
                ) from error
        return cls(**tables)

    def save(self, folder: str | Path, formats: Iterable[str] = ("parquet",)) -> list[Path]:
        """Write every table to ``folder`` as ``<name>.parquet``, ``<name>.csv`` or both, and return the files."""
        return [path for name, table in self.by_name().items() for path in write_table(table, folder, name, formats)]


TABLES: dict[str, ResultTable] = {field.name: field.metadata["table"] for field in fields(StudyTables)}
SCHEMAS: dict[str, tuple[str, ...]] = {name: table.columns for name, table in TABLES.items()}


def without_draw(measure: str) -> str:
    """Return the key that all draws of random weights of a measure have in common.

    Examples:
        >>> without_draw("dists-vgg16-r@seed2"), without_draw("dists-vgg16@seed2")
        ('dists-vgg16-r', 'dists-vgg16@seed2')
    """
    return DRAW.sub("", measure)


def require_columns(table: pd.DataFrame, name: str) -> None:
    """Raise AnalysisError naming every column that result table ``name`` must have and ``table`` lacks."""
    if missing := [column for column in TABLES[name].columns if column not in table.columns]:
        raise AnalysisError(
            f"table {name} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}."
        )


def count_rows(tables: StudyTables) -> pd.DataFrame:
    """Count the rows of every table that is counted, by its ``counted_by`` ("a on b" for two columns) and status."""
    rows = []
    for name, table in tables.by_name().items():
        if not len(table) or not TABLES[name].counted_by:
            continue
        first, *others = TABLES[name].counted_by
        group = table[first]
        for other in others:
            group = group + " on " + table[other]
        rows += [(name, *key, len(found)) for key, found in grouped(table.assign(group=group), "group", "status")]
    return pd.DataFrame(rows, columns=["table", "group", "status", "count"])


def write_table(table: pd.DataFrame, folder: str | Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Write a table to ``folder`` in each of the formats "parquet" and "csv" asked for, and return the files.

    In CSV files, texts that a spreadsheet would take for formulas have an apostrophe before them.
    """
    writers = {"parquet": table.to_parquet, "csv": without_formulas(table).to_csv}
    paths = [Path(folder) / f"{name}.{kind}" for kind in formats]
    for path in paths:
        with atomic_path(path) as temporary:
            writers[path.suffix[1:]](temporary, index=False)
    return paths
