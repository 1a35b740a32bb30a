"""``lopsided data``: what it prints, what it writes and how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.command_line import invoke

from lopsided.iqa.datasets import list_datasets
from lopsided.iqa.manifest import FRDataset

IMAGES = ("I01.png", "I01_01_01.png", "I01_01_02.png")
ROWS = ("I01_01_01.png,I01.png,4.57,0.496", "I01_01_02.png,I01.png,4.33,0.869")


@pytest.fixture
def kadid(tmp_path: Path) -> Path:
    folder = tmp_path / "kadid10k"
    (folder / "images").mkdir(parents=True)
    for shade, name in enumerate(IMAGES):
        Image.new("RGB", (12, 8), (shade, 10, 20)).save(folder / "images" / name)
    (folder / "dmos.csv").write_text("\n".join(("dist_img,ref_img,dmos,var", *ROWS)) + "\n")
    return folder


def run(*arguments: object) -> tuple[int, str]:
    shown = invoke("data", *arguments)
    return shown.status, shown.text


def test_list_names_every_set() -> None:
    code, text = run("list")
    assert code == 0
    assert all(name in text for name in list_datasets())
    assert "10,125" in text
    assert "higher is better" in text


def test_a_right_set_passes_and_its_manifest_finds_later_changes(kadid: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "kadid.csv"
    code, text = run("check", "kadid-10k", kadid, "--partial", "--to", manifest)
    assert (code, text) == (
        0,
        f"kadid-10k: 2 listed, 2 right, 0 wrong; 0 problem(s), 0 note(s) manifest: {manifest}",
    )
    assert run("check", "manifest", manifest)[0] == 0
    Image.new("RGB", (12, 8), (99, 0, 0)).save(kadid / "images" / "I01_01_02.png")
    code, text = run("check", "manifest", manifest)
    assert code == 1
    assert "I01_01_02.png is" in text
    assert "the file has changed. manifest: 2 listed, 1 right, 1 wrong; 1 problem(s), 0 note(s)" in text


def test_a_wrong_set_fails_and_gets_no_manifest(kadid: Path, tmp_path: Path) -> None:
    (kadid / "images" / "I01_01_02.png").unlink()
    code, text = run("check", "kadid-10k", kadid, "--to", tmp_path / "kadid.csv")
    assert code == 1
    assert text == (
        f"wrong: {kadid}: 2 images are listed; KADID-10k has 10125. "
        f"wrong: {kadid}: 1 references are listed; KADID-10k has 81. "
        f"wrong: {kadid}/dmos.csv, line 3: no such image file: 'images/I01_01_02.png'. "
        f"kadid-10k: 2 listed, 1 right, 1 wrong; 3 problem(s), 0 note(s)"
    )
    assert not (tmp_path / "kadid.csv").exists()


def test_many_lines_are_cut_unless_all_are_asked_for(kadid: Path) -> None:
    rows = [f"I01_02_{number:02}.png,I01.png,3,0.5" for number in range(30)]
    (kadid / "dmos.csv").write_text("\n".join(("dist_img,ref_img,dmos,var", *rows)) + "\n")
    code, text = run("check", "kadid-10k", kadid, "--partial")
    assert code == 1
    assert text.count("no such image file") == 20
    assert "… and 10 more; --all shows them" in text
    assert run("check", "kadid-10k", kadid, "--partial", "--all")[1].count("no such image file") == 30


def test_an_unknown_set_is_suggested(kadid: Path) -> None:
    assert run("check", "kadid", kadid) == (1, "error: No data set called 'kadid'; did you mean 'kadid-10k'?")


def test_pairs_have_no_manifest(tmp_path: Path) -> None:
    for kind in ("p0", "p1", "same"):
        (tmp_path / "jnd/val/cnn" / kind).mkdir(parents=True)
    code, text = run("check", "bapps", tmp_path)
    assert (code, text) == (
        1,
        f"wrong: {tmp_path}: no pairs in 2afc/train, 2afc/val, jnd/val. "
        f"bapps: 0 listed, 0 right, 0 wrong; 1 problem(s), 0 note(s)",
    )


OPTIONS = ("--image", "file", "--label", "score", "--kind", "dmos", "--better", "lower", "--scale", "0", "100")


def table(folder: Path, text: str) -> Path:
    path = folder / "ratings.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_csv_is_imported_with_what_is_stated(kadid: Path, tmp_path: Path) -> None:
    source = table(tmp_path, "file;original;kind;score;sd\nI01_01_01.png;I01.png;blur;12.5;3\n")
    more = ("--reference", "original", "--distortion", "kind", "--std", "sd", "--std-of", "votes", "--licence", "own")
    target = tmp_path / "out" / "mine.csv"
    code, text = run("import", source, "--to", target, *OPTIONS, *more, "--images", kadid / "images")
    assert (code, text) == (
        0,
        f"note: {kadid}/images/I01_01_02.png: not listed; left out "
        f"ratings: 1 listed, 1 right, 0 wrong; 0 problem(s), 1 note(s) manifest: {target}",
    )
    data = FRDataset(target)
    (row,) = data.rows
    assert (row.label, row.label_std, row.distortion) == (12.5, 3.0, "blur")
    labels = data.labels
    assert (labels.kind, labels.higher_is_better, labels.scale) == ("dmos", False, (0.0, 100.0))
    assert (labels.std_of, labels.licence) == ("votes", "own")
    assert row.image_path.resolve() == (kadid / "images" / "I01_01_01.png").resolve()


def test_a_wrong_row_stops_the_import(kadid: Path, tmp_path: Path) -> None:
    source = table(kadid / "images", "file,score\nI01_01_01.png,12.5\nI01_01_02.png,120\n")
    code, text = run("import", source, "--to", tmp_path / "mine.csv", *OPTIONS)
    assert (code, text) == (
        1,
        f"wrong: {source}, line 3: label is 120, outside the scale 0 to 100. "
        f"note: {source.parent}/I01.png: not listed; left out "
        f"ratings: 2 listed, 1 right, 1 wrong; 1 problem(s), 1 note(s)",
    )
    assert not (tmp_path / "mine.csv").exists()


@pytest.mark.parametrize("left_out", ["--kind", "--better", "--scale"])
def test_the_meaning_of_labels_must_be_stated(left_out: str, kadid: Path, tmp_path: Path) -> None:
    start = OPTIONS.index(left_out)
    rest = OPTIONS[:start] + OPTIONS[start + (3 if left_out == "--scale" else 2) :]
    code, text = run("import", table(kadid / "images", "file,score\nI01.png,1\n"), "--to", tmp_path / "m.csv", *rest)
    assert code == 2
    assert "Missing option" in text
    assert left_out in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--kind", "elo"), "--kind elo: known: mos, dmos, severity_grade"),
        (("--better", "up"), "--better up: known: higher, lower"),
        (
            ("--kind", "severity_grade", "--better", "higher"),
            "--better higher: severity grades are lower for better images",
        ),
        (("--scale", "5", "1"), "--scale 5 1: the first end must be below the second"),
        (("--std", "score", "--std-of", "all"), "--std-of all: known: votes, mean"),
        (("--std-of", "mean"), "--std-of mean: needs the column of the deviations; name it with --std"),
        (("--reference", "file"), "{source}: images with references need a column that names their distortion."),
    ],
)
def test_contradictions_are_refused(changed: tuple[str, ...], message: str, kadid: Path, tmp_path: Path) -> None:
    source = table(kadid / "images", "file,score\nI01.png,1\n")
    code, text = run("import", source, "--to", tmp_path / "m.csv", *OPTIONS, *changed)
    assert (code, text) == (1, f"error: {message.format(source=source)}")
