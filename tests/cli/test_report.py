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


@pytest.mark.parametrize("option", ["--to", "--output"])
def test_it_goes_where_it_is_told_and_opens_when_asked(store, tmp_path, monkeypatch, option):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) > 1)
    for note in (True, False):
        shown = invoke("report", SMOKE, "--store", store, option, tmp_path / "é", "--open")
        assert shown.status == 0
        assert ("no browser can be opened" in shown.text) is note
    assert (tmp_path / "é" / "report.html").is_file()
    assert opened == [(tmp_path / "é" / "report.html").as_uri()] * 2


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
