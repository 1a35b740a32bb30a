import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis.deriving import analyse
from lopsided.analysis.headline import headline
from lopsided.analysis.limitations import limitations
from lopsided.analysis.report import write_report
from lopsided.analysis.report.asymmetry import at_a_glance, by_setting
from lopsided.analysis.report.asymmetry import independence as independence_of
from lopsided.analysis.report.blocks import Table, named_list, setting
from lopsided.analysis.report.vector import Vector
from lopsided.analysis.result_tables import SCHEMAS, StudyTables
from lopsided.analysis.statistics.frames import records


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Only the page of the whole module has its pictures drawn, before this takes effect."""
    monkeypatch.setattr("lopsided.analysis.report.render.vector", lambda *_: Vector("<svg></svg>", 100.0, 50.0, []))
    return monkeypatch


@pytest.fixture(scope="module")
def study(synthetic_tables):
    return analyse(synthetic_tables.study_tables(), n_boot=200)


def write_page(study, path):
    crop = np.zeros((8, 8, 3), dtype=np.uint8)
    write_report(
        study,
        path,
        title="Better <metrics>?",
        description="A & B",
        gallery_rows=[{"label": "a.png", "crops": {"reference": crop, "bicubic": crop, "mine": crop}}],
        facts={"Machine": "a <small> one"},
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    return write_page(study, tmp_path_factory.mktemp("report") / "report.html")


class Balance(HTMLParser):
    """Collects tags and complains about any that is not closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def without_pictures(page):
    """Return a page without what only machines read, and without links."""
    return re.sub(r"<(style|script|svg)\b.*?</\1>|base64,[^\"]*|</?a\b[^>]*>", "", page, flags=re.DOTALL)


def parsed(page):
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser.attributes


def test_the_page_is_whole_and_loads_nothing(page):
    tags = parsed(page)
    assert not [tag for tag, _ in tags if tag in ("link", "iframe")]
    addresses = [attributes.get("href") or attributes.get("src") for tag, attributes in tags]
    assert {address[0] if address[0] == "#" else address[:5] for address in addresses if address} == {"#", "data:"}
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"|base64,[^"]*', "", page)
    assert "default-src 'none'" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_every_anchor_resolves_and_no_id_is_there_twice(page):
    tags = parsed(page)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = {attributes["href"][1:] for _, attributes in tags if attributes.get("href", "").startswith("#")}
    assert anchors <= set(ids)
    assert len([anchor for anchor in anchors if anchor.startswith("term-")]) > 10
    clipped = set(re.findall(r"url\(#([^)]*)\)", page))
    assert clipped
    assert clipped <= set(ids)


@pytest.mark.parametrize(("kind", "least"), [("figure", 11), ("table", 20)])
def test_figures_and_tables_are_numbered_in_reading_order(page, kind, least):
    places = re.findall(rf'id="{kind}-(\d+)"', page)
    named = re.findall(rf'<a class="number" href="#{kind}-(\d+)">{kind.title()} (\d+)</a>', page)
    assert len(places) >= least
    assert places == [str(number + 1) for number in range(len(places))]
    assert named == [(number, number) for number in places]


def test_every_figure_has_words_for_who_does_not_see_it(page):
    tags = parsed(page)
    assert all(len(attributes["alt"]) > 2 for tag, attributes in tags if tag == "img")
    roots = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(roots) >= 10
    assert all(len(attributes["aria-label"]) > 10 for attributes in roots)


def test_every_table_can_be_had_as_csv_and_latex(study, page):
    links = [attributes for tag, attributes in parsed(page) if tag == "a" and "download" in attributes]
    content = {
        attributes["download"]: base64.b64decode(attributes["href"].split("base64,")[1]).decode()
        for attributes in links
    }
    n = len(re.findall(r'id="table-\d+"', page))
    assert set(content) == {f"table-{number}.{kind}" for number in range(1, n + 1) for kind in ("csv", "tex")}
    (number,) = re.findall(r"Table (\d+)</a> Gains, largest first", page)
    gains = pd.read_csv(io.StringIO(content[f"table-{number}.csv"]))
    assert sorted(gains["gain"].dropna()) == pytest.approx(sorted(study.gains.table["gain"].dropna()), rel=1e-5)
    assert content[f"table-{number}.tex"].count(r"\\") == len(study.gains.table) + 1


