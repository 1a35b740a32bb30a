"""The cache of training pairs: right pixels, equal draws, and damage that is noticed."""

import json
from pathlib import Path

import numpy as np
import pytest

from lopsided.common.errors import ImageError
from lopsided.common.images import read_rgb, write_png
from lopsided.common.sources import FolderSource, ImageItem
from lopsided.sr.degradation import bicubic_resize
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.images import PairCache, pairs

SIZES = {"a": (70, 90), "b": (64, 64), "c": (83, 57)}


@pytest.fixture
def items(tmp_path: Path) -> list[ImageItem]:
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        write_png(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return FolderSource(folder=tmp_path / "images").items()


@pytest.fixture
def cache(items: list[ImageItem], tmp_path: Path) -> PairCache:
    return PairCache.build(items, 4, tmp_path / "cache")


def folder_of(cache: PairCache, tmp_path: Path) -> Path:
    return tmp_path / "cache" / f"pairs-{cache.identity}"


def find(patch: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    side = patch.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side, 3))[:, :, 0]
    return [(int(y), int(x)) for y, x in np.argwhere((windows == patch).all(axis=(2, 3, 4)))]


def test_whole_pairs_are_the_file_cut_to_a_multiple_of_the_scale_and_its_bicubic(items: list[ImageItem]) -> None:
    for item, pair in zip(items, pairs(items, 4), strict=True):
        height, width = SIZES[item.name]
        assert pair.name == item.name
        assert pair.original_size == (height, width)
        assert np.array_equal(pair.hr, read_rgb(item.path)[: height // 4 * 4, : width // 4 * 4])
        assert np.array_equal(pair.lr, bicubic_resize(pair.hr, 1 / 4))


def test_a_test_image_below_the_scale_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "tiny.png", np.zeros((3, 9, 3), np.uint8))
    with pytest.raises(ImageError, match=r"tiny.png.*9×3.*×4"):
        list(pairs(FolderSource(folder=tmp_path).items(), 4))


def test_crops_are_matching_windows_of_one_image(cache: PairCache, items: list[ImageItem]) -> None:
    whole = {pair.name: pair for pair in pairs(items, 4)}
    lr, hr = cache.crop(np.random.default_rng(1), lr_patch=6, batch=12, augment=False)
    assert lr.shape == (12, 6, 6, 3)
    assert hr.shape == (12, 24, 24, 3)
    assert lr.dtype == hr.dtype == np.uint8
    for low, high in zip(lr, hr, strict=True):
        places = [(name, place) for name, pair in whole.items() for place in find(low, pair.lr)]
        assert len(places) == 1
        name, (y, x) = places[0]
        assert np.array_equal(high, whole[name].hr[4 * y : 4 * y + 24, 4 * x : 4 * x + 24])


def test_augmentation_turns_both_alike_in_all_eight_ways_and_moves_no_crop(cache: PairCache) -> None:
    plain_lr, plain_hr = cache.crop(np.random.default_rng(2), 6, 100, augment=False)
    lr, hr = cache.crop(np.random.default_rng(2), 6, 100)
    turns = [lambda p, k=k, f=f: np.rot90(p, k)[:, :: -1 if f else 1] for f in (0, 1) for k in range(4)]
    seen = []
    for index in range(100):
        of_lr = [k for k, turn in enumerate(turns) if np.array_equal(turn(plain_lr[index]), lr[index])]
        of_hr = [k for k, turn in enumerate(turns) if np.array_equal(turn(plain_hr[index]), hr[index])]
        assert len(of_lr) == 1
        assert of_lr == of_hr
        seen += of_lr
    assert set(seen) == set(range(8))


def test_draws_depend_on_the_generator_alone(cache: PairCache, items: list[ImageItem], tmp_path: Path) -> None:
    again = PairCache.build(items, 4, tmp_path / "elsewhere")
    first = cache.crop(np.random.default_rng(5), 8, 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again.crop(np.random.default_rng(5), 8, 4), strict=True))
    other = cache.crop(np.random.default_rng(6), 8, 4)
    assert not np.array_equal(first[0], other[0])
    first[0][:] = 0  # a batch is the caller's own: writing to it must not reach the files
    assert cache.crop(np.random.default_rng(5), 8, 4)[0].any()


