"""A study: its derived tables, from whatever tables there are, and the parts that result tables name."""

from importlib import import_module

import pandas as pd
import pytest

from lopsided.analysis.deriving import analyse
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.report.blocks import Section
from lopsided.analysis.result_tables import TABLES, StudyTables

PARTS = [table.part for table in TABLES.values() if table.part]


@pytest.fixture(scope="module")
def study(synthetic_tables):
    return analyse(synthetic_tables.study_tables(), n_boot=50)


def test_tables_survive_the_disk(study, tmp_path):
    study.tables.save(tmp_path)
    again = analyse(StudyTables.load(tmp_path), n_boot=50)
    for name, table in study.derived().items():
        pd.testing.assert_frame_equal(again.derived()[name], table, check_dtype=False)


def test_derived_tables_are_saved_whole(study, tmp_path):
    study.save(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in study.derived() for kind in ("csv", "parquet")
    }
    for name, table in study.derived().items():
        for read in (pd.read_csv(tmp_path / f"{name}.csv"), pd.read_parquet(tmp_path / f"{name}.parquet")):
            assert len(read) == len(table)


def test_nothing_is_derived_from_nothing():
    derived = analyse(StudyTables(), n_boot=10).derived()
    claims = derived.pop("claims")
    assert set(claims["verdict"]) == {"not testable"}
    assert claims["missing"].ne("").all()
    assert all(table.empty for table in derived.values())


def test_every_part_derives_tables_of_its_own_and_shows_them(study):
    names = [name for part in PARTS for name in derived_by(part, study.tables)]
    assert len(names) == len(set(names))
    assert set(names) <= set(study.parts)
    sections = [import_module(f"lopsided.analysis.report.{part}").section(study) for part in PARTS]
    assert all(isinstance(section, Section) for section in sections)
    assert len({section.key for section in sections}) == len(PARTS) == len(set(PARTS))


def derived_by(part, tables):
    return import_module(f"lopsided.analysis.{part}").derive(tables, n_boot=10, seed=0)


def test_a_folder_is_no_study_tables():
    with pytest.raises(AnalysisError, match=r"StudyTables\.load\(folder\), got 'tables'"):
        analyse("tables")  # pyright: ignore[reportArgumentType] - what people do