def test_words_are_explained_where_they_first_stand(page):
    """Every term that is linked is in the list, is linked once, and says at the link what it says in the list."""
    links = re.findall(r'<a class="term" href="#term-([\w-]+)" title="([^"]*)">', page)
    listed = dict(re.findall(r'<div id="term-([\w-]+)"><dt>[^<]*</dt><dd>([^<]*)</dd>', page))
    assert dict(links) == {key: meaning.replace('"', "&#34;") for key, meaning in listed.items()}
    assert len(links) == len(listed)
    assert {"srcc", "gain", "judge", "holm", "trend"} <= set(listed)


def test_the_verdict_stands_first_and_alone(study, page):
    first = headline(study)[0][0]
    (shown,) = re.findall(r'<p class="verdict">(.*?)</p>', page)
    said = re.sub(r"<[^>]*>", "", shown)
    assert first.startswith(said)
    assert said.endswith(".")
    assert page.index('class="verdict"') < page.index("<h2>")


def test_what_the_user_writes_is_escaped(page):
    assert "Better &lt;metrics&gt;?" in page
    assert "a &lt;small&gt; one" in page


def test_nothing_undefined_is_shown(page):
    assert "Gallery</h2>" in page
    text = without_pictures(page)
    for unwanted in (">nan<", " nan", "None", ">NaT<", "{{"):
        assert unwanted not in text, unwanted
    assert "severity grade" in text
    assert "MOS" not in text
    assert "disk full" in text
    assert "pixel loss is NaN at step 312" in text
    assert "arXiv:2509.20878" in text


def test_the_same_study_gives_the_same_page(study, page, tmp_path, undrawn):
    undrawn.undo()
    assert write_page(study, tmp_path / "again.html") == page


def test_the_headline_says_what_was_put_in(synthetic_tables):
    """With a discriminator, the worse metric of the synthetic measures is the better objective."""
    study = analyse(synthetic_tables.study_tables(seeds=5), n_boot=200)
    ((first, rests, also, told, metrics, _, _, second, power),) = headline(study)
    assert rests.startswith("No single measure or judge carries the trend")
    assert told.startswith("Of the ")
    assert also.startswith("Established as well: a better metric can be the worse objective. DISTS VGG-16 against")
    assert first.startswith("Established: the better one of these measures is as a metric, the worse it is")
    assert "The rankings agree less once a discriminator is added, in 2 of 2 adversarial settings" in second
    assert "DISTS VGG-16 ranks first" in metrics
    assert "labelled by severity grade" in metrics
    assert "5 seeds × 6 images" in power


def test_the_headline_admits_that_the_data_cannot_tell(synthetic_tables):
    """Equal measures with no effect at all: the report says that it does not know, and what would decide."""
    scores = synthetic_tables.sr_scores({}, seeds=3)
    equal = dict.fromkeys(synthetic_tables.MEASURES, 1.0)
    tables = StudyTables(
        sr_scores=scores,
        fr_scores=synthetic_tables.fr_scores(equal),
        training=synthetic_tables.training(scores),
        cells=synthetic_tables.cells(scores),
    )
    ((first, *_),) = headline(analyse(tables, n_boot=200))
    assert first.startswith("Undecided: these data do not tell")
    assert "a difference of 0.5 takes about" in first


def bold(page):
    """Return the verdicts that a page shows as sure."""
    return re.findall(r'<td class="sure">([^<]*)<', page)


def cells_of(page, title):
    """Return the header of a table by its title, and its rows."""
    found = re.search(rf"{re.escape(title)}.*?</table>", page, flags=re.DOTALL)
    assert found, title
    header, *rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found.group().split("<tr>")[1:]]
    return header, rows


