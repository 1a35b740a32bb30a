"""Manifests of full-reference IQA sets: what is read, and what each mistake is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lopsided.common.errors import SourceError
from lopsided.common.identity import sha256_file
from lopsided.common.images import write_png
from lopsided.iqa.manifest import FRDataset

HEADER = "image,reference,distortion,level,label,label_std,label_kind,label_higher_is_better"
GOOD = [
    "d/a1.png,r/a.png,blur,1,71.5,2.5,mos,true",
    "d/b1.png,r/b.png,blur,1,60,,mos,True",
    "d/a2.png,r/a.png,noise,2.0,-3e1,0,MOS,TRUE",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("r/a", "r/b", "d/a1", "d/a2", "d/b1")):
        write_png(tmp_path / f"{name}.png", np.full((8, 12, 3), index, np.uint8))
    return tmp_path


def write(folder: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = folder / "set.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return path


def test_rows_are_read_as_they_stand(folder: Path) -> None:
    data = FRDataset(write(folder, *GOOD), name="example")
    assert len(data) == 3
    assert (data.name, data.label_kind, data.label_higher_is_better) == ("example", "mos", True)
    assert [row.image for row in data.rows] == ["d/a1.png", "d/b1.png", "d/a2.png"]
    assert [row.label for row in data.rows] == [71.5, 60.0, -30.0]
    assert [row.label_std for row in data.rows] == [2.5, None, 0.0]
    assert [row.level for row in data.rows] == [1, 1, 2]
    assert data.rows[2].image_path == folder / "d" / "a2.png"
    assert data.rows[2].reference_path == folder / "r" / "a.png"
    assert data.rows[2].distortion == "noise"


def test_rows_are_grouped_by_reference_and_none_is_lost(folder: Path) -> None:
    data = FRDataset(write(folder, *GOOD))
    groups = list(data.by_reference())
    assert [(path.stem, [row.image for row in rows]) for path, rows in groups] == [
        ("a", ["d/a1.png", "d/a2.png"]),
        ("b", ["d/b1.png"]),
    ]
    assert sum(len(rows) for _, rows in groups) == len(data)


def test_level_deviation_and_hash_columns_are_optional(folder: Path) -> None:
    header = "image,reference,distortion,label,label_kind,label_higher_is_better,year"
    data = FRDataset(write(folder, "d/a1.png,r/a.png,blur,3,dmos,false,2006", header=header))
    assert data.rows[0].level is None
    assert data.rows[0].label_std is None
    assert data.label_higher_is_better is False
    assert data.name == folder.name


def test_identity_is_that_of_the_content(folder: Path) -> None:
    first = FRDataset(write(folder, *GOOD)).identity
    assert FRDataset(write(folder, *GOOD, encoding="utf-8-sig")).identity == first  # a byte-order mark is no content
    assert FRDataset(write(folder, "", *GOOD)).identity == first
    assert FRDataset(write(folder, *GOOD[:2])).identity != first
    assert FRDataset(write(folder, GOOD[0].replace("71.5", "71.6"), *GOOD[1:])).identity != first


def test_stated_hashes_are_checked(folder: Path) -> None:
    digest, reference = (sha256_file(folder / name) for name in ("d/a1.png", "r/a.png"))
    path = write(folder, f"{GOOD[0]},{digest.upper()},{reference}", header=f"{HEADER},sha256,reference_sha256")
    FRDataset(path)
    write_png(folder / "r" / "a.png", np.full((8, 12, 3), 200, np.uint8))
    with pytest.raises(SourceError, match=r"line 2: sha256 of .*a\.png is .*the file has changed"):
        FRDataset(path)
    FRDataset(path, verify=False)


def bad(field: int, value: str) -> str:
    cells = GOOD[1].split(",")
    cells[field] = value
    return ",".join(cells)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (bad(0, "d/none.png"), r"line 3: no such image file: 'd/none\.png'"),
        (bad(1, "r/none.png"), r"line 3: no such reference file: 'r/none\.png'"),
        (bad(1, ""), "line 3: no such reference file: ''"),
        (bad(0, "d/../d/a1.png"), r"line 3: image 'd/\.\./d/a1\.png' is already listed on line 2"),
        (bad(2, ""), "line 3: the distortion is empty"),
        (bad(3, "1.5"), "line 3: level is not a whole number: '1.5'"),
        (bad(4, "nan"), "line 3: label is 'nan'"),
        (bad(4, "inf"), "line 3: label is 'inf'"),
        (bad(4, ""), "line 3: label is not a number: ''"),
        (bad(4, "good"), "line 3: label is not a number: 'good'"),
        (bad(5, "-1"), "line 3: label_std is negative"),
        (bad(6, "dmos"), "line 3: label_kind is 'dmos', but 'mos' above"),
        (bad(7, "false"), "line 3: label_higher_is_better is 'false', but 'true' above"),
        ("d/b1.png,r/b.png", "line 3: 2 cells"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder: Path, line: str, seen: str) -> None:
    with pytest.raises(SourceError, match=rf"set\.csv, {seen}"):
        FRDataset(write(folder, GOOD[0], line))


@pytest.mark.parametrize(
    ("lines", "header", "seen"),
    [
        ([GOOD[0].replace("mos", "rating")], HEADER, r"unknown label_kind 'rating'; known: mos, dmos, severity_grade"),
        ([GOOD[0].replace("true", "yes")], HEADER, "label_higher_is_better is 'yes'; write true or false"),
        ([GOOD[0].replace("mos", "severity_grade")], HEADER, "severity grades are lower for better images"),
        ([], HEADER, "lists no images"),
        ([line.replace(",", ";") for line in GOOD], HEADER.replace(",", ";"), "separated by semicolons"),
        (GOOD, HEADER.replace("label_kind", "kind"), "no column 'label_kind'"),
    ],
)
def test_a_bad_manifest_is_named(folder: Path, lines: list[str], header: str, seen: str) -> None:
    with pytest.raises(SourceError, match=rf"set\.csv.*{seen}"):
        FRDataset(write(folder, *lines, header=header))


def test_images_must_be_images_of_their_references_size(folder: Path) -> None:
    write_png(folder / "d" / "b1.png", np.zeros((8, 11, 3), np.uint8))
    with pytest.raises(SourceError, match=r"line 3: d/b1\.png has 11×8 pixels, its reference r/b\.png 12×8"):
        FRDataset(write(folder, *GOOD))
    (folder / "d" / "b1.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"line 3: .*b1\.png: the file is empty"):
        FRDataset(write(folder, *GOOD))


def test_sizes_are_compared_upright(folder: Path) -> None:
    """A photograph that EXIF turns has the size of its upright reference."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((12, 8, 3), np.uint8)).save(folder / "d" / "b1.png", exif=exif)
    data = FRDataset(write(folder, *GOOD))
    assert data.rows[1].image == "d/b1.png"
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(folder / "d" / "b1.png", exif=exif)
    with pytest.raises(SourceError, match=r"d/b1\.png has 8×12 pixels, its reference r/b\.png 12×8"):
        FRDataset(write(folder, *GOOD))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"set\.csv.*cannot be read"):
        FRDataset(tmp_path / "set.csv")
