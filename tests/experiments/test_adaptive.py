"""Seeds are added until something is decided: the same numbers as with these seeds in the file, and honest p-values."""

import json

import pandas as pd
import pytest
from support.command_line import invoke
from support.paths import ROOT

from lopsided import experiments
from lopsided.experiments import ExperimentError, Until

SMOKE = ROOT / "experiments" / "smoke.yaml"
TINY = [
    *("grid.fidelity=[ssim]", "grid.discriminator=none", "judges=[nlpd]", "assessment={}"),
    *("super_resolution.pretrain.steps=2", "super_resolution.finetune={steps: 2, batch: 2, patch: 32}"),
]
UNTIL = Until(("gain ssim",), looks=2, most_seeds=4)


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    store, said = tmp_path_factory.mktemp("added"), []
    summary = experiments.run_until(SMOKE, UNTIL, store=store, overrides=TINY, say=said.append)
    assert summary.ok
    return store, said


def test_the_result_is_that_of_the_same_seeds_apart_from_the_looks(added, tmp_path):
    store, said = added
    record = json.loads((store / "looks" / "smoke.json").read_text())
    assert [one["seeds"] for one in record["looks"]] == [[0, 1, 2], [0, 1, 2, 3]]
    assert said[0].startswith("look 1 of 2, 3 seeds, level 0.025: undecided")
    assert said[-1] == "not decided: all 2 looks are made"
    seeds = [*TINY, "grid.seed=[0,1,2,3]"]
    experiments.run(SMOKE, store=tmp_path, overrides=seeds)
    expected = experiments.analyse(SMOKE, store=tmp_path, overrides=seeds)
    seen = experiments.analyse(SMOKE, store=store, overrides=TINY)  # the file says one seed
    pd.testing.assert_frame_equal(seen.tables.sr_scores, expected.tables.sr_scores, check_exact=True)
    pd.testing.assert_series_equal(seen.gains.table["gain"], expected.gains.table["gain"], check_exact=True)
    pd.testing.assert_series_equal(seen.gains.table["p"], (2 * expected.gains.table["p"]).clip(upper=1))
    # Nor does it help to put the seeds into the file afterwards.
    again = experiments.analyse(SMOKE, store=store, overrides=seeds)
    pd.testing.assert_series_equal(again.gains.table["p"], seen.gains.table["p"])
    assert "up to 2 looks" in experiments.report(SMOKE, store=store, overrides=TINY).read_text()


def test_the_same_command_looks_at_nothing_twice_and_another_is_refused(added):
    store, _ = added
    before = (store / "looks" / "smoke.json").read_text()
    experiments.run_until(SMOKE, UNTIL, store=store, overrides=TINY)
    assert (store / "looks" / "smoke.json").read_text() == before
    with pytest.raises(
        ExperimentError, match=r"was begun with --until 'gain ssim' --looks 2; what is asked for is fixed"
    ):
        experiments.run_until(SMOKE, Until(("gain ssim",), looks=3), store=store, overrides=TINY)
    with pytest.raises(ExperimentError, match=r"from grid.seed \[0\], and the file now says \[5\]"):
        experiments.run_until(SMOKE, UNTIL, store=store, overrides=[*TINY, "grid.seed=5"])
    with pytest.raises(ExperimentError, match="seeds cannot be added to a rule with its own"):
        experiments.run_until(SMOKE, UNTIL, store=store, overrides=[*TINY, "grid.include=[{seed: 7}]"])


def test_an_archive_takes_the_looks_along_and_the_other_store_goes_on_with_them(added, tmp_path):
    store, _ = added
    path, elsewhere, archive = store / "looks" / "smoke.json", tmp_path / "elsewhere", tmp_path / "a.tar"
    final = path.read_text()
    record = json.loads(final)
    earlier = record | {"looks": record["looks"][:1], "end": ""}  # as after the first look: one is left
    path.write_text(json.dumps(earlier))
    sets = [part for override in TINY for part in ("--set", override)]
    try:
        assert "and the looks at smoke" in invoke("pack", store, archive, SMOKE, *sets).text
    finally:
        path.write_text(final)
    assert "and the looks at smoke added" in invoke("unpack", archive, elsewhere).text
    copied = elsewhere / "looks" / "smoke.json"
    assert json.loads(copied.read_text()) == earlier
    summary = experiments.run_until(SMOKE, UNTIL, store=elsewhere, overrides=TINY)
    assert (summary.ok, summary.done) == (True, 0)  # its seeds are those of the archive, and their cells too
    assert copied.read_text() == final
    # What goes on from the other is kept, whichever it is; what does not is refused before any cell is added.
    experiments.unpack(archive, experiments.Store(elsewhere), 1 << 30)
    assert copied.read_text() == final
    experiments.pack(experiments.Store(store), archive)
    copied.write_text(json.dumps(earlier))
    experiments.unpack(archive, experiments.Store(elsewhere), 1 << 30)
    assert copied.read_text() == final
    for change in ({"planned": 3}, {"names": ["decided"]}, {"seeds": [0, 1, 2, 7]}):
        other = tmp_path / "other" / "looks" / "smoke.json"
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text(json.dumps(record | change))
        with pytest.raises(ExperimentError, match=r"'smoke' were looked at in another way .* take another store"):
            experiments.unpack(archive, experiments.Store(tmp_path / "other"), 1 << 30)
        assert not list((tmp_path / "other").glob("cells/*/*/status.json"))
        assert json.loads(other.read_text()) == record | change


def test_a_budget_of_hours_ends_it_and_a_larger_one_goes_on(added, tmp_path):
    store, _ = added
    record = json.loads((store / "looks" / "smoke.json").read_text())
    record |= {"looks": record["looks"][:1], "seeds": [0, 1, 2]}
    (store / "looks" / "smoke.json").write_text(json.dumps(record))
    sets = [part for override in TINY for part in ("--set", override)]
    asked = ["--until", "gain ssim", "--looks", "2", "--most-seeds", "4"]
    shown = invoke("plan", SMOKE, "--store", store, *sets, *asked, "--hours", "1e-9").text
    assert "budget: one more seed would exceed --hours 1e-09" in shown
    shown = invoke("plan", SMOKE, "--store", store, *sets, *asked).text
    assert "seeds 3 are added" in shown
    # A plan writes nothing.
    assert json.loads((store / "looks" / "smoke.json").read_text()) == record
    (store / "looks" / "smoke.json").write_text("{}")
    with pytest.raises(ExperimentError, match="which says how often these results were looked at, is damaged"):
        experiments.analyse(SMOKE, store=store, overrides=TINY)
    assert invoke("run", SMOKE, "--looks", "2").text.endswith("give --until too, such as --until decided")