def test_verdicts_come_first_and_are_those_of_the_tables(study, page):
    header, rows = cells_of(page, "Does the gain rise with the rank as a metric?")
    assert header[:4] == ["adversarial setting", "trend (judge SDs)", "p, Holm", "verdict"]
    assert [row[3] for row in rows] == list(study.asymmetry.settings["trend_verdict"])
    assert not {"established", "supported"} & set(bold(page)), "two seeds establish nothing"


def test_five_seeds_establish_what_was_put_in(synthetic_tables, tmp_path):
    write_report(analyse(synthetic_tables.study_tables(seeds=5), n_boot=50), tmp_path / "report.html", title="t")
    found = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {"established", "agree less"} <= set(bold(found))


def test_the_common_panel_says_once_whom_it_leaves_out(page):
    panel = "Judges: CLIP-IQA, MANIQA, MUSIQ, NIQE, PSNR-Y. "
    out = "Judges left out: related: DISTS VGG-16, LPIPS VGG-16, SSIM-Y. Holm"
    assert page.count(panel + out) == 1
    header, _ = cells_of(page, "Does the gain rise with the rank as a metric?")
    assert "judges" not in header


def test_panels_of_unlike_settings_are_told_apart(study):
    settings, judges = study.asymmetry.settings, named_list("judges")
    every = "CLIP-IQA, MANIQA, MUSIQ, NIQE, PSNR-Y"
    assert by_setting(settings, "judges", judges) == f"Judges: {every}. "
    first = settings.assign(judges=["niqe", *settings["judges"].iloc[1:]])
    here, *others = dict.fromkeys(map(setting, records(settings)))
    said = f"Judges, {here}: NIQE. Judges, {' and '.join(others)}: {every}. "
    assert by_setting(first, "judges", judges) == said
    assert by_setting(pd.concat([settings, first]), "judges", judges) == ""


def test_data_sets_that_cannot_be_ranked_are_named_below_the_tables(study):
    settings = study.asymmetry.settings
    few = settings.assign(dataset="pipal", n=2, status="too few measures", judges="")
    asymmetry = replace(study.asymmetry, settings=pd.concat([settings, few]))
    shown_tables = [block for block in at_a_glance(replace(study, asymmetry=asymmetry)) if isinstance(block, Table)]
    assert len(shown_tables) == 2
    for shown in shown_tables:
        assert len(shown.rows) == len(settings)
        assert "too few measures have scores to rank: PIPAL." in shown.note
    _, trend, _ = at_a_glance(replace(study, asymmetry=replace(study.asymmetry, settings=few)))
    assert isinstance(trend, Table)
    assert len(trend.rows) == len(few)


def test_every_claim_is_listed_and_every_test_shown(study, page):
    claims = study.parts["claims"]
    _, rows = cells_of(page, "All claims")
    assert [row[0] for row in rows] == list(dict.fromkeys(claims["claim"]))
    for claim, found in claims[claims["verdict"] != "not testable"].groupby("claim"):
        header, rows = cells_of(page, f"</a> {claim}. ")
        assert len(rows) == len(claims[claims["claim"] == claim])
        verdicts = [row[header.index("verdict")] for row in rows]
        assert verdicts.count(found["verdict"].iloc[0]) >= 1


def test_advice_names_measures_as_people_write_them(study, page):
    header, rows = cells_of(page, "Which measure for which use")
    assert len(rows) == len(study.parts["advice"])
    assert rows[0][header.index("advice")] == "rank distorted images with DISTS VGG-16"
    assert {row[header.index("where")] for row in rows[1:]} >= {"SwinIR tiny · no discriminator"}


def test_kinds_of_independence_are_named(synthetic_tables, tmp_path):
    said = {
        ("backbone", "form"): "nor share a backbone or a form",
        ("form",): "nor share a form",
        (): "No independence was asked for",
    }
    for independence, words in said.items():
        study = analyse(synthetic_tables.study_tables(seeds=1, images=2), n_boot=20, independence=independence)
        assert words in independence_of(study)
        assert f"independence={independence}".replace("'", "&#39;") in write_page(study, tmp_path / "r.html")


