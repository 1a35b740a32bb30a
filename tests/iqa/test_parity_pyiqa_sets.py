"""Whole data sets through pyiqa's own loader and loop: the same scores and the same signed SRCC; docs/parity.md.

pyiqa runs as its benchmark script does: its data set of general FR images, one pair at a time, its SRCC.
"""

import csv
import functools
from pathlib import Path

import pytest
import torch
from support.paths import ROOT, SHARED

from lopsided.analysis.statistics.correlation import srcc
from lopsided.backbones import BackboneSpec
from lopsided.backbones.weights import read_state
from lopsided.iqa import evaluate_fr_group
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import MeasureGroup, parse_measure

SQUEEZENET = SHARED / "weights" / "squeezenet1_1.safetensors"
LINEAR = SHARED / "weights" / "lpips_lin_v0.1" / "squeeze.pth"
YCBCR = {"color_space": "ycbcr"}
MOS = {"I03": 0.7, "I04": 3.927, "I06": 3.889, "I08": 3.281, "I19": 1.658}  # TID2013 i03_11_5, i04_18_5, i06_18_3 …
# Key to our measure, pyiqa's name and options, and whether the definitions are the same (docs/parity.md, Hand-crafted).
ROWS = {
    "psnr": ("psnr", "psnr", {}, True),
    "fsim": ("fsim", "fsim", {}, True),
    "nlpd": ("nlpd", "nlpd", {}, True),
    "lpips-squeeze": ({"measure": "lpips"}, "lpips", {"net": "squeeze", "pretrained": False}, True),
    "gmsd": ("gmsd", "gmsd", {}, False),
    "ssim": ("ssim", "ssim", YCBCR, False),
    "ms_ssim": ("ms_ssim", "ms_ssim", YCBCR, False),
    "vif": ("vif", "vif", {}, True),
}
SLOW = {"ssim", "ms_ssim", "vif"}  # on the five pairs only


def measure(key):
    value = ROWS[key][0]
    if key != "lpips-squeeze":
        return parse_measure(value)
    return parse_measure({**value, "backbone": BackboneSpec(name="squeezenet1_1", weights=str(SQUEEZENET))})


def network(key):
    """pyiqa's metric; LPIPS on the pretrained SqueezeNet and the published linear weights, as ours."""
    import pyiqa
    import torchvision

    _, name, options, _ = ROWS[key]
    if key != "lpips-squeeze":
        return pyiqa.create_metric(name, device=torch.device("cpu"), **options)
    trunk = torchvision.models.squeezenet1_1(weights=None)
    trunk.load_state_dict({name: value.float() for name, value in read_state(SQUEEZENET).items()}, strict=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, "squeezenet1_1", lambda **_: trunk)
        metric = pyiqa.create_metric(name, device=torch.device("cpu"), **options)
    metric.net.load_state_dict(read_state(LINEAR), strict=False)
    return metric


def live():
    """(image, reference, DMOS) of every eighth image of the LIVE subset."""
    folder = SHARED / "iqa" / "live_subset"
    if not folder.is_dir() or not SQUEEZENET.is_file():
        pytest.skip("the LIVE subset and SqueezeNet's weights are not beside the repository")
    with (folder / "live_subset.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::8]
    return [(folder / row["file"], folder / row["ref"], float(row["dmos"])) for row in rows]


def tid2013():
    """The five pairs that pyiqa distributes."""
    root = Path(pytest.importorskip("pyiqa").__file__).parents[1] / "ResultsCalibra"
    if not root.is_dir():
        pytest.skip("pyiqa's five image pairs are not there")
    return [(root / "dist_dir" / f"{name}.bmp", root / "ref_dir" / f"{name}.bmp", mos) for name, mos in MOS.items()]


SETS = {"live": (live, [key for key in ROWS if key not in SLOW], "false"), "tid2013": (tid2013, list(ROWS), "true")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


@functools.cache
def ours(name, folder):
    """Our scores of a set by every measure, in one evaluation."""
    images, keys, direction = SETS[name]
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "reference", "distortion", "label", "label_kind", "label_higher_is_better"])
        writer.writerows([image, reference, "-", label, "mos", direction] for image, reference, label in images())
    specs = {key: measure(key) for key in keys}
    tables = evaluate_fr_group(MeasureGroup(list(specs.values())), FRDataset(path))
    return {key: tables[spec.key] for key, spec in specs.items()}


@functools.cache
def loaded(name, folder):
    """The pairs of a set as pyiqa's loader gives them; every metric is given the same."""
    from pyiqa.data import build_dataloader, build_dataset

    meta = folder / f"{name}.meta.csv"
    with meta.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["ref", "dis", "mos"], *([ref, image, label] for image, ref, label in SETS[name][0]())]
        )
    options = {"name": name, "type": "GeneralFRDataset", "phase": "test", "dataroot_target": "/"}
    options["meta_info_file"] = str(meta)
    return list(build_dataloader(build_dataset(options), options, num_gpu=0))


def theirs(name, key, folder):
    """(scores, SRCC) of a set by one of pyiqa's metrics, as its benchmark script computes them."""
    from pyiqa.metrics import calculate_srcc

    metric, pairs = network(key), loaded(name, folder)
    scores = [metric(pair["img"], pair["ref_img"]).item() for pair in pairs]
    return scores, calculate_srcc(scores, [pair["mos_label"].item() for pair in pairs])


def compared(name, key, folder):
    """Largest relative difference of scores, our SRCC and pyiqa's."""
    table = ours(name, folder)[key]
    scores, correlation = theirs(name, key, folder)
    off = max(abs(mine - other) / abs(other) for mine, other in zip(table["score"], scores, strict=True))
    return off, srcc(table["score"].to_numpy(), table["label"].to_numpy()), correlation


def documented():
    """Cells of the section's table by measure."""
    text = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8").split("## Data sets")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_table_has_the_measures_that_are_compared():
    assert list(documented()) == list(ROWS)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("key", ROWS)
def test_scores_and_signed_srcc_of_a_set_are_pyiqas(name, key, folder):
    column = 3 * list(SETS).index(name)
    cells = documented()[key][column : column + 3]
    if name == "live" and key in SLOW:
        assert set(cells) == {"–"}
        return
    off, mine, other = compared(name, key, folder)
    assert [f"{mine:.4f}", f"{other:.4f}"] == [cell.replace("−", "-") for cell in cells[1:]]
    if ROWS[key][3]:
        assert off <= max(10 * float(cells[0]), 1e-6)  # rounding of float32 varies with the machine
        assert off <= 1e-4
        assert mine == pytest.approx(other, abs=1e-12)
    else:
        assert off == pytest.approx(float(cells[0]), rel=0.06)  # two digits
    if name == "live":  # DMOS, of which less is better
        assert (mine > 0) == parse_measure(measure(key)).build().lower_is_better
