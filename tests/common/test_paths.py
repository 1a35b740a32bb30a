"""Paths as people write them: hints about names that are nearly right, and files that are none."""

import os
import unicodedata
from pathlib import Path

import pytest

from lopsided.common.paths import expanded, read_file, stand_in, why_missing

NFC = unicodedata.normalize("NFC", "Café.png")
NFD = unicodedata.normalize("NFD", "Café.png")


@pytest.mark.parametrize(("there", "wanted"), [(NFC, NFD), (NFD, NFC)])
def test_a_name_that_differs_only_in_unicode_normalisation_is_said_to_exist(
    tmp_path: Path, there: str, wanted: str
) -> None:
    (tmp_path / there).mkdir()
    (tmp_path / there / there).touch()
    assert why_missing(tmp_path / wanted / there).startswith(f" (there is {there!r}: names differ only in how Unicode")
    assert why_missing(tmp_path / there / wanted).startswith(f" (there is {there!r}: names differ only in how Unicode")


def test_hints_about_case_folders_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "A.png").touch()
    assert why_missing(tmp_path / "a.PNG") == " (there is 'A.png': names differ in case)"
    assert why_missing(tmp_path) == " (it is a folder)"
    assert why_missing(tmp_path / "b.png") == ""
    assert why_missing(tmp_path / "b" / "c.png") == ""


def test_only_ordinary_files_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        with pytest.raises(OSError, match="pipe or device"):
            read_file(path)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    (tmp_path / "file").write_bytes(b"four")
    assert read_file(str(tmp_path / "file"), 4) == b"four"
    with pytest.raises(OSError, match="it has 4 bytes, at most 3 are read"):
        read_file(tmp_path / "file", 3)


def test_home_folders_are_found_and_others_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x"
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_a_table_is_not_a_stand_in() -> None:
    assert stand_in(b"image,label\n") is None
