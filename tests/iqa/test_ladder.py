"""The ladder of distortions: worse at every level, the same every time, whole or absent."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import features
from pydantic import ValidationError
from scipy import ndimage

from lopsided.common.errors import ImageError, SourceError
from lopsided.common.images import read_rgb, write_png
from lopsided.common.sources import SkimageSource
from lopsided.iqa import ladder
from lopsided.iqa.ladder import DISTORTIONS, LEVELS, LadderSpec, build_ladder, distort
from lopsided.iqa.manifest import FRDataset

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Colour, grey, dark."""
    items = {item.name: item.path for item in SkimageSource(split="test").items()}
    return [read_rgb(items[name])[100:228, 150:278] for name in ("chelsea", "camera", "rocket")]


@pytest.fixture
def spec(tmp_path: Path, photographs: list[np.ndarray]) -> LadderSpec:
    for name, image in zip("ab", photographs, strict=False):
        write_png(tmp_path / "photographs" / f"{name}.png", image)
    source = {"folder": tmp_path / "photographs"}
    return LadderSpec.model_validate({"source": source, "size": 64, "types": ["jpeg", "gaussian_noise"]})


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_each_level_is_further_from_the_reference(kind: str, photographs: list[np.ndarray]) -> None:
    for image in photographs:
        errors = [0.0]
        for level in LEVELS:
            distorted = distort(image, kind, level, RNG(level))
            assert distorted.shape == image.shape
            assert distorted.dtype == np.uint8
            errors.append(np.sqrt(np.mean((distorted.astype(float) - image) ** 2)))
        assert (np.diff(errors) > 0).all(), errors


def test_there_are_enough_kinds_and_levels() -> None:
    assert len(DISTORTIONS) >= 8
    assert LEVELS == (1, 2, 3, 4, 5)


def test_settings_mean_what_they_say() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    assert np.std(distort(flat, "gaussian_noise", 3, RNG(0)).astype(float)) == pytest.approx(21, rel=0.02)
    noisy = distort(flat, "impulse_noise", 5, RNG(0))
    assert (noisy == 0).mean() == pytest.approx(0.07, abs=0.005)
    assert (noisy == 255).mean() == pytest.approx(0.07, abs=0.005)
    assert (distort(flat, "brightness", 2, RNG(0)) == 92).all()
    assert (distort(flat - 40, "brightness", 2, RNG(0)) == 124).all()
    cast = distort(flat, "colour_cast", 5, RNG(0))[0, 0]
    assert cast @ (0.299, 0.587, 0.114) == pytest.approx(128, abs=1)
    assert cast[0] > 128 > cast[2]
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    spread = distort(dot, "gaussian_blur", 2, RNG(0))[:, :, 0].astype(float)
    assert ndimage.center_of_mass(spread) == pytest.approx((20, 20))
    assert spread.max() == pytest.approx(255 / (2 * np.pi * 1.3**2), rel=0.05)
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert len(np.unique(distort(ramp, "quantisation", 5, RNG(0)))) == 5
    lowered = distort(ramp, "low_contrast", 2, RNG(0)).astype(float)
    assert np.ptp(lowered) == pytest.approx(0.64 * 255, abs=1)
    assert lowered.mean() == pytest.approx(ramp.mean(), abs=0.5)


def test_the_manifest_lists_every_image_once_with_its_severity_grade(spec: LadderSpec, tmp_path: Path) -> None:
    manifest = build_ladder(spec, tmp_path / "out")
    data = FRDataset(manifest)
    assert (data.label_kind, data.label_higher_is_better) == ("severity_grade", False)
    assert "mos" not in manifest.read_text().lower()
    seen = {(row.reference_path.stem, row.distortion, row.level) for row in data.rows}
    assert seen == {(r, t, k) for r in "ab" for t in ("jpeg", "gaussian_noise") for k in LEVELS}
    assert len(data) == 20
    assert all(row.label == row.level for row in data.rows)
    original = read_rgb(tmp_path / "photographs" / "a.png")
    assert np.array_equal(read_rgb(data.rows[0].reference_path), original[32:96, 32:96])


