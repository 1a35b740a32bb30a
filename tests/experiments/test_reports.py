"""What a report is made from, and what it does with damage, with names of all kinds, and with other experiments."""

import logging
import shutil

import pandas as pd
import pytest
from support.smoke import PART, SMOKE

from lopsided.experiments import Store, collect_tables, provenance, report, run
from lopsided.experiments.running.progress import SilentReporter

FEW = [*PART, "grid.discriminator=none"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("base") / "runs")
    assert run(SMOKE, store=store.root, overrides=FEW, reporter=SilentReporter()).ok
    report(SMOKE, store=store.root, overrides=FEW)
    return store


@pytest.fixture
def store(base, tmp_path):
    return Store(shutil.copytree(base.root, tmp_path / "runs"))


def written(store, *overrides):
    """The report's text, made anew only if something has changed that it is made from."""
    return report(SMOKE, store=store.root, overrides=[*FEW, *overrides], force=False).read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"packages": 3}', "[" * 100_000, '{"packages": {}}'])
def test_a_report_says_that_provenance_is_damaged(store, content):
    assert "provenance missing or damaged" not in written(store)
    path = next(store.root.glob("cells/finetune/*/provenance.json"))
    path.unlink() if content is None else path.write_text(content)
    page = report(SMOKE, store=store.root, overrides=FEW).read_text(encoding="utf-8")
    assert "provenance missing or damaged" in page
    assert f"1 cell(s), first {path.parent.name}" in page


@pytest.mark.parametrize("other", [{"processor": "Another CPU"}, {"packages": {"torch": "9.9.9"}}])
def test_a_report_over_cells_of_two_machines_says_so(store, monkeypatch, other):
    assert "several kinds of machine" not in written(store)
    shutil.rmtree(next(store.root.glob("cells/judge/*")))
    monkeypatch.setattr(
        "lopsided.experiments.running.compute.provenance", lambda *options: provenance(*options) | other
    )
    assert run(SMOKE, store=store.root, overrides=FEW, reporter=SilentReporter()).done == 1
    page = written(store)
    assert "Cells come from several kinds of machine or versions" in page
    assert "Another CPU" in page or "9.9.9" in page


def test_a_renamed_test_set_makes_the_report_anew(store):
    before = written(store)
    assert "gardens" not in before
    renamed = "data.test={gardens: {images: {source: skimage, split: test}, crop: 64}}"
    summary = run(SMOKE, store=store.root, overrides=[*FEW, renamed], reporter=SilentReporter())
    assert (summary.done, summary.ok) == (0, True)
    assert written(store, renamed) != before
    scores = pd.read_parquet(store.experiment("smoke") / "tables" / "sr_scores.parquet")
    assert set(scores["test_set"]) == {"gardens"}


def test_outputs_that_were_computed_again_make_the_report_anew(store):
    written(store)
    page = store.experiment("smoke") / "report.html"
    at = page.stat().st_mtime_ns
    written(store)
    assert page.stat().st_mtime_ns == at
    cell = next(store.root.glob("cells/judge/*"))
    shutil.rmtree(cell)
    run(SMOKE, store=store.root, overrides=FEW, reporter=SilentReporter())
    written(store)
    assert page.stat().st_mtime_ns != at


def test_an_experiment_of_the_same_name_and_other_cells_leaves_the_earlier_report(store, caplog):
    before = written(store)
    other = "super_resolution.pretrain.steps=19"
    run(SMOKE, store=store.root, overrides=[*FEW, other], reporter=SilentReporter())
    with caplog.at_level(logging.WARNING):
        written(store, other)
    (aside,) = [path for path in (store.root / "experiments").iterdir() if path.name != "smoke"]
    assert (aside / "report.html").read_text(encoding="utf-8") == before
    assert f"held the report of another experiment with the name 'smoke' (or a larger one): it is in '{aside}' now" in (
        caplog.text
    )
    assert written(store, other) != before


def test_an_extension_takes_the_place_of_the_earlier_report(store, caplog):
    written(store)
    more = "judges=[psnr_y,nlpd]"
    run(SMOKE, store=store.root, overrides=[*FEW, more], reporter=SilentReporter())
    written(store, more)
    assert [path.name for path in (store.root / "experiments").iterdir()] == ["smoke"]
    assert "another experiment" not in caplog.text


def test_names_with_dollars_and_formulas_get_into_report_and_tables(store, tmp_path):
    name = r"=cost of $\frac$ and $x_1$"
    ladder = "{source: {source: skimage, split: test}, size: 64, types: [jpeg, gaussian_blur], levels: [1, 3, 5]}"
    overrides = [*FEW, f"assessment={{datasets: {{'{name}': {{ladder: {ladder}}}}}, measures: [gmsd]}}"]
    assert run(SMOKE, store=store.root, overrides=overrides, reporter=SilentReporter()).ok
    page = report(SMOKE, store=store.root, overrides=overrides).read_text(encoding="utf-8")
    assert name in page
    collect_tables(SMOKE, store=store.root, overrides=overrides, folder=tmp_path, formats=("csv", "parquet"))
    as_csv, as_parquet = pd.read_csv(tmp_path / "fr_scores.csv"), pd.read_parquet(tmp_path / "fr_scores.parquet")
    assert set(as_csv["dataset"]) == {f"'{name}"}
    assert set(as_parquet["dataset"]) == {name}
    pd.testing.assert_series_equal(as_csv["score"], as_parquet["score"])
