"""Imported assessment: published scores of images that are not at hand, of measures that reproduce the publisher's."""

import csv

import pytest
import yaml
from support.paths import SHARED

from lopsided.analysis import analyse
from lopsided.analysis.limitations import limitations
from lopsided.common.errors import LopsidedError
from lopsided.common.images import read_rgb, to_tensor
from lopsided.experiments import Store, load_experiment, plan
from lopsided.experiments.planning import Plan
from lopsided.experiments.results.tables import collect
from lopsided.experiments.running.execute import execute
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.schema.execution import Execution
from lopsided.losses import create_measure

EXPERIMENT = {
    "name": "imports",
    "data": {
        "train": {"source": "skimage", "split": "train"},
        "test": {"a": {"images": {"source": "skimage", "split": "test"}}},
    },
    "super_resolution": {"pretrain": {"steps": 1, "patch": 32}, "finetune": {"steps": 1, "patch": 32}},
    "grid": {"fidelity": ["ssim"]},
    "judges": ["psnr_y"],
}


@pytest.fixture
def folder(tmp_path):
    for measure, scores in (("ssim", (0.1, 0.2, 0.3, 0.4)), ("l1", (8, 7, 6, 5))):
        rows = [f"i{n},{'R' if n else 'r'}{n % 2}.BMP,{n},{score}" for n, score in enumerate(scores)]
        (tmp_path / f"{measure}.csv").write_text("\n".join(["dis,ref,mos,pred", *rows]) + "\n")
    return tmp_path


def experiment(folder, **changes):
    columns = {"image": "dis", "reference": "ref", "label": "mos", "score": "pred"}
    scores = {"ssim": {"path": "ssim.csv"}, "l1": {"path": "l1.csv", "times": 0.1}}
    imported = {"origin": "them, 2024", "label_kind": "mos", "label_higher_is_better": True, "columns": columns}
    path = folder / "e.yaml"
    assessment = {"imported": {"tid2013": {**imported, "scores": scores, **changes}}}
    path.write_text(yaml.safe_dump({**EXPERIMENT, "assessment": assessment}))
    return path


def cells(path):
    return {cell.labels["measure"]: cell.id for cell in plan(load_experiment(path)).of_stage("import_fr")}


def tables(path, store):
    """Run the cells of the stage alone, and collect their tables."""
    planned = plan(load_experiment(path))
    imports = Plan(planned.experiment, tuple(planned.of_stage("import_fr")))
    summary = execute(imports, Store(store), Execution(), SilentReporter())
    assert not summary.failed, summary
    return collect(imports, Store(store))


def test_imported_scores_are_called_imported_in_tables_and_limitations(folder, tmp_path):
    found = tables(experiment(folder), tmp_path / "runs")
    scores = found.fr_scores.set_index(["measure", "image"])
    assert set(found.fr_scores["dataset"]) == {"tid2013 (imported)"}
    assert set(found.fr_scores["imported_from"]) == {"them, 2024"}
    assert scores.loc[("l1", "i1"), ["score", "label", "reference", "higher_is_better"]].tolist() == [
        pytest.approx(0.7),
        1.0,
        "r1.bmp",
        False,
    ]
    assert set(found.fr_scores["reference"]) == {"r0.bmp", "r1.bmp"}
    study = analyse(found, n_boot=100)
    assert study.assessment.table["srcc"].tolist() == [1.0, 1.0]
    assert any("TID2013 (imported): them, 2024" in text for text in limitations(study))
    assert set(found.contamination["dataset"]) == {"tid2013 (imported)"}


def test_a_score_that_the_measure_cannot_have_fails_its_cell(folder, tmp_path):
    path = experiment(folder, scores={"ssim": {"path": "l1.csv"}})
    with pytest.raises(AssertionError, match=r"imported score of 'ssim' is [5-8].*set `times` and `plus`"):
        tables(path, tmp_path / "runs")


def test_origin_and_scores_are_in_the_identity(folder):
    before = cells(experiment(folder))
    assert not before.items() & cells(experiment(folder, origin="others")).items()
    assert not before.items() & cells(experiment(folder, label_higher_is_better=False)).items()
    (folder / "l1.csv").write_text((folder / "l1.csv").read_text().replace("3,5", "3,4"))
    after = cells(experiment(folder))
    assert after["ssim"] == before["ssim"]
    assert after["l1"] != before["l1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": {"ssim": {"path": "no.csv"}}}, r"tid2013: .*no\.csv"),
        ({"scores": {"ssmi": {"path": "ssim.csv"}}}, "ssmi"),
        ({"scores": {"ssim": {"path": "ssim.csv", "times": 0}}}, "must not be 0"),
        ({"columns": {"image": "dis"}}, "no column 'reference', only dis, ref, mos, pred"),
        ({"origin": ""}, "origin"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_its_place(folder, changes, message):
    with pytest.raises(LopsidedError, match=message):
        plan(load_experiment(experiment(folder, **changes)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("i1,", "i0,", "'i0' more than once"),
        ("i1,R1.BMP,1,", "i1,R1.BMP,2,", "other images, references or labels"),
        ("1,7", "1,lots", "1 of 4 values in 'score' are no finite numbers"),
    ],
)
def test_a_damaged_table_is_refused(folder, old, new, message):
    text = (folder / "l1.csv").read_text()
    assert old in text
    (folder / "l1.csv").write_text(text.replace(old, new))
    with pytest.raises(LopsidedError, match=message):
        plan(load_experiment(experiment(folder)))


PUBLISHED = {"psnr": ("zsiqa_psnr", 1, 0), "fsim": ("zsiqa_fsim", -2, 1), "pyiqa-ms_ssim": ("zsiqa_msssim", -2, 1)}


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_study_imports_only_measures_that_give_the_published_scores_of_live(key):
    column, times, plus = PUBLISHED[key]
    folder = SHARED / "iqa" / "live_subset"
    if not folder.is_dir():
        pytest.skip("LIVE's images are not here")
    measure = create_measure(key)
    rows = list(csv.DictReader((folder / "live_subset.csv").read_text().splitlines()))[::8]
    for row in rows:
        image, reference = (to_tensor(read_rgb(folder / row[name])) for name in ("file", "ref"))
        ours = float(measure.score(image, reference))
        assert ours == pytest.approx(times * float(row[column]) + plus, abs=1e-5), row["file"]
