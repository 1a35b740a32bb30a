"""Result tables: declared once, read and written whole, counted by what each says it is counted by."""

from dataclasses import fields, replace

import pandas as pd
import pytest

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.result_tables import SCHEMAS, TABLES, StudyTables, count_rows


@pytest.fixture(scope="module")
def tables(synthetic_tables):
    return synthetic_tables.study_tables()


def test_every_field_is_a_table_with_a_description_and_known_columns():
    assert list(TABLES) == list(SCHEMAS) == [field.name for field in fields(StudyTables)]
    for table in TABLES.values():
        assert table.description.endswith(".")
        assert set(table.counted_by) <= set(table.columns)
        assert not table.counted_by or "status" in table.columns


def test_a_table_left_out_is_empty_but_whole():
    for name, table in StudyTables().by_name().items():
        assert table.empty
        assert tuple(table.columns) == SCHEMAS[name]


def test_tables_are_read_as_they_were_written(tables, tmp_path):
    written = tables.save(tmp_path, ("parquet", "csv"))
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert {path.name for path in written} == {f"{name}.{kind}" for name in TABLES for kind in ("parquet", "csv")}
    again = StudyTables.load(str(tmp_path))
    for name, table in tables.by_name().items():
        pd.testing.assert_frame_equal(again.by_name()[name], table, check_dtype=False)
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(table)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_file_is_named(tables, tmp_path, name):
    tables.save(tmp_path)
    (tmp_path / f"{name}.parquet").unlink()
    with pytest.raises(AnalysisError, match=rf"{name}\.parquet: collect the results"):
        StudyTables.load(tmp_path)


def test_missing_columns_and_damaged_files_are_named(tables, tmp_path):
    tables.save(tmp_path)
    path = tmp_path / "sr_scores.parquet"
    tables.sr_scores.drop(columns=["judge_families"]).to_parquet(path)
    with pytest.raises(AnalysisError, match="table sr_scores lacks the column\\(s\\) judge_families"):
        StudyTables.load(tmp_path)
    path.write_text("not a table")
    with pytest.raises(AnalysisError, match="cannot be read"):
        StudyTables.load(tmp_path)


def test_rows_are_counted_by_what_each_table_says(tables, synthetic_tables):
    counts = count_rows(replace(tables, nr_scores=synthetic_tables.nr_scores()))
    groups = {name: set(rows["group"]) for name, rows in counts.groupby("table")}
    assert groups == {
        "cells": {"finetune"},
        "sr_scores": set(synthetic_tables.JUDGES),
        "fr_scores": {f"{measure} on ladder" for measure in synthetic_tables.MEASURES},
        "nr_scores": {"vgg16/linear on rated", "vgg16/zero-label on rated"},
    }
    assert counts.loc[counts["table"] == "fr_scores", "count"].sum() == len(tables.fr_scores)
    assert counts.loc[counts["status"] == "diverged", "count"].tolist() == [1]
