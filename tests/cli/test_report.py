"""``lopsided report``: what is done, and a note of what is not."""

import pytest
from support.command_line import invoke
from support.smoke import SMOKE, cells


def test_the_report_of_a_finished_experiment(store):
    page = store / "experiments" / "smoke" / "report.html"
    page.unlink()
    shown = invoke("report", SMOKE, "--store", store)
    assert (shown.status, shown.err, shown.out) == (0, "", f"report: {page}\n")
    assert "severity grade" in page.read_text(encoding="utf-8")


def test_what_is_not_done_is_said(store):
    more = len(cells(["grid.seed=[0,1]"]))
    shown = invoke("report", SMOKE, "--store", store, "--set", "grid.seed=[0,1]")
    assert shown.status == 0
    assert shown.out.splitlines()[0] == f"note: {len(cells())} of {more} cells are done; the report is about those"


@pytest.mark.parametrize("command", ["report", "tables"])
def test_a_store_that_is_not_there_is_refused_and_not_made(command, tmp_path):
    shown = invoke(command, SMOKE, "--store", tmp_path / "rnus")
    assert shown.status == 1
    assert f"there is no store '{tmp_path / 'rnus'}'" in shown.err
    assert not (tmp_path / "rnus").exists()
