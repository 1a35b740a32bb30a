"""What the training of multimodal LLMs changed: agreement with people before and after, beside what it took."""

from __future__ import annotations

import pandas as pd

from .result_tables import StudyTables
from .statistics.frames import grouped, require_unique, where

GROUP = ["alignment", "method", "benchmark", "dimension"]
BEFORE, AFTER = "before", "after"
LOGGED = ("loss", "kl")
CHANGE = tuple(f"srcc_change{end}" for end in ("", "_low", "_high"))
COLUMNS = [
    *("cell", *GROUP, "step", "n"),
    *(f"srcc_{when}{end}" for when in (BEFORE, AFTER) for end in ("", "_low", "_high")),
    *CHANGE,
    *(f"{name}_{when}" for name in ("rmse", "valid") for when in (BEFORE, AFTER)),
    *(*LOGGED, "seconds"),
]


def derive(tables: StudyTables, **_: int) -> dict[str, pd.DataFrame]:
    """Return the table that the study and its report take from here; nothing is resampled."""
    return {"alignment_changes": alignment_changes(tables)}


def alignment_changes(tables: StudyTables) -> pd.DataFrame:
    """Put agreement with people before and after each alignment beside one another.

    Args:
        tables: ``alignments``, ``alignment_log`` and ``cells`` are read.

    Returns:
        One row per alignment, benchmark and dimension: ``n`` items, ``srcc_before`` and ``srcc_after`` with ``_low``
        and ``_high``; ``srcc_change`` with its ends, over the items that could be read both times; ``rmse_before``,
        ``rmse_after``; ``valid_before`` and ``valid_after``, the shares of ratings that could be read; the last
        ``loss`` and ``kl`` of the log (NaN if there is none), and the cell's ``seconds``.

    Raises:
        AnalysisError: Repeated rows.

    Examples:
        >>> rows = pd.DataFrame({"ratings": ["before", "after"], "srcc": [0.1, 0.9], "n_valid": [3, 4]})
        >>> rows = rows.assign(
        ...     cell="c", alignment="mine", method="sft", benchmark="held-out", dimension="quality", step=9, n=4,
        ...     srcc_low=0.0, srcc_high=1.0, plcc=0.5, rmse=1.0, mae=1.0,
        ... )
        >>> changes = alignment_changes(StudyTables(alignments=rows))
        >>> changes[["alignment", "srcc_before", "srcc_after", "valid_before"]]
          alignment  srcc_before  srcc_after  valid_before
        0      mine          0.1         0.9          0.75
    """
    require_unique(tables.alignments, ["cell", *GROUP, "ratings"], "alignments")
    seconds = dict(zip(tables.cells["cell"], tables.cells["seconds"], strict=True))
    rows = []
    for (cell, *key), group in grouped(tables.alignments, "cell", *GROUP):
        log = where(tables.alignment_log, cell=cell).dropna(subset=["value"]).sort_values("step", kind="stable")
        row = {"cell": cell, **dict(zip(GROUP, key, strict=True)), "seconds": seconds.get(cell)}
        for when in (BEFORE, AFTER):
            for found in where(group, ratings=when).to_dict("records"):
                row |= {f"srcc_{when}{end}": found[f"srcc{end}"] for end in ("", "_low", "_high")}
                row |= {"step": found["step"], "n": found["n"], f"rmse_{when}": found["rmse"]}
                row[f"valid_{when}"] = found["n_valid"] / found["n"]
                row |= {name: found.get(name) for name in CHANGE if when == AFTER}
        for term in LOGGED:
            values = where(log, term=term)["value"]
            row[term] = values.iloc[-1] if len(values) else None
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