@pytest.mark.parametrize("name", ["processor", "torch"])
def test_cells_from_several_kinds_of_machine_are_a_limitation(study, tmp_path, name):
    alone = {"processor": ["A, 3 GHz"], "torch": ["2.6.0"], "commit": ["x", "y"]}
    assert limitations(study, alone) == limitations(study)
    found = limitations(study, alone | {name: ["one", "another"]})
    (said,) = set(found) - set(limitations(study))
    assert f"several kinds of machine or versions ({name}: one, another): numbers are equal bit for bit only" in said
    page = tmp_path / "report.html"
    write_report(study, page, title="t", facts=alone | {name: ["one", "another"]})
    assert said in page.read_text(encoding="utf-8")
    assert "<td>one, another</td>" in page.read_text(encoding="utf-8")


def test_limitations_follow_from_the_tables(study, synthetic_tables):
    found = " ".join(limitations(study))
    assert "severity grades" in found
    assert "seeded random weights" in found
    assert "DISTS VGG-16-R" in found
    assert "2 seeds: no finding on trainings can be more than “suggested”" in found
    assert "2 cells failed or diverged" in found
    assert "Rankings are compared by 5 judges" in found
    assert "without DISTS VGG-16, LPIPS VGG-16, SSIM-Y" in found
    assert "1 judge SD is the spread of the pixel-only cell over seed × image interaction" in found
    assert "not comparable" not in found
    tables = synthetic_tables.study_tables(seeds=5)
    rated = tables.fr_scores.assign(label_kind="mos")
    done = tables.cells.query("status == 'done'")
    clean = analyse(replace(tables, fr_scores=rated, cells=done), n_boot=20)
    found = " ".join(limitations(clean))
    assert "severity" not in found
    assert "diverged" not in found
    assert "5 seeds" not in found


def test_one_seed_and_several_test_sets_are_limitations(synthetic_tables):
    tables = synthetic_tables.study_tables(seeds=1)
    sets = np.where(tables.sr_scores["image"].isin(["img0", "img1", "img2"]), "faces", "streets")
    study = analyse(replace(tables, sr_scores=tables.sr_scores.assign(test_set=sets)), n_boot=20)
    found = " ".join(limitations(study))
    assert "One seed: nothing is known of how much another training run would differ" in found
    assert "Several test sets (faces, streets) count equally" in found
    assert "over images (one seed)" in found
    assert "not comparable" in found


def test_one_sided_and_empty_studies_have_a_report(study, tmp_path):
    tables = study.tables
    nothing = {name: getattr(tables, name).head(0) for name in SCHEMAS}
    for kept, said in (
        ({}, "cannot be compared"),
        ({"sr_scores": tables.sr_scores}, "no measure was assessed"),
        ({"fr_scores": tables.fr_scores, "cells": tables.cells}, "no cell but the pixel-only one"),
        ({"fr_scores": tables.fr_scores}, "ranks first, SRCC"),
    ):
        partial = analyse(StudyTables(**nothing | kept), n_boot=20)
        write_report(partial, tmp_path / "report.html", title="t")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        parsed(page)
        assert said in without_pictures(page)
        assert "Gallery" not in page


def lose(tables, lost, status="diverged"):
    """Return tables without the scores of the trained cells that ``lost`` chooses, whose trainings have a status."""
    scores, cells = tables.sr_scores, tables.cells
    trained = cells["stage"].eq("finetune") & lost(cells)
    return replace(
        tables,
        sr_scores=scores[~(lost(scores) & scores["fidelity"].ne("bicubic"))],
        cells=cells.assign(status=cells["status"].mask(trained, status)),
    )


def bad_scores(table, column):
    return table.assign(**{column: np.nan, "status": "non-finite"})