def test_images_are_drawn_uniformly_whatever_their_size(tmp_path: Path) -> None:
    for value, side in ((10, 16), (20, 160)):
        write_png(tmp_path / f"{value}.png", np.full((side, side, 3), value, np.uint8))
    cache = PairCache.build(FolderSource(folder=tmp_path).items(), 2, tmp_path / "cache")
    lr, _ = cache.crop(np.random.default_rng(0), 8, 2000)
    assert (lr[:, 0, 0, 0] == 10).mean() == pytest.approx(0.5, abs=0.05)


def test_a_whole_cache_is_reused(cache: PairCache, items: list[ImageItem], tmp_path: Path) -> None:
    files = sorted(folder_of(cache, tmp_path).iterdir())
    assert [file.name for file in files] == ["hr.u8", "index.json", "lr.u8"]
    before = [file.stat().st_mtime_ns for file in files]
    PairCache.build(items, 4, tmp_path / "cache")
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.parametrize("file", ["hr.u8", "lr.u8", "index.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_a_damaged_cache_is_rewritten(
    cache: PairCache, items: list[ImageItem], tmp_path: Path, file: str, damage: str
) -> None:
    expected = cache.crop(np.random.default_rng(3), 6, 20)
    path = folder_of(cache, tmp_path) / file
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(data[:-100])
    else:
        data[len(data) // 2] ^= 0x55
        path.write_bytes(data)
    again = PairCache.build(items, 4, tmp_path / "cache").crop(np.random.default_rng(3), 6, 20)
    assert all(np.array_equal(a, b) for a, b in zip(expected, again, strict=True))


def test_sizes_are_checked_even_without_hashing(cache: PairCache, items: list[ImageItem], tmp_path: Path) -> None:
    path = folder_of(cache, tmp_path) / "hr.u8"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    PairCache.build(items, 4, tmp_path / "cache", verify=False)
    assert path.stat().st_size == size


def test_an_interrupted_build_leaves_no_cache(items: list[ImageItem], tmp_path: Path) -> None:
    data = items[-1].path.read_bytes()
    items[-1].path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=items[-1].path.name):
        PairCache.build(items, 4, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_identity_follows_content_and_scale(cache: PairCache, items: list[ImageItem], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    assert PairCache.build(items, 2, folder).identity != cache.identity
    assert PairCache.build(items[:2], 4, folder).identity != cache.identity
    write_png(items[0].path, np.zeros((64, 64, 3), np.uint8))
    changed = PairCache.build(FolderSource(folder=items[0].path.parent).items(), 4, folder)
    assert changed.identity != cache.identity
    assert json.loads((folder_of(changed, tmp_path) / "index.json").read_text())["images"][0]["lr_size"] == [16, 16]


def test_an_image_smaller_than_the_crop_is_named_before_training(items: list[ImageItem], tmp_path: Path) -> None:
    message = r"'c' has 57×83 pixels, too few for crops of 60×60; crop at most 56"
    with pytest.raises(SuperResolutionError, match=message):
        PairCache.build(items, 4, tmp_path, lr_patch=15)
    cache = PairCache.build(items, 4, tmp_path, lr_patch=14)
    assert cache.crop(np.random.default_rng(0), 14, 50)[1].shape == (50, 56, 56, 3)
    with pytest.raises(SuperResolutionError, match=message):
        cache.crop(np.random.default_rng(0), 15, 1)


def test_nothing_to_train_on_is_an_error(items: list[ImageItem], tmp_path: Path) -> None:
    with pytest.raises(SuperResolutionError, match="no training images"):
        PairCache.build([], 4, tmp_path)
    with pytest.raises(SuperResolutionError, match="Scale 0"):
        PairCache.build(items, 0, tmp_path)
    with pytest.raises(SuperResolutionError, match="empty"):
        PairCache.build(items, 4, tmp_path, lr_patch=0)
