"""What a notebook shows of a plan, of how much is done, of a study, and while cells are computed."""

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lopsided import experiments
from lopsided.analysis import analyse, style_claims, summarise_claims
from lopsided.common.html import html_table
from lopsided.experiments.planning import Statuses
from lopsided.experiments.running.progress import PLAIN_SECONDS, Reporter
from lopsided.experiments.store import Status

SMOKE = "experiments/smoke.yaml"
NOT_EXECUTED = "08_alignment"  # by `make notebooks`


@pytest.fixture(scope="module")
def planned():
    return experiments.plan(SMOKE)


def test_a_notebook_that_is_not_executed_can_import_what_it_uses():
    assert f"--ignore notebooks/{NOT_EXECUTED}.ipynb" in Path("Makefile").read_text(encoding="utf-8")
    cells = json.loads(Path(f"notebooks/{NOT_EXECUTED}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = re.findall(r"^from lopsided.*", code, re.MULTILINE)
    assert len(imports) > 3
    exec("\n".join(imports), {})


def test_a_plan_shows_its_stages_and_cells(planned):
    html = planned._repr_html_()
    assert f"smoke: {len(planned.cells)} cells" in html
    assert repr(planned) == f"Plan(smoke: {len(planned.cells)} cells)"
    for cell in planned.cells:
        assert cell.row in html


def test_a_status_counts_cells_and_says_why_they_failed(planned, tmp_path):
    (tmp_path / "store").mkdir()
    found = experiments.status(SMOKE, store=tmp_path / "store")
    assert [cell.id for cell, _ in found] == [cell.id for cell in planned.cells]
    first, second, *rest = found
    states = Statuses([(first[0], Status("done", seconds=3.0)), (second[0], Status("failed", "a < b")), *rest])
    header, rows = states.by_stage()
    assert header == ["stage", "done", "failed", "pending", "time"]
    assert sum(int(row[3]) for row in rows if row[3] != "·") == len(planned.cells) - 2
    assert repr(states) == f"Statuses({len(found)} cells: 1 done, 1 failed, {len(rest)} pending)"
    html = states._repr_html_()
    assert f"failed: {second[0].title} [{second[0].id}]: a &lt; b" in html
    assert "<td" in html


def test_a_study_shows_verdicts_and_claims(synthetic_tables):
    study = analyse(synthetic_tables.study_tables(seeds=3), n_boot=20)
    assert repr(study).startswith(f"Study(StudyTables(cells: {len(study.tables.cells)} rows, ")
    assert len(repr(study)) < 300
    html = study._repr_html_()
    for row in study.asymmetry.settings.to_dict("records"):
        assert row["trend_verdict"] in html
    claims = study.parts["claims"]
    summary = summarise_claims(claims)
    assert list(summary["claim"]) == list(dict.fromkeys(claims["claim"]))
    for row in summary.to_dict("records"):
        tests = claims[claims["claim"] == row["claim"]]
        decided = set(tests["verdict"]) & {"supported", "contradicted"}
        expected = decided.pop() if len(decided) == 1 else row["verdict"]
        assert row["verdict"] == expected
        assert row["statement"] in html
    wild = claims.assign(statement="<b>bold</b>")
    assert "&lt;b&gt;bold" in style_claims(wild).to_html()
    empty = analyse(replace(study.tables, sr_scores=study.tables.sr_scores.head(0), cells=study.tables.cells.head(0)))
    assert "not testable" in empty._repr_html_()


def test_values_in_html_are_escaped():
    assert html_table(["<x>"], [["<y>"]]).count("&lt;") == 2


@pytest.mark.parametrize("kind", ["jupyter", "terminal"])
def test_a_bar_is_drawn_on_a_terminal_and_in_a_notebook(planned, kind, monkeypatch):
    shown = []
    monkeypatch.setattr("rich.jupyter.display", lambda *args: shown.append(args))
    console = Console(file=io.StringIO(), force_jupyter=kind == "jupyter", force_terminal=kind == "terminal")
    reporter = Reporter(console)
    with reporter.running(planned.cells):
        assert reporter._bar is not None
        reporter.started(planned.cells[0])
        reporter.step(1, 2, "a step")
        assert reporter._bar.tasks[0].total == len(planned.cells)
        assert reporter._bar.tasks[1].completed == 1
    log = Reporter(Console(file=io.StringIO(), force_terminal=False, force_jupyter=False))
    with log.running(planned.cells):
        assert log._bar is None


def test_a_log_of_many_short_cells_does_not_fall_silent(planned, monkeypatch):
    out = io.StringIO()
    log = Reporter(Console(file=out, force_terminal=False, force_jupyter=False))
    first, second, third = [cell for cell in planned.cells if not cell.spec.announced][:3]
    with log.running(planned.cells):
        log.ended(first, Status("done", seconds=1.0))
        later = time.monotonic() + PLAIN_SECONDS
        monkeypatch.setattr(time, "monotonic", lambda: later)
        log.ended(second, Status("done", seconds=1.0))
        log.ended(third, Status("done", seconds=1.0))
    shown = out.getvalue()
    assert f"done 2/{len(planned.cells)}: {second.title} in 1 s" in " ".join(shown.split())
    assert "done 1/" not in shown
    assert "done 3/" not in shown