def test_two_builds_are_equal_byte_for_byte(spec: LadderSpec, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "photographs", tmp_path / "moved")
    moved = spec.model_validate({**spec.model_dump(), "source": {"folder": tmp_path / "moved"}})
    one, two = build_ladder(spec, tmp_path / "one"), build_ladder(moved, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()  # it holds the hash of every image
    assert FRDataset(one).identity == FRDataset(two).identity
    assert one.parent.name == two.parent.name


def test_noise_differs_between_references_and_levels(spec: LadderSpec, tmp_path: Path) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    for name in "ab":
        write_png(tmp_path / "photographs" / f"{name}.png", flat)
    flat[0, 0] = 129
    write_png(tmp_path / "photographs" / "b.png", flat)
    rows = FRDataset(build_ladder(spec, tmp_path / "out")).rows
    noise = {
        (row.reference, row.level): read_rgb(row.image_path)[1:].astype(float).ravel() - 128
        for row in rows
        if row.distortion == "gaussian_noise"
    }
    fields = [noise["references/a.png", 1], noise["references/a.png", 2], noise["references/b.png", 1]]
    assert np.abs(np.corrcoef(fields) - np.eye(3)).max() < 0.05


def test_a_whole_ladder_is_reused(spec: LadderSpec, tmp_path: Path) -> None:
    manifest = build_ladder(spec, tmp_path / "out")
    files = [path for path in manifest.parent.rglob("*") if path.is_file()]
    before = [path.stat().st_mtime_ns for path in files]
    assert build_ladder(spec, tmp_path / "out") == manifest
    assert [path.stat().st_mtime_ns for path in files] == before


@pytest.mark.parametrize("victim", ["images/a_jpeg_3.png", "references/b.png", "manifest.csv", "ladder.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_ladder_is_made_anew(spec: LadderSpec, tmp_path: Path, victim: str, damage: str) -> None:
    manifest = build_ladder(spec, tmp_path / "out")
    path = manifest.parent / victim
    original = path.read_bytes()
    path.unlink()
    if damage == "truncate":
        path.write_bytes(original[: len(original) * 2 // 3])
    assert build_ladder(spec, tmp_path / "out") == manifest
    assert path.read_bytes() == original
    assert list((tmp_path / "out").iterdir()) == [manifest.parent]


def test_a_manifest_that_lost_whole_rows_is_noticed(spec: LadderSpec, tmp_path: Path) -> None:
    manifest = build_ladder(spec, tmp_path / "out")
    original = manifest.read_text()
    manifest.write_text("".join(original.splitlines(keepends=True)[:-3]))
    assert build_ladder(spec, tmp_path / "out").read_text() == original


def test_a_ladder_that_another_process_finished_first_is_taken(
    spec: LadderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = build_ladder(spec, tmp_path / "out")
    before = manifest.stat().st_ino
    answers = iter([False, True, True])  # not there at the start, there at the end
    monkeypatch.setattr(ladder, "_whole", lambda root: next(answers))
    assert build_ladder(spec, tmp_path / "out") == manifest
    assert manifest.stat().st_ino == before
    assert list((tmp_path / "out").iterdir()) == [manifest.parent]


def test_an_interrupted_build_leaves_nothing(spec: LadderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, image: np.ndarray) -> None:
        if path.name == "b_jpeg_2.png":
            raise KeyboardInterrupt
        write_png(path, image)

    monkeypatch.setattr(ladder, "write_png", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_ladder(spec, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_identity_follows_recipe_content_and_codecs(
    spec: LadderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spec.identity
    assert spec.model_copy(update={"size": 48}).identity != first
    assert spec.model_copy(update={"levels": (1, 5)}).identity != first
    assert spec.model_copy(update={"types": ("jpeg",)}).identity != first
    with monkeypatch.context() as patch:
        patch.setattr(features, "version_codec", lambda codec: "another")
        assert spec.identity != first
    with monkeypatch.context() as patch:
        patch.setattr(ladder, "RECIPE", 0)
        assert spec.identity != first
    assert spec.identity == first
    write_png(tmp_path / "photographs" / "a.png", np.zeros((128, 128, 3), np.uint8))
    assert spec.identity != first


def test_whole_photographs_can_be_asked_for(spec: LadderSpec, tmp_path: Path) -> None:
    rows = FRDataset(build_ladder(spec.model_copy(update={"size": None}), tmp_path / "out")).rows
    assert read_rgb(rows[0].image_path).shape == (128, 128, 3)


def test_unusable_references_are_named(spec: LadderSpec, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.png: 128×128 pixels, smaller than the ladder's size 129"):
        build_ladder(spec.model_copy(update={"size": 129}), tmp_path / "out")
    path = tmp_path / "photographs" / "a.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ImageError, match=r"a\.png"):
        build_ladder(spec, tmp_path / "out")
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_a_missing_codec_is_named(photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check_codec", lambda codec: False)
    with pytest.raises(SourceError, match="leave 'jpeg2000' out"):
        distort(photographs[0], "jpeg2000", 1, RNG(0))


@pytest.mark.parametrize(
    ("field", "value", "seen"),
    [
        ("types", ["jpg"], "unknown distortion 'jpg'; did you mean 'jpeg'"),
        ("types", ["jpeg", "jpeg"], "'jpeg' is listed more than once"),
        ("types", [], "at least 1"),
        ("levels", [0], "unknown level 0"),
        ("levels", [1, 1], "1 is listed more than once"),
        ("size", 4, "greater than or equal to 32"),
        ("sise", 64, "Extra inputs"),
    ],
)
def test_a_bad_spec_is_refused(field: str, value: object, seen: str) -> None:
    with pytest.raises(ValidationError, match=seen):
        LadderSpec.model_validate({"source": {"source": "skimage", "split": "test"}, field: value})
