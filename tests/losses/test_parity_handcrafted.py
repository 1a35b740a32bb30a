"""The numbers of docs/parity.md, section "Hand-crafted": computed again on real image pairs and compared with the text.

Equal definitions: ours float32, the peers float64 where they can be, so that what differs is our rounding. Different
definitions, and the authors' values: all in float64, so that what differs is the rule, on any processor.
"""

import csv
import functools
import math
from pathlib import Path

import pytest
import torch
from support.paths import ROOT

from lopsided.common.images import read_rgb, to_tensor
from lopsided.losses import create_measure
from lopsided.losses.luma import studio_luma
from lopsided.losses.through_pyiqa import pyiqa_network

IQA = ROOT.parent / "shared" / "data" / "iqa"
PAIRS = {
    "demo_pairs/lpips/ex_p0.png": "demo_pairs/lpips/ex_ref.png",
    "demo_pairs/lpips/ex_p1.png": "demo_pairs/lpips/ex_ref.png",
    "demo_pairs/dists/r1.png": "demo_pairs/dists/r0.png",
    "live_subset/jpeg/jpeg_img157.png": "live_subset/ref/{}.png",
    "live_subset/wn/wn_img103.png": "live_subset/ref/{}.png",
}
RGB = {"measure": "ssim", "color": "rgb"}
YCBCR = {"color_space": "ycbcr"}


@functools.cache
def pairs():
    if not IQA.is_dir():
        pytest.skip("the image pairs are not beside the repository")
    with (IQA / "live_subset" / "live_subset.csv").open(encoding="utf-8") as file:
        references = {f"live_subset/{row['file']}": f"live_subset/{row['ref']}" for row in csv.DictReader(file)}
    files = [(image, references.get(image, reference)) for image, reference in PAIRS.items()]
    # 384 px: large enough for every downsampling rule, small enough to be quick.
    return [tuple(to_tensor(read_rgb(IQA / file))[..., :384, :384] for file in pair) for pair in files]


def piq(name, convert=lambda x: x, **options):
    import piq as peer

    return lambda x, y: getattr(peer, name)(convert(x), convert(y), **options)


def pyiqa(name, dtype=torch.float64, options=None):
    network = pyiqa_network(name, **(options or {}))
    return lambda x, y: network(x.to(dtype), y.to(dtype))


def unbiased_gmsd(x, y):
    places = math.ceil(x.shape[-2] / 2) * math.ceil(x.shape[-1] / 2)
    return piq("gmsd")(x, y) * math.sqrt(places / (places - 1))


# (ours, peer) as in the table -> our measure, the peer's function
ROWS = {
    ("`psnr`", "piq `psnr`"): ("psnr", lambda: piq("psnr")),
    ("`psnr_y`", "piq `psnr` of our luma"): ("psnr_y", lambda: piq("psnr", studio_luma)),
    ("`ssim`", "piq `ssim(downsample=False)` of our luma"): (
        "ssim",
        lambda: piq("ssim", studio_luma, downsample=False),
    ),
    ("`ssim`, rgb", "piq `ssim(downsample=False)`"): (RGB, lambda: piq("ssim", downsample=False)),
    ("`ssim`, rgb, downsample", "piq `ssim`"): (RGB | {"downsample": True}, lambda: piq("ssim")),
    ("`ssim`", "pyiqa `ssim(color_space='ycbcr')`"): ("ssim", lambda: pyiqa("ssim", options=YCBCR)),
    ("`ssim`", "pyiqa `ssim`"): ("ssim", lambda: pyiqa("ssim")),
    ("`ssim`, rgb", "pyiqa `ssimc`"): (RGB, lambda: pyiqa("ssimc")),
    ("`ms_ssim`", "piq `multi_scale_ssim` of our luma"): ("ms_ssim", lambda: piq("multi_scale_ssim", studio_luma)),
    ("`ms_ssim`, rgb", "piq `multi_scale_ssim`"): (RGB | {"measure": "ms_ssim"}, lambda: piq("multi_scale_ssim")),
    ("`ms_ssim`", "pyiqa `ms_ssim(color_space='ycbcr')`"): ("ms_ssim", lambda: pyiqa("ms_ssim", options=YCBCR)),
    ("`gmsd`", "piq `gmsd` × √(n / (n − 1))"): ("gmsd", lambda: unbiased_gmsd),
    ("`gmsd`", "piq `gmsd`"): ("gmsd", lambda: piq("gmsd")),
    ("`gmsd`", "pyiqa `gmsd`"): ("gmsd", lambda: pyiqa("gmsd")),
    ("`nlpd`", "pyiqa `nlpd`"): ("nlpd", lambda: pyiqa("nlpd", torch.float32)),
    ("`fsim`", "piq `fsim`"): ("fsim", lambda: piq("fsim")),
    ("`vsi`", "piq `vsi`"): ("vsi", lambda: piq("vsi")),
    ("`cw_ssim`", "pyiqa `cw_ssim`"): ("cw_ssim", lambda: pyiqa("cw_ssim")),
    ("`vif`", "piq `vif_p`"): ("vif", lambda: piq("vif_p")),
}
# Where the authors' code starts from gray images, so do we. These are MATLAB's weights of rgb2gray: 0.299, 0.587 and
# 0.114 would put pixels halfway between two grey levels, where the last bit of a sum decides.
RGB2GRAY = torch.tensor([0.298936021293775, 0.587043074451121, 0.114020904255103], dtype=torch.float64).view(1, 3, 1, 1)
AUTHORS = {
    "`ssim`, gray": ({"measure": "ssim", "color": "gray"}, "ssim", True),
    "`ms_ssim`, gray": ({"measure": "ms_ssim", "color": "gray"}, "ms_ssim", True),
    "`gmsd`": ("gmsd", "gmsd", True),
    "`nlpd`": ("nlpd", "nlpd", True),
    "`cw_ssim`": ("cw_ssim", "cw_ssim", False),
    "`fsim`": ("fsim", "fsim", False),
    "`vsi`": ("vsi", "vsi", False),
    "`vif`": ("vif", "vif", False),
}


