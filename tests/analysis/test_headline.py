"""What the verdict of a report says beside a trend: what it rests on, and what stands against it."""

import pytest
from support.paths import ROOT

from lopsided.analysis import StudyTables, analyse
from lopsided.analysis.contrasts import contrast
from lopsided.analysis.headline import exception, headline, rests_on, told_by
from lopsided.analysis.robustness import judged
from lopsided.analysis.statistics.frames import records, where
from lopsided.analysis.study import Study


@pytest.fixture(scope="module")
def repeated() -> Study:
    return analyse(StudyTables.load(ROOT / "notebooks" / "tables" / "asymmetry_repeat"), n_boot=100)


def test_a_trend_that_hangs_on_one_measure_says_so(repeated: Study) -> None:
    (ladder, _) = headline(repeated)
    assert "Established: the better one" in ladder[0]
    without = where(repeated.parts["influence"], dataset="ladder", discriminator="none").set_index("left_out")
    needed = without.index[(without["trend_p"] >= 0.05) | without["turns"]]
    assert list(needed) == ["dists-vgg19_blocks3"]
    assert ladder[1].startswith("The trend rests on 1 part of the study: without the measure DISTS VGG-19")
    assert f"p = {without.loc[needed[0], 'trend_p']:.2g}" in ladder[1]


def test_a_trend_that_nothing_alone_carries_says_so(repeated: Study) -> None:
    influence = repeated.parts["influence"]
    parts = {**repeated.parts, "influence": influence.assign(trend_p=0.01, turns=False)}
    calm = Study(**{**vars(repeated), "parts": parts})
    assert "No single measure or judge carries the trend" in rests_on(calm, calm.asymmetry.settings)


def test_an_established_inversion_is_told_beside_a_trend(repeated: Study) -> None:
    settings, pairs = (
        where(table, dataset="ladder") for table in (repeated.asymmetry.settings, repeated.asymmetry.pairs)
    )
    found = exception(repeated, settings, pairs)
    assert found.startswith("Established as well: a better metric can be the worse objective. NLPD against SSIM")
    assert not exception(repeated, settings, pairs.assign(verdict="undecided"))
    assert not exception(repeated, settings.assign(trend_verdict="undecided"), pairs)
    assert not rests_on(repeated, settings.assign(trend_verdict="undecided"))


def test_an_inversion_says_which_judges_tell_it(repeated: Study) -> None:
    pairs = where(repeated.asymmetry.pairs, dataset="ladder", discriminator="patch@share")
    pair = records(where(pairs, better_metric="nlpd", worse_metric="ssim"))[0]
    found = judged(repeated.asymmetry, repeated.tables.sr_scores, pair)
    assert ";".join(found.alone) == pair["judges"]
    assert sum(each.value for each in found.alone.values()) / 8 == pytest.approx(pair["gain_difference"])
    trained = repeated.asymmetry.gains.trained["swinir-tiny"]
    others = [n for n, judge in enumerate(trained.judges) if "googlenet" not in judge]
    cells = {key.fidelity: n for n, key in enumerate(trained.keys) if key.discriminator == "patch@share"}
    ((backbone, (number, without)),) = found.without.items()
    assert (backbone, number) == ("inception", 4)
    assert without == contrast(trained, [cells["nlpd"]], [cells["ssim"]], others).estimate
    told = told_by(repeated, pairs)
    assert "Of the 8 judges of NLPD against SSIM, asked one by one, 5 say so" in told
    assert "Without the 4 judges on inception it is" in told
    assert told_by(repeated, pairs.assign(verdict="suggested")) == ""
