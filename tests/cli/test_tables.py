"""``lopsided tables``: every result table, as Parquet and as CSV."""

import shutil

import pandas as pd
from support.command_line import invoke
from support.smoke import SMOKE, cells

from lopsided.analysis.result_tables import SCHEMAS
from lopsided.experiments import api

WITHOUT = ("nr_scores", "mllm_scores", "diagnostics", "alignments", "alignment_log")  # what the smoke test leaves empty


def test_every_table_is_written_and_counted(base, tmp_path):
    store, _ = base
    folder = tmp_path / "t"
    shown = invoke("tables", SMOKE, "--store", store, "--csv", "--to", folder)
    assert (shown.status, shown.err) == (0, "")
    assert "contamination" in SCHEMAS
    lines = shown.out.splitlines()
    assert len(lines) == len(SCHEMAS)
    for name, line in zip(SCHEMAS, lines, strict=True):
        table = pd.read_parquet(folder / f"{name}.parquet")
        assert line == f"{folder / name}: {len(table)} rows"
        if name not in (
            "nr_scores",
            "mllm_scores",
            "diagnostics",
            "alignments",
            "alignment_log",
        ):  # which the smoke test does without
            assert len(pd.read_csv(folder / f"{name}.csv")) == len(table) > 0
    assert len(pd.read_parquet(folder / "cells.parquet")) == len(cells())


def test_they_go_to_the_experiments_folder_unless_told_otherwise(base, tmp_path, monkeypatch):
    store = shutil.copytree(base[0], tmp_path / "runs")
    shutil.rmtree(store / "experiments")
    plans = []
    monkeypatch.setattr(api, "make_plan", lambda experiment, make=api.make_plan: plans.append(1) or make(experiment))
    assert invoke("tables", SMOKE, "--store", store).status == 0
    found = {path.name for path in (store / "experiments" / "smoke" / "tables").iterdir()}
    assert found == {f"{name}.parquet" for name in SCHEMAS}
    assert len(plans) == 1  # planning reads every image