def tables():
    """The two tables of the section, as lists of rows of cells."""
    text = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    section = text.split("## Hand-crafted")[1].split("\n## ")[0]
    found, inside = [], False
    for line in section.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        inside = line.startswith("|")
    return [table[2:] for table in found]


def test_the_tables_have_the_rows_that_are_measured():
    peers, authors = tables()
    assert [(row[0], row[1]) for row in peers] == list(ROWS)
    assert [row[0] for row in authors] == list(AUTHORS)


@pytest.mark.parametrize("row", ROWS, ids=" - ".join)
def test_differences_from_peers_are_the_documented_ones(row):
    if "piq" in row[1].split()[0]:
        pytest.importorskip(row[1].split()[0])
    documented = {(cells[0], cells[1]): cells[2:] for cells in tables()[0]}[row]
    measure, peer = create_measure(ROWS[row][0]), ROWS[row][1]()
    worst = 0.0
    for image, reference in pairs():
        if min(image.shape[-2:]) < measure.spec.min_size:
            continue
        exact = image.double(), reference.double()
        with torch.no_grad():
            ours = measure.score(*((image, reference) if documented[1] == "yes" else exact)).item()
            theirs = float(peer(*exact))
        worst = max(worst, abs(ours - theirs) / abs(theirs))
    if documented[1] == "yes":
        assert worst <= 1e-5
        assert worst <= 10 * float(documented[0])  # float32 rounding varies with the machine
        assert documented[2] == ""
    else:
        assert worst == pytest.approx(float(documented[0]), rel=0.06)  # two digits
        assert documented[2]  # the rule that differs


@pytest.mark.parametrize("row", AUTHORS)
def test_differences_from_the_authors_code_are_the_documented_ones(row, monkeypatch):
    root = Path(pytest.importorskip("pyiqa").__file__).parents[1] / "ResultsCalibra"
    table = IQA / "pyiqa_calibration" / "results_official.csv"
    if not root.is_dir() or not table.exists():
        pytest.skip("the authors' values or pyiqa's five image pairs are not there")
    with table.open(encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    key, name, gray = AUTHORS[row]
    if row == "`vif`":
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # pyiqa's filters, and our entry to it
    official = next([float(value) for value in cells[1:]] for cells in rows if cells[0] == name)
    measure, worst = create_measure(key), 0.0
    for image, expected in zip(names[1:], official, strict=True):
        pair = [to_tensor(read_rgb(root / folder / image)).double() for folder in ("dist_dir", "ref_dir")]
        if gray:
            pair = [((x * 255 * RGB2GRAY).sum(1, keepdim=True).round() / 255).expand(-1, 3, -1, -1) for x in pair]
        with torch.no_grad():
            worst = max(worst, abs(measure.score(*pair).item() - expected))
    documented = {cells[0]: float(cells[1]) for cells in tables()[1]}[row]
    assert worst == pytest.approx(documented, rel=0.06)