DEGENERATE = {
    "empty": (lambda t: StudyTables(), "The two abilities cannot be compared"),
    "one measure": (lambda t: t.study_tables(measures={"ms_ssim": "ssim"}), "too few measures"),
    "two measures": (lambda t: t.study_tables(measures=dict.fromkeys(["ms_ssim", "gmsd"], "")), "too few measures"),
    "one seed": (lambda t: t.study_tables(seeds=1), "One seed: nothing is known"),
    "one image": (lambda t: t.study_tables(images=1), "seeds (one image)"),
    "one seed and image": (lambda t: t.study_tables(seeds=1, images=1), "fewer than two complete pixel-only scores"),
    "all diverged": (lambda t: lose(t.study_tables(), lambda rows: rows["seed"] >= 0), "no seed left: 2 diverged"),
    "all but the baseline diverged": (
        lambda t: lose(t.study_tables(), lambda rows: (rows["fidelity"] != "none") & (rows["fidelity"] != "bicubic")),
        "no seed left: 2 diverged",
    ),
    "one of two seeds lost": (
        lambda t: lose(t.study_tables(), lambda rows: rows["fidelity"].eq("ms_ssim") & rows["seed"].eq(1)),
        "3 trained cells lost seeds",
    ),
    "a baseline seed lost": (
        lambda t: lose(
            t.study_tables(),
            lambda rows: rows["fidelity"].eq("none") & rows["discriminator"].eq("none") & rows["seed"].eq(1),
        ),
        "images (one seed)",
    ),
    "no baseline": (
        lambda t: lose(
            t.study_tables(), lambda rows: rows["fidelity"].eq("none") & rows["discriminator"].eq("none"), "failed"
        ),
        "no pixel-only cell to compare with",
    ),
    "a missing judge": (
        lambda t: replace(
            t.study_tables(), sr_scores=t.study_tables().sr_scores.query("judge != 'musiq' or fidelity != 'ms_ssim'")
        ),
        "incomplete: MUSIQ",
    ),
    "no independent judge": (
        lambda t: t.study_tables(judges={"kin": ("vgg16;ssim;dists;lpips", True, 1.0)}),
        "no independent judge",
    ),
    "one reference": (
        lambda t: replace(t.study_tables(), fr_scores=t.fr_scores(references=1)),
        "Few reference images (ladder: 1)",
    ),
    "equal metrics": (
        lambda t: replace(
            t.study_tables(),
            fr_scores=t.fr_scores().assign(score=lambda rows: rows["level"] * (1 - 2 * rows["higher_is_better"])),
        ),
        "all measures tie on one side",
    ),
    "constant metrics": (
        lambda t: replace(t.study_tables(), fr_scores=t.fr_scores().assign(score=1.0)),
        "all scores equal 1",
    ),
    "constant judges": (
        lambda t: replace(t.study_tables(), sr_scores=t.study_tables().sr_scores.assign(value=1.0)),
        "no independent judge with spread",
    ),
    "bad scores of judges": (
        lambda t: replace(t.study_tables(), sr_scores=bad_scores(t.study_tables().sr_scores, "value")),
        "fewer than two complete pixel-only scores",
    ),
    "bad scores of metrics": (
        lambda t: replace(t.study_tables(), fr_scores=bad_scores(t.fr_scores(), "score")),
        "160 not ok of 160 scores",
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_studies_have_a_report_that_says_so(name, synthetic_tables, tmp_path):
    build, said = DEGENERATE[name]
    write_report(analyse(build(synthetic_tables), n_boot=20), tmp_path / "report.html", title="t")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed(page)
    text = without_pictures(page)
    assert said in text
    assert not {"established", "supported", "contradicted"} & set(bold(page))
    for unwanted in (">nan<", " nan", "[nan", "None", "NaT"):
        assert unwanted not in text, unwanted


def test_bad_scores_are_shown_and_counted(synthetic_tables, tmp_path):
    tables = synthetic_tables.study_tables()
    scores = tables.sr_scores
    where = (scores["fidelity"] == "ms_ssim") & (scores["discriminator"] == "patch") & (scores["judge"] == "niqe")
    scores.loc[where, ["value", "status"]] = [np.nan, "non-finite"]
    study = analyse(tables, n_boot=50)
    counts = study.counts[(study.counts["table"] == "sr_scores") & (study.counts["group"] == "niqe")]
    assert counts.set_index("status")["count"].to_dict() == {"non-finite": 12, "ok": 210}
    assert {table: rows["count"].sum() for table, rows in study.counts.groupby("table")} == {
        "cells": len(tables.cells),
        "fr_scores": len(tables.fr_scores),
        "sr_scores": len(scores),
    }
    write_report(study, tmp_path / "report.html", title="t")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>12 not ok</td>" in page
    assert "judged by NIQE" in page
    assert "incomplete: NIQE" in page


def test_no_reference_models_have_a_section_and_are_counted(synthetic_tables, tmp_path):
    scores = synthetic_tables.nr_scores(stages=(0, 1))
    bad = scores.index[scores["stage"].isna() & (scores["initialisation"] == "pretrained")][:3]
    scores.loc[bad, ["score", "status"]] = [np.nan, "diverged"]
    study = analyse(replace(synthetic_tables.study_tables(), nr_scores=scores), n_boot=50)
    counts = study.counts[study.counts["table"] == "nr_scores"]
    assert counts["count"].sum() == len(scores)
    assert counts.loc[counts["status"] == "diverged", "count"].tolist() == [3]
    assert {"nr_splits", "nr_assessment", "nr_differences"} <= set(study.derived())
    write_report(study, tmp_path / "report.html", title="t")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed(page)
    text = without_pictures(page)
    assert "No-reference models</h2>" in text
    assert "Of 1 comparison of a discriminator&#39;s weights with random ones as a start" in text
    assert "pretrained: 1 of 6 runs, first split 0: 3 not ok of 25 scores" in text
    assert "VGG-16, linear from pretrained on rated" in text  # among the values that could not be computed
    for title in ("How much the initialisation matters", "Layer by layer", "Differences, layer by layer"):
        assert title in text
    for unwanted in (">nan<", " nan", "None", "NA&gt;", "{{"):
        assert unwanted not in text, unwanted


def test_one_seed_of_a_discriminator_is_a_limitation(synthetic_tables):
    for seeds, said in ((1, True), (2, False)):
        scores = synthetic_tables.nr_scores(seeds=seeds)
        study = analyse(replace(synthetic_tables.study_tables(), nr_scores=scores), n_boot=20)
        assert ("about that training only" in " ".join(limitations(study))) is said


def test_ranks_of_measures_are_shown_with_their_critical_difference(study, page):
    ranks = study.assessment.ranks
    assert len(ranks) == 5
    header, rows = cells_of(page, "Mean ranks")
    found = [float(row[header.index("mean rank")]) for row in rows]
    assert found == sorted(round(value, 2) for value in ranks["mean_rank"])
    critical = f"{ranks['critical_difference'].iloc[0]:.2f}"
    assert {row[header.index("critical difference")] for row in rows} == {critical}


def test_who_has_learnt_from_what_stands_in_the_report(synthetic_tables, tmp_path):
    rows = [
        ("dists-vgg16", "measure", "ladder", "trained on it", None, None, ""),
        ("ms_ssim", "measure", "ladder", "none known", None, None, ""),
        ("lpips-alexnet", "measure", "ladder", "unknown", None, None, "nobody says what it learnt from"),
        ("training images", "training", "ladder", "shares references", 3, 8, ""),
        ("test images of tiny", "test images", "ladder", "shares references", 2, 8, ""),
    ]
    contamination = pd.DataFrame(rows, columns=list(SCHEMAS["contamination"]))
    study = analyse(replace(synthetic_tables.study_tables(), contamination=contamination), n_boot=100)
    write_report(study, tmp_path / "r.html", title="t")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for text in ("Contamination", "trained on it", "shares references (3 of 8)", "nobody says what it learnt from"):
        assert text in page
    (said,) = [text for text in limitations(study) if "no test" in text]
    assert said == "DISTS VGG-16 learnt from ladder or from the same photographs: the SRCC there is no test."
    (said,) = [text for text in limitations(study) if "not independent" in text]
    assert said.startswith("ladder has photographs of the test images (test images of tiny: 2 of 8 shared)")
