import numpy as np

from lopsided.experiments.results.gallery import CROP, _box, _windows


def test_crops_are_neither_flat_nor_the_busiest_texture():
    """A flat left part, edges in the middle, noise at the right: the windows lie on the edges."""
    image = np.full((64, 640, 3), 128, np.uint8)
    image[:, 128:576:16] = 30
    image[:, 576:] = np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    lefts = [_box(window)[1] for window in _windows(image)]
    assert lefts
    assert min(lefts) > 128 - CROP
    assert max(lefts) < 576
    assert all(_box(window)[2:] == (CROP, CROP) for window in _windows(image))


def test_a_small_image_is_one_window():
    image = np.zeros((40, 50, 3), np.uint8)
    assert [_box(window) for window in _windows(image)] == [(0, 0, 40, 50)]
