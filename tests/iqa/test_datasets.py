"""IQA data sets: every published layout on a miniature copy, real label files whole, and what each fault is told."""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support.paths import ROOT, SHARED

from lopsided.common.errors import SourceError
from lopsided.common.identity import identity, sha256_file
from lopsided.iqa.datasets import (
    Columns,
    PairDataset,
    check_dataset,
    dataset_info,
    import_csv,
    list_datasets,
    list_images,
    open_dataset,
    write_manifest,
)
from lopsided.iqa.datasets.full_reference import LIVE_FOLDERS
from lopsided.iqa.datasets.opening import wrong_counts
from lopsided.iqa.manifest import FRDataset, Labels, NRDataset

DOCS = ROOT / "docs" / "datasets.md"
REAL = SHARED / "iqa"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real label files of {REAL} are not here")

Rows = list[tuple[Any, ...]]


def picture(path: Path, size: tuple[int, int] = (12, 8)) -> None:
    """Write an image that is like no other: its pixels are drawn from its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", size, hashlib.shake_128(str(path).encode()).digest(size[0] * size[1] * 3)).save(path)


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        picture(folder / name)


def write(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)


def kadid(folder: Path) -> Rows:
    write(
        folder / "dmos.csv",
        "dist_img,ref_img,dmos,var",
        "I01_01_01.png,I01.png,4.57,0.496",
        "I01_01_02.png,I01.png,4.33,0.869",
        "I81_25_05.png,I81.png,1,0",
    )
    pictures(folder / "images", "I01.png", "I81.png", "I01_01_01.png", "I01_01_02.png", "I81_25_05.png")
    return [
        ("images/I01_01_01.png", "images/I01.png", "01", 1, 4.57, 0.496, None, None),
        ("images/I01_01_02.png", "images/I01.png", "01", 2, 4.33, 0.869, None, None),
        ("images/I81_25_05.png", "images/I81.png", "25", 5, 1.0, 0.0, None, None),
    ]


def tid(folder: Path) -> Rows:
    write(folder / "mos_with_names.txt", "5.51429 I01_01_1.bmp", "5.56757 i01_01_2.bmp", "0.24242 i25_24_5.bmp")
    write(folder / "mos_std.txt", "0.13013", "0.16008", "0.09")
    pictures(folder / "distorted_images", "I01_01_1.bmp", "I01_01_2.BMP", "i25_24_5.bmp")
    pictures(folder / "reference_images", "I01.BMP", "i25.bmp")
    return [
        ("distorted_images/I01_01_1.bmp", "reference_images/I01.BMP", "01", 1, 5.51429, 0.13013, None, None),
        ("distorted_images/I01_01_2.BMP", "reference_images/I01.BMP", "01", 2, 5.56757, 0.16008, None, None),
        ("distorted_images/i25_24_5.bmp", "reference_images/i25.bmp", "24", 5, 0.24242, 0.09, None, None),
    ]


def live(folder: Path) -> Rows:
    """All 982 images: the layout rests on their order. Those whose number is a multiple of 5 are undistorted copies."""
    references = [f"ref{number:02}.bmp" for number in range(29)]
    pictures(folder / "refimgs", *references)
    names = [f"{kind}/img{number}.bmp" for kind, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    pictures(folder, *names)
    copies = np.array([int(name[name.index("img") + 3 : -4]) % 5 == 0 for name in names])
    labels = np.where(copies, 0, np.linspace(-2.64, 111.77, len(names)))
    of = [references[index % 29] for index in range(len(names))]
    cells = np.empty((1, len(names)), object)
    cells[0, :] = of
    savemat(folder / "refnames_all.mat", {"refnames_all": cells})
    arrays = {"dmos_new": labels[None], "dmos_std": labels[None] * 0 + 1.5, "orgs": copies[None].astype(np.uint8)}
    savemat(folder / "dmos_realigned.mat", arrays)
    for kind in LIVE_FOLDERS:
        lines = [
            f"{reference} {name.split('/')[1]} 0.5" for name, reference in zip(names, of, strict=True) if kind in name
        ]
        write(folder / kind / "info.txt", *lines)
    return [
        (name, f"refimgs/{reference}", name.split("/")[0], None, float(label), 1.5, None, None)
        for name, reference, label, copy in zip(names, of, labels, copies, strict=True)
        if not copy
    ]


def csiq_images(folder: Path) -> None:
    pictures(folder / "src_imgs", "1600.png", "aerial_city.png")
    pictures(folder / "dst_imgs", "awgn/1600.AWGN.1.png", "jpeg2000/1600.jpeg2000.5.png")
    pictures(folder / "dst_imgs", "contrast/aerial_city.contrast.3.png")


def csiq(folder: Path) -> Rows:
    """The sheet ``all_by_image`` of the workbook, saved as CSV."""
    csiq_images(folder)
    city = "aerial_city"
    write(
        folder / "csiq.DMOS.csv",
        "image,dst_idx,dst_type,dst_lev,dmos_std,dmos",
        "1600,1,noise,1,0.061,0.062",
        "1600,3,jpeg 2000,5,0.1,0.9",
        "aerial_city,6,contrast,3,0.02,0.3",
    )
    return [
        ("dst_imgs/awgn/1600.AWGN.1.png", "src_imgs/1600.png", "awgn", 1, 0.062, 0.061, None, None),
        ("dst_imgs/jpeg2000/1600.jpeg2000.5.png", "src_imgs/1600.png", "jpeg2000", 5, 0.9, 0.1, None, None),
        (f"dst_imgs/contrast/{city}.contrast.3.png", f"src_imgs/{city}.png", "contrast", 3, 0.3, 0.02, None, None),
    ]


def csiq_text(folder: Path) -> Rows:
    """The text file that circulates, without deviations."""
    csiq_images(folder)
    lines = ("1600.AWGN.1.png 0.062", "1600.jpeg2000.5.png 0.9", "aerial_city.contrast.3.png 0.3")
    write(folder / "csiq_label.txt", *lines)
    rows = csiq(folder)
    (folder / "csiq.DMOS.csv").unlink()
    return [(*row[:5], None, None, None) for row in rows]


def pipal(folder: Path) -> Rows:
    write(folder / "Train_Label" / "Ref_1.txt", "A0001_00_00.bmp,1520.0648", "A0001_06_17.bmp,1437.0798")
    write(folder / "Train_Label" / "Ref_2.txt", "A0121_03_00.bmp,1000")
    pictures(folder, "Distortion_1/A0001_00_00.bmp", "Distortion_1/A0001_06_17.bmp", "Distortion_3/A0121_03_00.bmp")
    pictures(folder / "Train_Ref", "A0001.bmp", "A0121.bmp")
    return [
        ("Distortion_1/A0001_00_00.bmp", "Train_Ref/A0001.bmp", "00", None, 1520.0648, None, None, None),
        ("Distortion_1/A0001_06_17.bmp", "Train_Ref/A0001.bmp", "06", None, 1437.0798, None, None, None),
        ("Distortion_3/A0121_03_00.bmp", "Train_Ref/A0121.bmp", "03", None, 1000.0, None, None, None),
    ]


def qads(folder: Path) -> Rows:
    write(folder / "mos_with_names.txt", "0.81234  img01_2_1.bmp", "0.10000  img20_4_21.bmp")
    pictures(folder / "super-resolved_images", "img01_2_1.bmp", "img20_4_21.bmp")
    pictures(folder / "source_images", "img01.bmp", "img20.bmp")
    images, sources = "super-resolved_images", "source_images"
    return [
        (f"{images}/img01_2_1.bmp", f"{sources}/img01.bmp", "method 1", 2, 0.81234, None, None, None),
        (f"{images}/img20_4_21.bmp", f"{sources}/img20.bmp", "method 21", 4, 0.1, None, None, None),
    ]


def sriqa(folder: Path) -> Rows:
    write(folder / "MOS" / "0001.txt", "0001_SUPIR.png,100.0", "0001_RRDB.png,0.0")
    write(folder / "MOS" / "0002.txt", "0002_SUPIR.png 71.5")
    pictures(folder / "images", "SUPIR/0001_SUPIR.png", "RRDB/0001_RRDB.png", "SUPIR/0002_SUPIR.png")
    pictures(folder / "images" / "Original", "0001_Original.png", "0002_Original.png")
    original = "images/Original"
    return [
        ("images/SUPIR/0001_SUPIR.png", f"{original}/0001_Original.png", "SUPIR", None, 100.0, None, None, None),
        ("images/RRDB/0001_RRDB.png", f"{original}/0001_Original.png", "RRDB", None, 0.0, None, None, None),
        ("images/SUPIR/0002_SUPIR.png", f"{original}/0002_Original.png", "SUPIR", None, 71.5, None, None, None),
    ]


def tqd(folder: Path) -> Rows:
    """No published layout is known: what the import writes."""
    pictures(folder, "a.png", "a_1.png", "a_2.png")
    header = "image,reference,distortion,label,label_kind,label_higher_is_better"
    write(folder / "manifest.csv", header, "a_1.png,a.png,noise,3,mos,false", "a_2.png,a.png,crop,1,mos,false")
    return [
        ("a_1.png", "a.png", "noise", None, 3.0, None, None, None),
        ("a_2.png", "a.png", "crop", None, 1.0, None, None, None),
    ]


def koniq(folder: Path) -> Rows:
    write(
        folder / "koniq10k_distributions_sets.csv",
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set",
        "10004473376.jpg,0.0,0.0,0.24,0.7,0.06,105,77.3836206897,0.53,training",
        "10007357496.jpg,0.0,0.03,0.47,0.49,0.01,96,68.7285714286,0.58,test",
        "1000.jpg,0.0,0.03,0.47,0.49,0.01,98,50,0.58,validation",
    )
    pictures(folder / "1024x768", "10004473376.jpg", "10007357496.jpg", "1000.jpg")
    return [
        ("1024x768/10004473376.jpg", None, "", None, 77.3836206897, None, 105, "train"),
        ("1024x768/10007357496.jpg", None, "", None, 68.7285714286, None, 96, "test"),
        ("1024x768/1000.jpg", None, "", None, 50.0, None, 98, "validation"),
    ]


def koniq_scores(folder: Path) -> Rows:
    """The label file that comes with the images, without the split."""
    rows = koniq(folder)
    (folder / "koniq10k_distributions_sets.csv").unlink()
    (folder / "1024x768").rename(folder / "512x384")
    lines = [f'"{row[0].split("/")[1]}",0,1,2,1,0,{row[6]},3.0,0.8,{row[4]}' for row in rows]
    header = '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"'
    write(folder / "koniq10k_scores_and_distributions.csv", header, *lines)
    return [(row[0].replace("1024x768", "512x384"), *row[1:7], None) for row in rows]


def live_challenge(folder: Path) -> Rows:
    names = [f"t{number}.bmp" for number in range(1, 8)] + ["3.bmp", "1000.JPG"]
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    labels = np.arange(9.0)[None] * 10
    (folder / "Data").mkdir(parents=True)
    for name, values in {"AllImages": cells, "AllMOS": labels, "AllStdDev": labels / 4}.items():
        savemat(folder / "Data" / f"{name}_release.mat", {f"{name}_release": values})
    pictures(folder / "Images", *(f"trainingImages/{name}" for name in names[:7]), *names[7:])
    return [
        ("Images/3.bmp", None, "", None, 70.0, 17.5, None, None),
        ("Images/1000.JPG", None, "", None, 80.0, 20.0, None, None),
    ]


def spaq(folder: Path) -> Rows:
    header = "Image name,MOS,Brightness,Colorfulness,Contrast,Noisiness,Sharpness"
    labels = folder / "Annotations" / "MOS and Image attribute scores.csv"
    write(labels, header, "00001.jpg,71.5,1,2,3,4,5", "00002.jpg,2,1,2,3,4,5")
    pictures(folder / "TestImage", "00001.jpg", "00002.jpg")
    return [
        ("TestImage/00001.jpg", None, "", None, 71.5, None, None, None),
        ("TestImage/00002.jpg", None, "", None, 2.0, None, None, None),
    ]


def flive(folder: Path) -> Rows:
    names = ["voc_emotic_ava/AVA__149.jpg", "voc_emotic_ava/JPEGImages__2007.jpg", "EE371R/cj23478.jpg"]
    write(folder / "labels_image.csv", "name,mos", *(f"{name},{60 + i}.5" for i, name in enumerate(names)))
    write(folder / "labels>640.csv", "name_image,mos_image", f"{names[2]},62.5")
    write(folder / "labels<=640_padded.csv", "name_image,is_valid", f"{names[0]},False", f"{names[1]},True")
    pictures(folder / "database", *names)
    return [
        (f"database/{names[0]}", None, "", None, 60.5, None, None, "train"),
        (f"database/{names[1]}", None, "", None, 61.5, None, None, "validation"),
        (f"database/{names[2]}", None, "", None, 62.5, None, None, "test"),
    ]


def bid(folder: Path) -> Rows:
    write(folder / "DatabaseGrades.csv", "Image number,Average grade", "1,2.5", "586,0")
    pictures(folder, "DatabaseImage0001.JPG", "DatabaseImage0586.JPG")
    return [
        ("DatabaseImage0001.JPG", None, "", None, 2.5, None, None, None),
        ("DatabaseImage0586.JPG", None, "", None, 0.0, None, None, None),
    ]


def agiqa(folder: Path) -> Rows:
    write(
        folder / "data.csv",
        "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align",
        'AttnGAN_normal_000.jpg,"a cat, red",,,anime style,1.5,0.4,2,0.3',
        "sd1.5_lowcorr_012.jpg,a dog,,,,3.25,0.5,2,0.3",
    )
    pictures(folder, "AttnGAN_normal_000.jpg", "sd1.5_lowcorr_012.jpg")
    return [
        ("AttnGAN_normal_000.jpg", None, "", None, 1.5, 0.4, None, None),
        ("sd1.5_lowcorr_012.jpg", None, "", None, 3.25, 0.5, None, None),
    ]


LAYOUTS: dict[str, tuple[str, Callable[[Path], Rows]]] = {
    "kadid-10k": ("kadid-10k", kadid),
    "tid2013": ("tid2013", tid),
    "tid2008": ("tid2008", tid),
    "live": ("live", live),
    "csiq": ("csiq", csiq),
    "csiq, text": ("csiq", csiq_text),
    "pipal": ("pipal", pipal),
    "qads": ("qads", qads),
    "sriqa-bench": ("sriqa-bench", sriqa),
    "tqd": ("tqd", tqd),
    "koniq-10k": ("koniq-10k", koniq),
    "koniq-10k, scores": ("koniq-10k", koniq_scores),
    "live-challenge": ("live-challenge", live_challenge),
    "spaq": ("spaq", spaq),
    "flive": ("flive", flive),
    "bid": ("bid", bid),
    "agiqa-3k": ("agiqa-3k", agiqa),
}


def plain(data: FRDataset | NRDataset | PairDataset) -> Rows:
    assert not isinstance(data, PairDataset)
    columns = ("image", "reference", "distortion", "level", "label", "label_std", "votes", "split")
    return [tuple(getattr(row, column, None) for column in columns) for row in data.rows]


def test_every_data_set_has_a_miniature() -> None:
    assert {name for name, _ in LAYOUTS.values()} | {"bapps"} == set(list_datasets())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout_is_read_as_it_stands(layout: str, tmp_path: Path) -> None:
    name, make = LAYOUTS[layout]
    expected = make(tmp_path)
    data = open_dataset(name, tmp_path, complete=False)
    assert plain(data) == expected
    info = dataset_info(name)
    assert isinstance(data, FRDataset if info.task == "fr" else NRDataset)
    assert data.name == name
    if info.labels:
        assert (data.labels, data.label_higher_is_better) == (info.labels, info.labels.higher_is_better)
    assert all(row.image_path.is_file() for row in data.rows)

    seen = []
    report = check_dataset(name, tmp_path, complete=False, progress=lambda *step: seen.append(step))
    assert (report.problems, report.notes) == ((), ())
    assert (report.listed, report.right, report.wrong) == (len(expected), len(expected), 0)
    assert [(done, total) for done, total, _ in seen] == [(i + 1, len(expected)) for i in range(len(expected))]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_manifest_of_a_published_layout_is_the_same_data_set(layout: str, tmp_path: Path) -> None:
    if layout == "live":
        pytest.skip("as the others, on 779 images")
    name, make = LAYOUTS[layout]
    make(tmp_path / "set")
    listing = list_images(name, tmp_path / "set")
    write_manifest(listing, tmp_path / "elsewhere" / "m.csv")
    copy = open_dataset("manifest", tmp_path / "elsewhere" / "m.csv")
    data = open_dataset(name, tmp_path / "set", complete=False)
    assert not isinstance(copy, PairDataset)
    assert not isinstance(data, PairDataset)
    assert copy.labels == data.labels
    assert [row[2:] for row in plain(copy)] == [row[2:] for row in plain(data)]
    assert [row.image_path.resolve() for row in copy.rows] == [row.image_path.resolve() for row in data.rows]
    Image.new("RGB", (12, 8)).save(data.rows[0].image_path)
    report = check_dataset("manifest", tmp_path / "elsewhere/m.csv")
    assert len(report.problems) == 1
    assert re.search("sha256 of .* is .*, expected .*; the file has changed", report.problems[0])


def test_the_split_of_the_authors_can_be_asked_for(tmp_path: Path) -> None:
    koniq(tmp_path)
    data = open_dataset("koniq-10k", tmp_path, complete=False)
    assert isinstance(data, NRDataset)
    assert [row.image for row in data.split("test")] == ["1024x768/10007357496.jpg"]
    kadid(tmp_path)
    other = open_dataset("kadid-10k", tmp_path, complete=False)
    assert isinstance(other, FRDataset)
    with pytest.raises(SourceError, match="no image is in split 'test'"):
        other.split("test")


def test_identity_follows_labels_and_pixels_but_not_the_place(tmp_path: Path) -> None:
    kadid(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    first = open_dataset("kadid-10k", tmp_path / "b", complete=False).identity
    (tmp_path / "b").rename(tmp_path / "c")
    assert open_dataset("kadid-10k", tmp_path / "c", complete=False).identity == first
    labels = tmp_path / "c" / "dmos.csv"
    labels.write_text(labels.read_text().replace("4.57", "4.58"))
    assert open_dataset("kadid-10k", tmp_path / "c", complete=False).identity != first


def test_an_old_manifest_keeps_its_identity(tmp_path: Path) -> None:
    """By the formula that the identity had before there were votes, splits and scales."""
    pictures(tmp_path, "r.png", "a.png")
    header = "image,reference,distortion,level,label,label_std,label_kind,label_higher_is_better,year"
    write(tmp_path / "set.csv", header, "a.png,r.png,blur,1,71.5,2.5,mos,true,2006")
    cells = dict(
        zip(header.split(","), ["a.png", "r.png", "blur", "1", "71.5", "2.5", "mos", "true", "2006"], strict=True)
    )
    hashes = [sha256_file(tmp_path / "a.png"), sha256_file(tmp_path / "r.png")]
    assert FRDataset(tmp_path / "set.csv").identity == identity({"manifest": [cells], "pixels": [hashes]})


# BAPPS


def bapps(folder: Path) -> None:
    for number, judgement in enumerate((0.0, 0.4)):
        pictures(folder / "2afc/val/cnn", *(f"{kind}/{number:06}.png" for kind in ("ref", "p0", "p1")))
        (folder / "2afc/val/cnn/judge").mkdir(exist_ok=True)
        np.save(folder / f"2afc/val/cnn/judge/{number:06}.npy", np.array([judgement], np.float32))
    pictures(folder / "2afc/train/mix", "ref/000000.png", "p0/000000.png", "p1/000000.png")
    (folder / "2afc/train/mix/judge").mkdir()
    np.save(folder / "2afc/train/mix/judge/000000.npy", np.array([0.5]))
    pictures(folder / "jnd/val/traditional", "p0/000000.png", "p1/000000.png")
    (folder / "jnd/val/traditional/same").mkdir()
    np.save(folder / "jnd/val/traditional/same/000000.npy", np.array([1 / 3]))


def test_bapps_is_read_as_pairs(tmp_path: Path) -> None:
    bapps(tmp_path)
    data = open_dataset("bapps", tmp_path)
    assert isinstance(data, PairDataset)
    assert [(r.name, r.task, r.split, r.subset, round(r.judgement, 4), r.votes) for r in data.rows] == [
        ("2afc/train/mix/000000", "2afc", "train", "mix", 0.5, 2),
        ("2afc/val/cnn/000000", "2afc", "validation", "cnn", 0.0, 5),
        ("2afc/val/cnn/000001", "2afc", "validation", "cnn", 0.4, 5),
        ("jnd/val/traditional/000000", "jnd", "validation", "traditional", 0.3333, 3),
    ]
    assert data.rows[1].reference == tmp_path / "2afc/val/cnn/ref/000000.png"
    assert data.rows[1].second == tmp_path / "2afc/val/cnn/p1/000000.png"
    assert data.rows[3].reference is None
    before = data.identity
    report = check_dataset("bapps", tmp_path)
    assert (report.ok, report.listed, report.right) == (True, 4, 4)
    np.save(tmp_path / "jnd/val/traditional/same/000000.npy", np.array([2 / 3]))
    assert open_dataset("bapps", tmp_path).identity != before


def unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def saved(name: str, values: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, values)


JUDGE = "2afc/val/cnn/judge/000001.npy"
PAIRS: dict[str, tuple[Callable[[Path], None], str]] = {
    "patch missing": (
        unlink("2afc/val/cnn/p1/000001.png"),
        "{folder}/2afc/val/cnn/p1/000001.png: no such file, but other files of this pair exist.",
    ),
    "judgement missing": (unlink(JUDGE), f"{{folder}}/{JUDGE}: no such file, but other files of this pair exist."),
    "judgement off its range": (
        saved(JUDGE, np.array([1.5])),
        f"{{folder}}/{JUDGE}: expected one judgement between 0 and 1, found [1.5].",
    ),
    "judgement is NaN": (
        saved(JUDGE, np.array([np.nan])),
        f"{{folder}}/{JUDGE}: expected one judgement between 0 and 1, found [nan].",
    ),
    "two judgements": (
        saved(JUDGE, np.array([0.0, 1.0])),
        f"{{folder}}/{JUDGE}: expected one judgement between 0 and 1, found [0.0, 1.0].",
    ),
    "patch of another size": (
        lambda folder: picture(folder / "2afc/val/cnn/p1/000001.png", (12, 9)),
        "2afc/val/cnn/000001: its patches have 12×8, 12×8, 12×9 pixels.",
    ),
}


@pytest.mark.parametrize("fault", PAIRS)
def test_a_broken_pair_gives_one_clear_message(fault: str, tmp_path: Path) -> None:
    bapps(tmp_path)
    break_it, message = PAIRS[fault]
    break_it(tmp_path)
    message = message.format(folder=tmp_path)
    report = check_dataset("bapps", tmp_path)
    assert report.problems == (message,)
    assert (report.listed, report.right) == (4, 3)
    with pytest.raises(SourceError, match=f"^{re.escape(message)}$"):
        open_dataset("bapps", tmp_path)


def test_a_pickled_judgement_is_not_loaded(tmp_path: Path) -> None:
    bapps(tmp_path)
    np.save(tmp_path / JUDGE, np.array([{"a": 1}], object), allow_pickle=True)
    (problem,) = check_dataset("bapps", tmp_path).problems
    assert problem.startswith(f"{tmp_path}/{JUDGE}: not a readable NumPy file (Object arrays cannot be loaded")


# Broken data sets. A miniature, how it is broken, and the one message; {folder} is the set's folder.


def line(number: int, text: str, name: str = "dmos.csv") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[number - 1] = text
        write(folder / name, *lines)

    return change


def saved_image(name: str, mode: str, **options: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        Image.new(mode, (12, 8), options.pop("colour", 0)).save(folder / name, **options)

    return change


def rewritten(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(data)


def renamed(name: str, to: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).rename(folder / to)

    return change


def folder_instead(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def live_arrays(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        arrays = {"dmos_new": np.ones((1, 982)), "dmos_std": np.ones((1, 982)), "orgs": np.zeros((1, 982))} | changed
        savemat(folder / "dmos_realigned.mat", {name: values for name, values in arrays.items() if values is not None})

    return change


IMAGE, FIRST = "images/I01_01_02.png", "{folder}/dmos.csv, line 3"
MAT = "{folder}/dmos_realigned.mat"
HDF5 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "image missing": ("kadid-10k", unlink(IMAGE), f"{FIRST}: no such image file: '{IMAGE}'."),
    "folder instead of image": (
        "kadid-10k",
        folder_instead(IMAGE),
        f"{FIRST}: no such image file: '{IMAGE}' (it is a folder).",
    ),
    "names differ in case": (
        "kadid-10k",
        renamed(IMAGE, "images/i01_01_02.PNG"),
        f"{FIRST}: no such image file: '{IMAGE}' (there is 'i01_01_02.PNG': names differ in case).",
    ),
    "reference missing": (
        "kadid-10k",
        unlink("images/I81.png"),
        "{folder}/dmos.csv, line 4: no such reference file: 'images/I81.png'.",
    ),
    "reference of another size": (
        "kadid-10k",
        lambda folder: picture(folder / "images/I81.png", (12, 9)),
        "{folder}/dmos.csv, line 4: images/I81_25_05.png has 12×8 pixels, its reference images/I81.png 12×9.",
    ),
    "label out of range": (
        "kadid-10k",
        line(3, "I01_01_02.png,I01.png,43.3,0.869"),
        f"{FIRST}: label is 43.3, outside the scale 1 to 5.",
    ),
    "label NaN": (
        "kadid-10k",
        line(3, "I01_01_02.png,I01.png,NaN,0.869"),
        f"{FIRST}: label is 'NaN'; every row needs a finite one, or must be left out.",
    ),
    "label empty": (
        "kadid-10k",
        line(3, "I01_01_02.png,I01.png,,0.869"),
        f"{FIRST}: label is not a number: ''.",
    ),
    "decimal comma": (
        "kadid-10k",
        line(3, 'I01_01_02.png,I01.png,"4,33",0.869'),
        f"{FIRST}: label is not a number: '4,33'.",
    ),
    "deviation negative": (
        "kadid-10k",
        line(3, "I01_01_02.png,I01.png,4.33,-0.869"),
        f"{FIRST}: label_std is negative: -0.869.",
    ),
    "image listed twice": (
        "kadid-10k",
        line(3, "I01_01_01.png,I01.png,4.33,0.869"),
        f"{FIRST}: image 'images/I01_01_01.png' is already listed on {{folder}}/dmos.csv, line 2.",
    ),
    "16 bits": (
        "kadid-10k",
        lambda folder: Image.fromarray(np.zeros((8, 12), np.uint16)).save(folder / IMAGE),
        f"{{folder}}/{IMAGE}: 16 bits per channel; convert it to 8 bits first.",
    ),
    "transparent": (
        "kadid-10k",
        saved_image(IMAGE, "RGBA", colour=(1, 2, 3, 40)),
        f"{{folder}}/{IMAGE}: has transparent pixels (lowest alpha 40 of 255); flatten it first.",
    ),
    "CMYK": (
        "koniq-10k",
        saved_image("1024x768/1000.jpg", "CMYK"),
        "{folder}/1024x768/1000.jpg: mode CMYK has no exact 8-bit RGB form; convert it to 8-bit RGB first.",
    ),
    "text named as an image": (
        "kadid-10k",
        rewritten(IMAGE, b"<html>not found</html>"),
        f"{{folder}}/{IMAGE}: it is a web page (perhaps one that asks to log in); download the file itself.",
    ),
    "zero bytes": ("kadid-10k", rewritten(IMAGE, b""), f"{{folder}}/{IMAGE}: the file is empty (0 bytes)."),
    "wrong column": (
        "kadid-10k",
        line(1, "dist_img,ref_img,mos,var"),
        "{folder}/dmos.csv: no column 'dmos' (columns seen: dist_img, ref_img, mos, var).",
    ),
    "semicolons": (
        "kadid-10k",
        lambda folder: write(folder / "dmos.csv", *(folder / "dmos.csv").read_text().replace(",", ";").splitlines()),
        "{folder}/dmos.csv: separated by semicolons; save it with commas.",
    ),
    "Latin-1": (
        "agiqa-3k",
        lambda folder: (folder / "data.csv").write_bytes(
            "name,mos_quality,std_quality\ncafé.jpg,1,1\n".encode("latin-1")
        ),
        "{folder}/data.csv: not UTF-8 text (invalid continuation byte at byte 32); save it as UTF-8.",
    ),
    "empty label file": ("kadid-10k", rewritten("dmos.csv", b""), "{folder}/dmos.csv: the manifest lists no images."),
    "row cut short": ("kadid-10k", line(3, "I01_01_02.png,I01"), f"{FIRST}: 2 cells, but the header has 4."),
    "label file missing": (
        "kadid-10k",
        unlink("dmos.csv"),
        "{folder}: no dmos.csv; give the folder that holds it.",
    ),
    "label file of another set": (
        "kadid-10k",
        line(3, "I01-01-02.png,I01.png,4.33,0.8"),
        f"{FIRST}: 'I01-01-02.png' is not a name of this data set (3 parts joined by '_').",
    ),
    "level not a number": (
        "kadid-10k",
        lambda folder: (
            renamed(IMAGE, "images/I01_01_xx.png")(folder) or line(3, "I01_01_xx.png,I01.png,4.33,0.8")(folder)
        ),
        f"{FIRST}: level is not a number: 'xx'.",
    ),
    "deviations of another length": (
        "tid2013",
        line(3, "", "mos_std.txt"),
        "{folder}/mos_std.txt: 2 lines, but 3 images are listed.",
    ),
    "two files but for their case": (
        "tid2013",
        lambda folder: (
            pictures(folder / "distorted_images", "I25_24_5.bmp", "i25_24_5.BMP")
            or (folder / "distorted_images/i25_24_5.bmp").unlink()
        ),
        "{folder}/mos_with_names.txt, line 3: 'i25_24_5.bmp' can mean 'I25_24_5.bmp' or 'i25_24_5.BMP'; remove one.",
    ),
    "line with three cells": (
        "tid2013",
        line(2, "5.5 i01_01_2.bmp x", "mos_with_names.txt"),
        "{folder}/mos_with_names.txt, line 2: 3 cells, expected 2: '5.5 i01_01_2.bmp x'.",
    ),
    "MATLAB 7.3": (
        "live",
        rewritten("dmos_realigned.mat", HDF5 + bytes(512)),
        f"{MAT}: MATLAB 7.3 file, which scipy does not read; the published one is older, or save it with '-v7'.",
    ),
    "MATLAB variable missing": (
        "live",
        live_arrays(dmos_std=None),
        f"{MAT}: no variable 'dmos_std' (variables seen: dmos_new, orgs).",
    ),
    "MATLAB array too short": (
        "live",
        live_arrays(orgs=np.zeros((1, 981))),
        f"{MAT}: orgs has 981 values, LIVE release 2 982.",
    ),
    "info.txt contradicts": (
        "live",
        line(1, "ref28.bmp img1.bmp 0.5", "jpeg/info.txt"),
        "{folder}/jpeg/info.txt, line 1: the reference of img1.bmp is ref28.bmp, but refnames_all.mat says ref24.bmp.",
    ),
    "split unknown": (
        "koniq-10k",
        line(2, "10004473376.jpg,0,0,0,1,0,105,77.4,0.5,dev", "koniq10k_distributions_sets.csv"),
        "{folder}/koniq10k_distributions_sets.csv, line 2: unknown split 'dev'; known: train, validation, test.",
    ),
    "no votes": (
        "koniq-10k",
        line(2, "10004473376.jpg,0,0,0,1,0,0,77.4,0.5,test", "koniq10k_distributions_sets.csv"),
        "{folder}/koniq10k_distributions_sets.csv, line 2: votes is 0; a label rests on at least one.",
    ),
    "arrays of unequal length": (
        "live-challenge",
        lambda folder: savemat(folder / "Data/AllMOS_release.mat", {"AllMOS_release": np.ones((1, 8))}),
        "{folder}/Data: 9 names, 8 labels and 9 deviations.",
    ),
    "old Excel file": (
        "bid",
        renamed("DatabaseGrades.csv", "DatabaseGrades.xls"),
        "{folder}/DatabaseGrades.xls: an old Excel file; save it as DatabaseGrades.csv beside it.",
    ),
    "number of an image is none": (
        "bid",
        line(2, "first,2.5", "DatabaseGrades.csv"),
        "{folder}/DatabaseGrades.csv, line 2: the first column is 'first', not the number of an image.",
    ),
    "no manifest": (
        "tqd",
        unlink("manifest.csv"),
        "{folder}: no manifest.csv; TQD has no published layout known here: make one with 'lopsided data import'.",
    ),
}
# Opening reads headers only: these it does not see, and scoring refuses the image; those it words in its own way.
SEEN_BY_DECODING = {"16 bits", "transparent", "CMYK"}
NO_IMAGES = {"text named as an image", "zero bytes"}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_data_set_gives_the_one_clear_message(fault: str, tmp_path: Path) -> None:
    name, break_it, message = BROKEN[fault]
    LAYOUTS[name][1](tmp_path)
    break_it(tmp_path)
    message = message.format(folder=tmp_path)
    report = check_dataset(name, tmp_path, complete=False)
    assert report.problems == (message,)
    assert report.wrong >= (1 if report.listed else 0)
    assert not report.ok
    if fault in SEEN_BY_DECODING:
        open_dataset(name, tmp_path, complete=False)
        return
    with pytest.raises(SourceError) as caught:
        open_dataset(name, tmp_path, complete=False)
    if fault in NO_IMAGES:
        assert str(caught.value) == f"{FIRST.format(folder=tmp_path)}: {message}"
    else:
        assert str(caught.value) == message


def test_a_truncated_jpeg_is_found(tmp_path: Path) -> None:
    koniq(tmp_path)
    path = tmp_path / "1024x768" / "1000.jpg"
    picture(path, (64, 64))
    path.write_bytes(path.read_bytes()[:-40])
    (problem,) = check_dataset("koniq-10k", tmp_path, complete=False).problems
    expected = rf"{re.escape(str(path))}: corrupt or truncated image, {path.stat().st_size} bytes \(.+\)\."
    assert re.fullmatch(expected, problem)


def test_counts_are_held_against_the_published_ones(tmp_path: Path) -> None:
    kadid(tmp_path)
    report = check_dataset("kadid-10k", tmp_path)
    assert report.problems == (
        f"{tmp_path}: 3 images are listed; KADID-10k has 10125.",
        f"{tmp_path}: 2 references are listed; KADID-10k has 81.",
    )
    assert (report.listed, report.right) == (3, 3)
    with pytest.raises(SourceError, match="3 images are listed; KADID-10k has 10125"):
        open_dataset("kadid-10k", tmp_path)


def test_many_faults_are_all_told_and_none_twice(tmp_path: Path) -> None:
    kadid(tmp_path)
    write(
        tmp_path / "dmos.csv",
        "dist_img,ref_img,dmos,var",
        "I01_01_01.png,I01.png,9,0.496",
        "I01_01_02.png,I01.png,4.33,0.869",
        "I01_01_03.png,I01.png,4.33,0.869",
        "I81_25_05.png,I81.png,1,0",
        "I81_25_04.png,I81.png,1,0",
    )
    picture(tmp_path / "images/I81_25_04.png")
    (tmp_path / "images/I81.png").write_bytes(b"")
    report = check_dataset("kadid-10k", tmp_path, complete=False)
    assert report.problems == (
        f"{tmp_path}/dmos.csv, line 2: label is 9, outside the scale 1 to 5.",
        f"{tmp_path}/dmos.csv, line 4: no such image file: 'images/I01_01_03.png'.",
        f"{tmp_path}/images/I81.png: the file is empty (0 bytes).",
    )
    assert (report.listed, report.right, report.wrong) == (5, 1, 4)


def test_what_is_no_fault_is_noted(tmp_path: Path) -> None:
    kadid(tmp_path)
    images = tmp_path / "images"
    (images / "I01_01_02.png").write_bytes((images / "I01_01_01.png").read_bytes())
    Image.new("L", (12, 8), 7).save(images / "I81_25_05.png")
    picture(images / "I82.png")
    write(tmp_path / "dmos.csv", *(tmp_path / "dmos.csv").read_text().splitlines(), encoding="utf-8-sig")
    report = check_dataset("kadid-10k", tmp_path, complete=False)
    assert report.ok
    assert report.notes == (
        "images/I01_01_01.png, images/I01_01_02.png: the same pixels, labels 4.57, 4.33",
        f"{images}/I81_25_05.png: grey; read as three equal channels",
        f"{images}/I82.png: not listed; left out",
    )


def test_a_wrong_place_is_named(tmp_path: Path) -> None:
    kadid(tmp_path)
    absent = tmp_path / "absent"
    assert check_dataset("kadid-10k", absent).problems == (f"{absent}: no such folder.",)
    file = tmp_path / "dmos.csv"
    assert check_dataset("kadid-10k", file).problems == (f"{file}: is a file; give the data set's folder.",)
    with pytest.raises(SourceError, match=r"^No data set called 'kadid10k'; did you mean 'kadid-10k'\?$"):
        check_dataset("kadid10k", tmp_path)


def test_without_openpyxl_a_workbook_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csiq(tmp_path)
    (tmp_path / "csiq.DMOS.csv").rename(tmp_path / "csiq.DMOS.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    assert check_dataset("csiq", tmp_path).problems == (
        f"{tmp_path}/csiq.DMOS.xlsx: reading Excel files needs openpyxl; install it, "
        f"or save the sheet as csiq.DMOS.csv beside it.",
    )


def test_the_workbook_is_read_as_the_sheet_saved_as_csv(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    expected = csiq(tmp_path)
    with (tmp_path / "csiq.DMOS.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    (tmp_path / "csiq.DMOS.csv").unlink()
    workbook = openpyxl.Workbook()
    workbook.active.append(["another sheet"])
    sheet = workbook.create_sheet("all_by_image")
    for _ in range(3):
        sheet.append([])
    for row in rows:
        sheet.append([None, None, None, *(float(c) if c.replace(".", "").isdecimal() and "." in c else c for c in row)])
    workbook.save(tmp_path / "csiq.DMOS.xlsx")
    assert plain(open_dataset("csiq", tmp_path, complete=False)) == expected
    with zipfile.ZipFile(tmp_path / "csiq.DMOS.xlsx", "w"):
        pass
    (problem,) = check_dataset("csiq", tmp_path).problems
    assert problem.startswith(f"{tmp_path}/csiq.DMOS.xlsx: not a readable Excel file (")


# Manifests


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_min": "0", "label_max": "50"}, "line 2: label is 71.5, outside the scale 0 to 50."),
        ({"label_min": "100", "label_max": "0"}, "label_min 100 is not below label_max 0."),
        ({"label_min": "0"}, "label_max is not a number: ''."),
        ({"label_std_of": "raters"}, "unknown label_std_of 'raters'; known: votes, mean."),
        ({"votes": "2.5"}, "line 2: votes is not a whole number: '2.5'."),
        ({"split": "dev"}, "line 2: unknown split 'dev'; known: train, validation, test."),
    ],
)
def test_the_new_columns_are_checked(changed: dict[str, str], message: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    cells = {"image": "a.png", "label": "71.5", "label_kind": "mos", "label_higher_is_better": "true"} | changed
    write(tmp_path / "m.csv", ",".join(cells), ",".join(cells.values()))
    with pytest.raises(SourceError) as caught:
        NRDataset(tmp_path / "m.csv")
    separator = ", " if message.startswith("line") else ": "
    assert str(caught.value) == f"{tmp_path / 'm.csv'}{separator}{message}"


def test_a_no_reference_manifest_is_no_full_reference_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "m.csv", "image,label,label_kind,label_higher_is_better", "a.png,1,mos,true")
    assert plain(NRDataset(tmp_path / "m.csv")) == [("a.png", None, "", None, 1.0, None, None, None)]
    with pytest.raises(SourceError, match="no column 'reference', 'distortion'"):
        FRDataset(tmp_path / "m.csv")


@pytest.mark.parametrize(("mark", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "latin-1")])
def test_any_csv_is_imported(mark: str, encoding: str, tmp_path: Path) -> None:
    pictures(tmp_path / "img", "é1.png", "é2.png", "r.png")
    rows = [["Datei", "Note", "Ort", "Art", "Teil"], ["é1.png", "3.5", "r.png", "blur", "training"]]
    rows += [["é2.png", "1", "r.png", "blur", "Val"]]
    write(tmp_path / "t.csv", *(mark.join(row) for row in rows), encoding=encoding)
    columns = Columns("Datei", "Note", reference="Ort", distortion="Art", split="Teil")
    labels = Labels("mos", True, (1, 5), licence="own")
    stated = "utf-8" if encoding.startswith("utf-8") else encoding
    report = import_csv(
        tmp_path / "t.csv", tmp_path / "m.csv", columns, labels, images=tmp_path / "img", encoding=stated
    )
    assert (report.ok, report.listed, report.right) == (True, 2, 2)
    data = FRDataset(tmp_path / "m.csv")
    assert data.labels == labels
    assert plain(data) == [
        ("img/é1.png", "img/r.png", "blur", None, 3.5, None, None, "train"),
        ("img/é2.png", "img/r.png", "blur", None, 1.0, None, None, "validation"),
    ]
    assert "sha256" in (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "{t}: the file is empty."),
        (b"file,mos\n", "{t}: a header without rows."),
        (b"file;score\na.png;1\n", "{t}: no column 'mos' (separated by semicolons, columns seen: file, score)."),
        (b"file,mos,mos\na.png,1,1\n", "{t}: column 'mos' appears more than once."),
        (b"file,mos\na.png\n", "{t}, line 2: 1 cells, but the header has 2."),
        (
            b"file,mos\n\xe9.png,1\n",
            "{t}: not utf-8 text ('utf-8' codec can't decode byte 0xe9 in position 9: invalid continuation byte); "
            "give its encoding, such as latin-1.",
        ),
    ],
)
def test_a_csv_that_is_no_table_is_not_imported(data: bytes, message: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        import_csv(table, tmp_path / "m.csv", Columns("file", "mos"), Labels("mos", True, (1, 5)))
    assert str(caught.value) == message.format(t=table)
    assert not (tmp_path / "m.csv").exists()


def test_nothing_is_written_while_anything_is_wrong(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "t.csv", "file,mos", "a.png,3", "b.png,3")
    report = import_csv(tmp_path / "t.csv", tmp_path / "m.csv", Columns("file", "mos"), Labels("mos", True, (1, 5)))
    assert report.problems == (f"{tmp_path / 't.csv'}, line 3: no such image file: 'b.png'.",)
    assert (report.listed, report.right) == (2, 1)
    assert not (tmp_path / "m.csv").exists()


# Real files


def table(name: str) -> list[dict[str, str]]:
    with gzip.open(REAL / "tables" / name, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@real
def test_all_labels_of_kadid_are_read_and_its_var_is_a_standard_deviation(tmp_path: Path) -> None:
    rows = table("vqmtcrossval/kadid10k.VQMT.csv.gz")
    lines = [f"{row['dist_img']},{row['ref_img']},{row['dmos']},{row['var']}" for row in rows]
    write(tmp_path / "dmos.csv", "dist_img,ref_img,dmos,var", *lines)
    listing = list_images("kadid-10k", tmp_path)
    assert wrong_counts(dataset_info("kadid-10k"), listing) == []
    for (_, cells), row in zip(listing.records, rows, strict=True):
        assert (cells["image"], int(cells["distortion"]), int(cells["level"])) == (
            f"images/{row['dist_img']}",
            int(row["dst_type"]),
            int(row["dst_lev"]),
        )
        assert 1 <= float(cells["label"]) <= 5
    # Thirty votes of 1 to 5 have a whole sum and a whole sum of squares; which reading of the column makes them so?
    mean = np.array([round(float(row["dmos"]) * 30) / 30 for row in rows])
    spread = np.array([float(row["var"]) for row in rows])
    thirty = np.abs(mean - [float(row["dmos"]) for row in rows]) < 0.0051

    def fits(variance: np.ndarray, printed: Callable[[np.ndarray], np.ndarray]) -> float:
        whole = np.rint(30 * (variance + mean**2)) / 30 - mean**2
        return float((np.abs(printed(np.maximum(whole, 0)) - spread) < 6e-4)[thirty].mean())

    assert thirty.mean() > 0.95
    assert fits(spread**2, np.sqrt) > 0.98
    assert fits(spread, lambda variance: variance) < 0.05


@real
def test_all_labels_of_tid2013_are_read_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    rows = table("vqmtcrossval/TID2013.VQMT.csv.gz")
    write(tmp_path / "mos_with_names.txt", *(f"{row['mos']} {row['dist_img']}" for row in rows))
    write(tmp_path / "mos_std.txt", *(row["var"] for row in rows))
    listing = list_images("tid2013", tmp_path)
    assert wrong_counts(dataset_info("tid2013"), listing) == []
    first = [cells for _, cells in listing.records]
    assert [int(cells["level"]) for cells in first] == [int(row["dst_lev"]) for row in rows]
    assert [float(cells["label"]) for cells in first] == [float(row["mos"]) for row in rows]
    assert all(0 <= float(cells["label"]) <= 9 for cells in first)
    assert {row["dist_img"][0] for row in rows} == {"i", "I"}


@real
def test_the_deviations_of_tid2013_are_standard_errors() -> None:
    """Marks of 0 to 9 are whole numbers, and so are their sum and their sum of squares."""
    mean_of = votes_of = 0
    for row in table("vqmtcrossval/TID2013.VQMT.csv.gz"):
        mean, spread = float(row["mos"]), float(row["var"])
        counts = [n for n in range(20, 60) if abs(round(mean * n) / n - mean) < 6e-6]
        if not counts:
            continue
        n = counts[0]
        exact = round(mean * n) / n
        for variance, scale in ((n * spread**2, n), (spread**2, 1)):
            whole = max(round(n * (variance + exact**2)) / n - exact**2, 0)
            fits = abs((whole / scale) ** 0.5 - spread) < 6e-6
            mean_of += fits and scale == n
            votes_of += fits and scale == 1
    assert mean_of > 2000
    assert votes_of < 20


@real
def test_all_labels_of_live_are_read_in_their_order(tmp_path: Path) -> None:
    rows = {f"{row['dst_type']}/{row['dist_img']}": row for row in table("vqmtcrossval/LIVE2.VQMT.csv.gz")}
    names = [f"{kind}/img{number}.bmp" for kind, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    references = np.empty((1, 982), object)
    references[0, :] = [rows[name]["refnames_all"] if name in rows else "buildings.bmp" for name in names]
    arrays = {
        "dmos_new": np.array([[float(rows[name]["dmos_new"]) if name in rows else 0 for name in names]]),
        "dmos_std": np.array([[float(rows[name]["dmos_std"]) if name in rows else 0 for name in names]]),
        "orgs": np.array([[name not in rows for name in names]], np.uint8),
    }
    savemat(tmp_path / "dmos_realigned.mat", arrays)
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": references})
    listing = list_images("live", tmp_path)
    assert wrong_counts(dataset_info("live"), listing) == []
    low, high = dataset_info("live").labels.scale  # pyright: ignore[reportOptionalMemberAccess, reportGeneralTypeIssues]
    for _, cells in listing.records:
        row = rows[cells["image"]]
        assert float(cells["label"]) == float(row["dmos_new"])
        assert cells["reference"] == f"refimgs/{row['refnames_all']}"
        assert low <= float(cells["label"]) <= high
    assert len(listing.belonging) == 203


@real
def test_all_labels_of_pipal_are_read(tmp_path: Path) -> None:
    rows = table("zs_iqa/pipal_psnr.csv.gz")
    by_reference: dict[str, list[str]] = {}
    for row in rows:
        by_reference.setdefault(row["ref"], []).append(f"{row['dis']},{row['mos']}")
    for reference, lines in by_reference.items():
        write(tmp_path / "Train_Label" / f"{Path(reference).stem}.txt", *lines)
    listing = list_images("pipal", tmp_path)
    assert wrong_counts(dataset_info("pipal"), listing) == []
    assert sorted(float(cells["label"]) for _, cells in listing.records) == sorted(float(row["mos"]) for row in rows)
    low, high = dataset_info("pipal").labels.scale  # pyright: ignore[reportOptionalMemberAccess, reportGeneralTypeIssues]
    assert low <= min(float(row["mos"]) for row in rows) < max(float(row["mos"]) for row in rows) <= high
    assert {cells["reference"] for _, cells in listing.records} == {f"Train_Ref/{name}" for name in by_reference}


@real
def test_the_official_file_of_koniq_is_read_with_its_split(tmp_path: Path) -> None:
    packed = (REAL / "tables/koniq10k/koniq10k_distributions_sets.csv.gz").read_bytes()
    (tmp_path / "koniq10k_distributions_sets.csv").write_bytes(gzip.decompress(packed))
    (tmp_path / "512x384").mkdir()
    listing = list_images("koniq-10k", tmp_path)
    info = dataset_info("koniq-10k")
    assert wrong_counts(info, listing) == []
    splits = [cells["split"] for _, cells in listing.records]
    counts = ", ".join(f"{part} {splits.count(part):,}" for part in ("train", "validation", "test"))
    assert counts == info.split
    assert all(0 <= float(cells["label"]) <= 100 and int(cells["votes"]) > 0 for _, cells in listing.records)


@real
def test_the_real_subset_of_live_is_imported_and_its_equal_images_are_told(tmp_path: Path) -> None:
    source = REAL / "live_subset" / "live_subset.csv"
    columns = Columns("file", "dmos", reference="ref", distortion="dist_type", label_std="dmos_std")
    labels = dataset_info("live").labels
    assert labels
    report = import_csv(source, tmp_path / "live.csv", columns, labels)
    assert (report.ok, report.listed, report.right) == (True, 97, 97)
    groups: dict[str, list[dict[str, str]]] = {}
    with source.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups.setdefault(row["pixel_md5"], []).append(row)
    same = [group for group in groups.values() if len(group) > 1]
    assert any(len({row["dmos"] for row in group}) > 1 for group in same)
    expected = {
        f"{', '.join(row['file'] for row in group)}: the same pixels, "
        f"labels {', '.join(format(float(row['dmos']), 'g') for row in group)}"
        for group in same
    }
    assert {note for note in report.notes if "same pixels" in note} == expected
    data = open_dataset("manifest", tmp_path / "live.csv")
    assert isinstance(data, FRDataset)
    assert (len(data), len(list(data.by_reference()))) == (97, 5)
    assert not data.label_higher_is_better


# The page


def test_the_page_states_what_the_registry_knows() -> None:
    page = DOCS.read_text(encoding="utf-8")
    table = page[page.index("## The sets") : page.index("## What is read")]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert rows == [documented(name) for name in list_datasets()]


def documented(name: str) -> list[str]:
    """One row of the page's table."""
    info = dataset_info(name)
    labels = info.labels
    scale = f"{labels.scale[0]:g} to {labels.scale[1]:g}" if labels and labels.scale else "not confirmed"
    meaning = f"{labels.kind.upper()}, {scale}" if labels else "stated by its manifest"
    better = ("higher" if labels.higher_is_better else "lower") if labels else "·"
    deviations = {"votes": "of votes", "mean": "of the mean", None: "·"}[labels.std_of if labels else None]
    if info.task == "pairs":
        meaning, better = "judgement of a pair, 0 to 1", "·"
    return [
        f"`{name}`",
        info.title,
        f"{info.images:,}" if info.images else "·",
        f"{info.references:,}" if info.references else "·",
        meaning,
        better,
        deviations,
        info.votes,
        info.split or "·",
        (labels.licence if labels else None) or "not confirmed",
        info.source,
    ]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ('"who; or what";file;score', '"a;b";{};3'),
        ('"who, or what",file,score', '"a,b",{},3'),
        ('file;score;"note, long"', '{};3;"one, two; three"'),
        ('file,score,"note; long"', '{},3,"one, two; three"'),
        ('file\tscore\t"note; long"', '{}\t3\t"one, two; three"'),
    ],
)
def test_quoted_cells_may_hold_any_delimiter(tmp_path: Path, header: str, row: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f"{header}\n{row.format('a.png')}\n")
    columns = Columns(image="file", label="score")
    report = import_csv(tmp_path / "t.csv", tmp_path / "m.csv", columns, Labels("mos", higher_is_better=True))
    assert report.ok, report.problems
    assert NRDataset(tmp_path / "m.csv").rows[0].label == 3


def test_a_table_that_no_delimiter_splits_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('file,score\n"a.png,3\n')
    columns = Columns(image="file", label="score")
    with pytest.raises(SourceError, match=r"t\.csv, line 2: not valid CSV"):
        import_csv(tmp_path / "t.csv", tmp_path / "m.csv", columns, Labels("mos", higher_is_better=True))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf8", "U8", "utf", "utf-8-sig", "utf-16"])
def test_the_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, encoding: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    text = "file,score\na.png,3\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-16" if encoding == "utf-16" else "utf-8-sig")
    columns = Columns(image="file", label="score")
    labels = Labels("mos", higher_is_better=True)
    assert import_csv(tmp_path / "t.csv", tmp_path / "m.csv", columns, labels, encoding=encoding).ok
