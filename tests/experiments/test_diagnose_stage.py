"""The stage diagnose: rows for every measure, statuses for what fails, pictures, and nothing computed twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from lopsided.analysis.statistics import where
from lopsided.common.images import read_rgb, to_tensor
from lopsided.experiments import ExperimentError, load_experiment, plan
from lopsided.experiments.planning import Plan
from lopsided.experiments.results.recovered import recovered_rows
from lopsided.experiments.results.tables import collect
from lopsided.experiments.running import execute as executors
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.schema.execution import Execution
from lopsided.experiments.store import Store
from lopsided.losses import create_measure
from lopsided.losses import diagnostics as functions

STAGES = ("diagnose", "differentiate")
EXPERIMENT: dict[str, Any] = {
    "name": "diagnosed",
    "data": {
        "train": {"source": "skimage", "split": "train"},
        "test": {"a": {"images": {"source": "skimage", "split": "test"}, "crop": 64}},
    },
    "super_resolution": {"pretrain": {"steps": 1, "patch": 32}, "finetune": {"steps": 1, "patch": 32}},
    "grid": {"fidelity": ["l1"]},
    "judges": ["psnr_y"],
}
TINY = {"crops": 2, "crop": 32, "steps": 4, "every": 2, "power_steps": 2, "probes": 1, "starts": ["blur", "jpeg"]}


def planned(path: Path, **settings: Any) -> Plan:
    path.mkdir(parents=True, exist_ok=True)
    (path / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"diagnose": TINY | settings}), encoding="utf-8")
    whole = plan(load_experiment(path / "e.yaml"))
    return Plan(whole.experiment, tuple(cell for stage in STAGES for cell in whole.of_stage(stage)))


def execute(found: Plan, root: Path):
    store = Store(root)
    return store, executors.execute(found, store, Execution(), SilentReporter())


def test_every_measure_has_every_row_and_pictures(tmp_path: Path) -> None:
    found = planned(tmp_path, measures=["ssim", "mad", "dists-squeezenet1_1-r"], pairs=[["l1", "ssim"]])
    store, summary = execute(found, tmp_path / "store")
    assert (summary.done, summary.failed) == (6, [])
    rows = collect(found, store).diagnostics
    own = where(rows, other="")
    keys = ["measure", "diagnostic", "start", "detail", "image"]
    assert not own.duplicated(keys).any()
    assert set(own["measure"]) == {"l1", "ssim", "mad", "dists-squeezenet1_1-r"}
    assert set(own["image"]) == {"brick", "coins"}
    ssim = where(own, measure="ssim", status="ok")
    assert set(ssim["diagnostic"]) == {
        *("alignment", "frequency", "curvature", "invariance", "recovery", "recovery_loss", "colour")
    }
    assert set(where(ssim, diagnostic="recovery")["detail"]) == {"0", "2", "4"}
    # What cannot be computed has a row that says why.
    lost = {(row["measure"], row["diagnostic"]): row["status"] for _, row in own[own["status"] != "ok"].iterrows()}
    assert lost == {
        **{("mad", name): "no gradient" for name in ("alignment", "frequency", "curvature", "recovery")},
        **{(key, "shares"): "not a sum of parts" for key in ("l1", "ssim", "mad")},
        ("l1", "curvature"): "non-finite",
        ("mad", "invariance"): "non-finite",  # which does not see the noise either
    }
    assert own["value"].isna().eq(own["status"].ne("ok")).all()
    paired = rows[rows["other"] != ""]
    assert set(zip(paired["measure"], paired["other"], strict=True)) == {("ssim", "l1"), ("l1", "ssim")}
    assert set(paired["detail"]) == {"best", "best, held", "worst", "worst, held"}
    cell = next(cell for cell in found.cells if cell.labels["measure"] == "ssim")
    folder = store.folder(cell.stage, cell.id)
    (of_blur, of_jpeg) = recovered_rows(found, store)
    assert list(of_jpeg["crops"]) == ["reference", "input", "L1", "SSIM", "DISTS SqueezeNet 1.1-R"]
    assert "from blur" in of_blur["label"]
    assert (of_jpeg["crops"]["SSIM"] == read_rgb(folder / "pictures" / "jpeg" / "brick.png")).all()
    for name in ("pictures/jpeg/coins.png", "starts/jpeg/coins.png", "references/coins.png"):
        assert read_rgb(folder / name).shape == (32, 32, 3)


def test_again_nothing_is_computed_and_the_numbers_are_the_same_elsewhere(tmp_path: Path) -> None:
    found = planned(tmp_path, measures=["gmsd"], diagnostics=["alignment", "curvature", "invariance", "recovery"])
    store, _ = execute(found, tmp_path / "one")
    assert execute(found, tmp_path / "one")[1].done == 0
    other, _ = execute(found, tmp_path / "two")
    pd.testing.assert_frame_equal(collect(found, store).diagnostics, collect(found, other).diagnostics)


def test_cells_depend_on_what_counts_and_on_nothing_else(tmp_path: Path) -> None:
    def ids(**settings: Any) -> dict[str, str]:
        return {cell.labels["measure"]: cell.id for cell in planned(tmp_path, **settings).cells}

    base = ids(measures=["ssim"])
    assert ids(measures=["gmsd", "ssim"]).items() >= base.items()
    assert ids(measures=["ssim"], pairs=[["ssim", "gmsd"]]).items() >= base.items()
    for changed in (
        {"steps": 5},
        {"seed": 1},
        {"crops": 1},
        {"bands": 4},
        {"images": {"source": "skimage", "split": "test"}},
    ):
        assert not set(ids(measures=["ssim"], **changed).values()) & set(base.values()), changed


def test_a_failure_is_a_row_and_the_rest_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such\nkernel")

    monkeypatch.setattr(functions, "frequency", broken)
    found = planned(tmp_path, diagnostics=["frequency", "alignment"])
    rows = collect(found, execute(found, tmp_path / "store")[0]).diagnostics
    failed = where(rows, diagnostic="frequency")
    assert set(failed["status"]) == {"failed: no such kernel"}
    assert len(failed) == 4
    assert where(rows, diagnostic="alignment")["status"].eq("ok").all()


def test_numbers_are_those_of_the_functions(tmp_path: Path) -> None:
    found = planned(tmp_path, diagnostics=["alignment", "recovery"])
    store, _ = execute(found, tmp_path / "store")
    rows = collect(found, store).diagnostics
    folder = store.folder("diagnose", found.cells[0].id)
    start, reference = (
        to_tensor(read_rgb(folder / name)) for name in ("starts/jpeg/brick.png", "references/brick.png")
    )
    expected = {r.detail: r.values.item() for r in functions.alignment(create_measure("l1"), start, reference)}
    for detail, value in expected.items():
        (row,) = where(rows, diagnostic="alignment", start="jpeg", image="brick", detail=detail)["value"]
        assert row == pytest.approx(value, rel=1e-5)
    (last,) = where(rows, diagnostic="recovery", start="jpeg", image="brick", detail="4")["value"]
    course = functions.recover(create_measure("l1"), start, reference, steps=4, every=2).psnr
    assert last == pytest.approx(course[4].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"measures": ["ms_ssim"]}, "diagnose.crop: 'ms_ssim' needs at least 161 px, got 32; raise crop"),
        ({"crop": 30, "starts": ["bicubic"]}, "diagnose.crop: must be a multiple of scale 4, e.g. 32; got 30"),
        ({"crops": 9}, "diagnose.images: 8 images, 9 are wanted; lower diagnose.crops"),
        ({"pairs": [["l1", "l1"]]}, "'l1' is paired with itself; name two measures"),
        ({"pairs": [["l1", "mad"]]}, "'mad' has no finite gradient, so it can be neither held nor moved"),
        ({"measures": ["learnt:mine"]}, "name it in the grid or in assessment.measures"),
        ({"starts": ["blur", "blur"]}, "'blur' is listed twice; keep one"),
        ({"starts": ["fog"]}, "must be 'bicubic', 'blur', 'noise' or 'jpeg'"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        planned(tmp_path, **settings)
    assert said in str(caught.value)


def test_photographs_that_are_too_small_are_refused_before_the_run(tmp_path: Path) -> None:
    found = planned(tmp_path, crop=512, crops=1, starts=["blur"])
    with pytest.raises(ExperimentError, match="a crop of 512 px with its margin needs 528 per side"):
        execute(found, tmp_path / "store")
