"""Where images come from: fixed splits, folders, manifests, and what each refuses."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from lopsided.common import sources
from lopsided.common.errors import SourceError
from lopsided.common.images import read_rgb, write_png
from lopsided.common.sources import FolderSource, ManifestSource, SkimageSource, overlap, parse_source


def image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path.with_name("new.png"), np.full((4, 4, 3), value, np.uint8))
    return path.with_name("new.png").replace(path)


def test_skimage_splits_are_disjoint_photographs_of_useful_size() -> None:
    train, test = SkimageSource(split="train").items(), SkimageSource(split="test").items()
    assert len(train) >= 7
    assert len(test) >= 6
    assert SkimageSource(split="all").items() == train + test
    assert overlap(train, test) == []
    assert len({item.name for item in train + test}) == len(train) + len(test)
    assert all(min(read_rgb(item.path).shape[:2]) >= 300 for item in train + test)
    colour = [item for item in test if np.ptp(read_rgb(item.path), axis=2).max() > 0]
    assert len(colour) >= len(test) - 1


def test_photographs_for_assessment_are_no_others() -> None:
    assess, others = SkimageSource(split="assess").items(), SkimageSource(split="all").items()
    assert len(assess) >= 5
    assert not {item.sha256 for item in assess} & {item.sha256 for item in others}
    assert all(min(read_rgb(item.path).shape[:2]) >= 96 for item in assess)  # the ladder's size in shipped experiments


def test_the_two_views_of_the_stereo_pair_never_meet() -> None:
    assert sum("motorcycle" in item.name for item in SkimageSource(split="all").items()) == 1


def test_altered_or_absent_skimage_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for item in SkimageSource(split="test").items():
        shutil.copy(item.path, tmp_path)
    monkeypatch.setattr(sources, "_skimage_folder", lambda: tmp_path)
    assert SkimageSource(split="test").items()
    image(tmp_path / "coffee.png")
    with pytest.raises(SourceError, match=r"coffee\.png: sha256 is .* expected cc02f8ca"):
        SkimageSource(split="test").items()
    (tmp_path / "coffee.png").unlink()
    with pytest.raises(SourceError, match=r"coffee\.png.*install scikit-image"):
        SkimageSource(split="test").items()


def test_absent_scikit_image_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"lopsided\[study\]"):
        SkimageSource(split="test").items()


def test_folders_are_listed_in_natural_order_without_other_files(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.PNG", "IMG1.jpeg", ".hidden.png", "sub/deep.png"):
        image(tmp_path / name, len(name))
    (tmp_path / "notes.txt").touch()
    items = FolderSource(folder=tmp_path).items()
    assert [item.name for item in items] == ["IMG1", "img2", "img10"]
    assert items[0].sha256 == hashlib.sha256(items[0].path.read_bytes()).hexdigest()


def test_patterns_select_and_descend(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp", "sub/c.png", "sub/.cache/d.png"):
        image(tmp_path / name)
    assert [item.name for item in FolderSource(folder=tmp_path, pattern="*.png").items()] == ["a"]
    assert [item.name for item in FolderSource(folder=tmp_path, pattern="**/*.png").items()] == ["a", "c"]


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none: does not exist"):
        FolderSource(folder=tmp_path / "none").items()
    with pytest.raises(SourceError, match=r"one\.png: is a file"):
        FolderSource(folder=image(tmp_path / "one.png")).items()
    with pytest.raises(SourceError, match=r"no file matches '\*\.jpg'"):
        FolderSource(folder=tmp_path, pattern="*.jpg").items()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"empty: no file ends in \.png"):
        FolderSource(folder=tmp_path / "empty").items()
    image(tmp_path / "one.jpg")
    with pytest.raises(SourceError, match=r"one\.jpg and .*one\.png are both named 'one'"):
        FolderSource(folder=tmp_path).items()
    for pattern in ("/etc/*.png", ""):
        with pytest.raises(ValidationError, match="relative to the folder"):
            FolderSource(folder=tmp_path, pattern=pattern)


def manifest(folder: Path, text: str, encoding: str = "utf-8") -> ManifestSource:
    (folder / "list.csv").write_text(text, encoding=encoding)
    return ManifestSource(manifest=folder / "list.csv")


def test_manifests_keep_their_order_and_check_hashes(tmp_path: Path) -> None:
    b, a = image(tmp_path / "x" / "b.png", 1), image(tmp_path / "a.png", 2)
    digest = hashlib.sha256(b.read_bytes()).hexdigest()
    source = manifest(tmp_path, f"image,sha256,note\r\nx/b.png,{digest.upper()},hello\r\n\r\na.png,,\r\n", "utf-8-sig")
    assert [(item.name, item.path) for item in source.items()] == [("b", b), ("a", a)]
    image(b, 3)
    with pytest.raises(SourceError, match=rf"list\.csv, line 2: x/b\.png: sha256 is .*, expected {digest}"):
        source.items()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("file\na.png\n", r"no column 'image' \(columns seen: file\)"),
        ("image;sha256\na.png;\n", "separated by semicolons"),
        ("image\n", "lists no images"),
        ("", "lists no images"),
        ("image\nb.png\n", r"line 2: no such file: 'b\.png'"),
        ("image,note\na.png\n", "line 2: 1 cells, but the header has 2"),
        ("image,image\na.png,a.png\n", "'image' appears more than once"),
        ("image\na.png\na.png\n", "both named 'a'"),
        ('image\n"a.png\n', "not valid CSV"),
    ],
)
def test_bad_manifests_say_what_is_wrong(tmp_path: Path, text: str, seen: str) -> None:
    image(tmp_path / "a.png")
    with pytest.raises(SourceError, match=rf"list\.csv.*{seen}"):
        manifest(tmp_path, text).items()


def test_unreadable_manifests_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.csv.*cannot be read"):
        ManifestSource(manifest=tmp_path / "none.csv").items()
    with pytest.raises(SourceError, match="not UTF-8"):
        manifest(tmp_path, "image\nbild_ä.png\n", "latin-1").items()


def test_identity_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    for name in ("here", "there"):
        image(tmp_path / name / "a.png", 1)
        image(tmp_path / name / "b.png", 2)
    here, there = FolderSource(folder=tmp_path / "here"), FolderSource(folder=tmp_path / "there")
    first = here.identity(here.items())
    assert there.identity(there.items()) == first
    assert there.identity(there.items()[:1]) != first
    image(tmp_path / "there" / "b.png", 3)
    assert there.identity(there.items()) != first


def test_hashes_are_remembered_only_while_the_file_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(tmp_path / "a.png", 1)
    calls = []
    original = sources.sha256_file
    monkeypatch.setattr(sources, "sha256_file", lambda file: calls.append(file) or original(file))
    first = sources.hash_file(path)
    assert sources.hash_file(path) == first
    assert len(calls) == 1
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    assert sources.hash_file(path) != first


def test_overlap_finds_equal_files_under_other_names(tmp_path: Path) -> None:
    image(tmp_path / "train" / "a.png", 1)
    image(tmp_path / "train" / "b.png", 2)
    image(tmp_path / "test" / "z.png", 2)
    train, test = (FolderSource(folder=tmp_path / name).items() for name in ("train", "test"))
    assert [(one.name, other.name) for one, other in overlap(train, test)] == [("b", "z")]


def test_yaml_mappings_choose_their_source(tmp_path: Path) -> None:
    class Spec(BaseModel):
        train: sources.ImageSource

    assert Spec.model_validate({"train": {"source": "skimage", "split": "train"}}).train == SkimageSource(split="train")
    assert isinstance(parse_source({"folder": str(tmp_path), "pattern": "*.png"}), FolderSource)
    assert isinstance(parse_source({"manifest": "list.csv"}), ManifestSource)
    spec = Spec(train=FolderSource(folder=tmp_path))
    assert Spec.model_validate(spec.model_dump()) == spec
    assert hash(spec.train) == hash(FolderSource(folder=tmp_path))


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ({"source": "skimage", "split": "tset"}, r"unknown split 'tset'; did you mean 'test'\?"),
        ({"source": "skimage", "split": ["train"]}, "unknown split"),
        ({"source": "skimage"}, r"\(split\): Field required"),
        ({"source": "imagenet", "split": "test"}, r"\(source\).*'skimage'"),
        ({"folder": "x", "patern": "*"}, r"\(patern\): Extra inputs"),
        ({"folder": "x", "manifest": "y"}, "exactly one of"),
        ({}, "exactly one of"),
        ("skimage", "exactly one of"),
    ],
)
def test_what_names_no_source_is_refused(value: object, seen: str) -> None:
    with pytest.raises(SourceError, match=seen):
        parse_source(value)
