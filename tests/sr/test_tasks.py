"""Tasks: what their degradations draw, that they are pure functions of seeds, and their crops and test images."""

import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from lopsided.common.identity import identity
from lopsided.common.images import write_png
from lopsided.common.sources import FolderSource, ImageItem
from lopsided.sr import real_world
from lopsided.sr.degradation import DEGRADATION
from lopsided.sr.images import PairCache, pairs
from lopsided.sr.real_world import Pass, RealWorld, SecondPass
from lopsided.sr.tasks import Bicubic, Deblurring, Degradation, Denoising, Jpeg

Model = TypeVar("Model", bound=BaseModel)


def made(kind: type[Model], **options: Any) -> Model:
    return kind.model_validate(options)


TASKS = [
    Bicubic(),
    RealWorld(),
    made(RealWorld, order=1),
    Denoising(),
    made(Denoising, sigma=(0, 50)),
    Jpeg(),
    made(Jpeg, quality=(10, 40), subsampling=444),
    Deblurring(),
    made(Deblurring, blur="motion", noise=2),
]
RANDOM = [task for task in TASKS if task.random]


def name(task: Degradation) -> str:
    return "-".join(map(str, [task.name(), *task.model_dump(exclude_defaults=True).values()]))


over_tasks = pytest.mark.parametrize("task", TASKS, ids=name)
over_random_tasks = pytest.mark.parametrize("task", RANDOM, ids=name)


def photograph(height: int, width: int, phase: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 3 + k + phase) * np.cos(y / (4 + k)) + 0.4 * ((x // 11 + y // 9) % 2) for k in range(3)]
    image = np.stack(channels, axis=-1)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[ImageItem]:
    folder = tmp_path_factory.mktemp("images")
    for index, (height, width) in enumerate([(120, 164), (96, 97), (132, 80)]):
        write_png(folder / f"{index}.png", photograph(height, width, index))
    return FolderSource(folder=folder).items()


def cache(items: list[ImageItem], task: Degradation, folder: Path) -> PairCache:
    return PairCache.build(items, task.scales[-1], folder, task=task)


# --- one image ------------------------------------------------------------------------------------------------------


@over_tasks
@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), seed=st.integers(0, 2**40), level=st.integers(0, 255))
def test_images_of_any_size_and_colour_keep_kind_and_size_over_scale(
    task: Degradation, height: int, width: int, seed: int, level: int
) -> None:
    for scale in {task.scales[0], task.scales[-1]}:
        hr = (
            photograph(height * scale, width * scale)
            if level % 2
            else np.full((height * scale, width * scale, 3), level, np.uint8)
        )
        before = hr.copy()
        lr = task.degrade(hr, scale, np.random.default_rng(seed))
        assert lr.shape == (height, width, 3)
        assert lr.dtype == np.uint8
        assert np.array_equal(hr, before)


@over_random_tasks
def test_the_generator_alone_decides(task: Degradation) -> None:
    hr = photograph(128, 96)
    globals_before = (torch.get_rng_state(), str(np.random.get_state()), random.getstate())  # noqa: NPY002
    first = [task.degrade(hr, task.scales[-1], np.random.default_rng(seed)) for seed in range(4)]
    assert torch.equal(torch.get_rng_state(), globals_before[0])
    assert (str(np.random.get_state()), random.getstate()) == globals_before[1:]  # noqa: NPY002
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = [task.degrade(hr, task.scales[-1], np.random.default_rng(seed)) for seed in range(4)]
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    fixed = name(task) in ("jpeg", "deblurring")  # one quality, one kernel, no noise
    assert np.array_equal(first[0], first[1]) == fixed


def test_denoising_adds_noise_of_its_deviation_clamped_and_rounded() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = made(Denoising, sigma=25).degrade(grey, 1, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(25, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    black = made(Denoising, sigma=25).degrade(np.zeros_like(grey), 1, np.random.default_rng(0))
    assert black.mean() == pytest.approx(25 / np.sqrt(2 * np.pi), rel=0.02)  # the mean of a clamped normal variable


def test_a_range_of_sigmas_is_drawn_uniformly() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    task, rng = made(Denoising, sigma=(5, 20)), np.random.default_rng(0)
    sigmas = np.array([(task.degrade(grey, 1, rng).astype(float) - 128).std() for _ in range(300)])
    assert sigmas.min() == pytest.approx(5, abs=0.5)
    assert sigmas.max() == pytest.approx(20, abs=0.5)
    assert np.mean(sigmas) == pytest.approx(12.5, abs=1.0)


def test_both_ends_of_a_range_of_qualities_occur() -> None:
    hr = photograph(32, 32)
    by_quality = {made(Jpeg, quality=q).degrade(hr, 1, np.random.default_rng(0)).tobytes() for q in (10, 11, 12)}
    rng = np.random.default_rng(0)
    assert {made(Jpeg, quality=(10, 12)).degrade(hr, 1, rng).tobytes() for _ in range(40)} == by_quality


def test_a_blurred_image_keeps_its_mean_and_loses_its_edges() -> None:
    hr = photograph(96, 96)
    for task in (Deblurring(), made(Deblurring, blur="motion", length=15)):
        lr = task.degrade(hr, 1, np.random.default_rng(0)).astype(float)
        assert lr.mean() == pytest.approx(hr.mean(), abs=2)
        assert np.abs(np.diff(lr, axis=0)).mean() < 0.8 * np.abs(np.diff(hr.astype(float), axis=0)).mean()


# --- the recipe of Real-ESRGAN --------------------------------------------------------------------------------------


def test_defaults_are_the_published_numbers() -> None:
    """Those of options/train_realesrgan_x4plus.yml and of basicsr's RealESRGANDataset."""
    first, second, task = Pass(), SecondPass(), RealWorld()
    for settings_of, sigma, noise, poisson in ((first, 3, 30, 3), (second, 1.5, 25, 2.5)):
        assert settings_of.kernels.model_dump() == {
            "isotropic": 0.45,
            "anisotropic": 0.25,
            "generalised_isotropic": 0.12,
            "generalised_anisotropic": 0.03,
            "plateau_isotropic": 0.12,
            "plateau_anisotropic": 0.03,
        }
        assert (settings_of.sinc, settings_of.sigma, settings_of.kernel_size) == (0.1, (0.2, sigma), (7, 21))
        assert (settings_of.generalised_shape, settings_of.plateau_shape) == ((0.5, 4), (1, 2))
        assert (settings_of.gaussian, settings_of.noise_sigma) == (0.5, (1, noise))
        assert (settings_of.grey, settings_of.poisson_scale) == (0.4, (0.05, poisson))
        assert settings_of.jpeg_quality == (30, 95)
    assert first.resize.model_dump() == {"up": 0.2, "down": 0.7, "keep": 0.1}
    assert second.resize.model_dump() == {"up": 0.3, "down": 0.4, "keep": 0.3}
    assert (first.resize_factor, second.resize_factor) == ((0.15, 1.5), (0.3, 1.2))
    assert (first.blur, second.blur, task.final_sinc) == (1, 0.8, 0.8)
    assert not task.sharpen_target
    assert SecondPass.model_validate({"resize": {"up": 1}}).resize.model_dump() == {"up": 1, "down": 0.4, "keep": 0.3}


class Recorder:
    """Writes down the calls of the steps, which do their work all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any]] = []
        for step in (
            "gaussian_kernel",
            "plateau_kernel",
            "sinc_kernel",
            "filter_image",
            "gaussian_noise",
            "poisson_noise",
            "resize",
            "jpeg",
        ):
            monkeypatch.setattr(real_world, step, self._recorded(step, getattr(real_world, step)))

    def _recorded(self, step: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((step, (args, options)))
            return function(*args, **options)

        return call

    def run(self, task: RealWorld, draws: int) -> list[list[tuple[str, Any]]]:
        hr, rng, runs = photograph(32, 40), np.random.default_rng(3), []
        for _ in range(draws):
            self.calls = []
            task.degrade(hr, 4, rng)
            runs.append(self.calls)
        return runs


def about(count: int, total: int, probability: float) -> None:
    deviation = np.sqrt(total * probability * (1 - probability))
    assert abs(count - total * probability) <= 4 * deviation, (count, total, probability)


def test_second_order_draws_every_step_as_often_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Recorder(monkeypatch).run(RealWorld(), 400)
    n = len(runs)
    noises = [[(step, call) for step, call in run if step.endswith("noise")] for run in runs]
    jpegs = [[call[0][1] for step, call in run if step == "jpeg"] for run in runs]
    assert {len(noise) for noise in noises} == {len(qualities) for qualities in jpegs} == {2}
    for index, (sigma, poisson) in enumerate([((1, 30), (0.05, 3)), ((1, 25), (0.05, 2.5))]):
        steps = [noise[index] for noise in noises]
        about(sum(step == "gaussian_noise" for step, _ in steps), n, 0.5)
        about(sum(call[1]["grey"] for _, call in steps), n, 0.4)
        for kind, (low, high) in (("gaussian_noise", sigma), ("poisson_noise", poisson)):
            strengths = np.array([call[0][1] for step, call in steps if step == kind])
            assert low <= strengths.min() < low + 0.06 * (high - low)
            assert high - 0.06 * (high - low) < strengths.max() <= high
            assert strengths.mean() == pytest.approx((low + high) / 2, rel=0.15)
        qualities = [pair[index] for pair in jpegs]
        assert 30 <= min(qualities) <= 32
        assert 93 <= max(qualities) <= 95
        assert np.mean(qualities) == pytest.approx(62.5, abs=3.8)
    filters = [sum(step == "filter_image" for step, _ in run) for run in runs]
    about(sum(filters) - n, 2 * n, 0.8)  # always in the first pass, with 0.8 in the second and at the end
    about(sum(run[-1][0] == "jpeg" for run in runs), n, 0.5)
    sizes = Counter(call[0][0] for run in runs for step, call in run if step.endswith("kernel"))
    assert set(sizes) == set(range(7, 22, 2))
    for count in sizes.values():
        about(count, sizes.total(), 1 / 8)
    modes = Counter(call[0][2] for run in runs for step, call in run if step == "resize")
    assert modes.total() == 3 * n
    for mode in ("area", "bilinear", "bicubic"):
        about(modes[mode], 3 * n, 1 / 3)


@pytest.mark.parametrize("settings_of", [Pass(), SecondPass()], ids=["first", "second"])
def test_kernels_are_drawn_as_often_and_as_wide_as_published(
    monkeypatch: pytest.MonkeyPatch, settings_of: Pass
) -> None:
    recorder, rng, n = Recorder(monkeypatch), np.random.default_rng(0), 4000
    for _ in range(n):
        settings_of.kernel(rng)
    kinds: Counter[str] = Counter()
    for step, (args, _) in recorder.calls:
        if step == "sinc_kernel":
            kinds[step] += 1
            size, cutoff = args
            assert np.pi / (3 if size < 13 else 5) <= cutoff <= np.pi
            continue
        _, sigma_x, sigma_y, angle, shape = args
        low, high = settings_of.sigma
        assert low <= sigma_x <= high
        assert sigma_y is None or low <= sigma_y <= high
        assert -np.pi <= angle <= np.pi
        form = "plateau" if step == "plateau_kernel" else "generalised" if shape != 1 else "gaussian"
        kinds[form + (" isotropic" if sigma_y is None else " anisotropic")] += 1
        kinds[f"{form} below 1"] += shape < 1
        assert (1 if form == "plateau" else 0.5) <= shape <= (2 if form == "plateau" else 4)
    assert kinds.pop("gaussian below 1") == kinds.pop("plateau below 1") == 0
    about(kinds.pop("generalised below 1"), int(0.9 * 0.15 * n), 0.5)
    shares = {"sinc_kernel": 0.1, "gaussian isotropic": 0.9 * 0.45, "gaussian anisotropic": 0.9 * 0.25}
    shares |= {f"{form} isotropic": 0.9 * 0.12 for form in ("generalised", "plateau")}
    shares |= {f"{form} anisotropic": 0.9 * 0.03 for form in ("generalised", "plateau")}
    assert kinds.keys() == shares.keys()
    for kind, share in shares.items():
        about(kinds[kind], n, share)


@pytest.mark.parametrize("settings_of", [Pass(), SecondPass()], ids=["first", "second"])
def test_resizing_goes_up_and_down_as_often_and_as_far_as_published(settings_of: Pass) -> None:
    rng = np.random.default_rng(0)
    factors = np.array([settings_of.factor(rng) for _ in range(4000)])
    about(int((factors > 1).sum()), 4000, settings_of.resize.up)
    about(int((factors < 1).sum()), 4000, settings_of.resize.down)
    low, high = settings_of.resize_factor
    assert factors.min() == pytest.approx(low, abs=0.01)
    assert factors.max() == pytest.approx(high, abs=0.01)


def test_first_order_is_blur_shrinking_noise_and_jpeg_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for run in Recorder(monkeypatch).run(made(RealWorld, order=1), 50):
        kernel, blur, shrink, noise, compression = [step for step, _ in run]
        assert kernel.endswith("kernel")
        assert (blur, shrink, compression) == ("filter_image", "resize", "jpeg")
        assert noise in ("gaussian_noise", "poisson_noise")


def test_a_sharpened_target_is_what_is_trained_towards_and_degraded(items: list[ImageItem], tmp_path: Path) -> None:
    sharpened = cache(items, made(RealWorld, sharpen_target=True), tmp_path)
    plain = cache(items, RealWorld(), tmp_path)
    hr = plain.crop(np.random.default_rng(0), 16, 4)[1].astype(float)
    sharp = sharpened.crop(np.random.default_rng(0), 16, 4)[1].astype(float)
    assert sharp.std() > 1.02 * hr.std()
    task = made(RealWorld, sharpen_target=True)  # what is judged is the photograph as it is
    assert all(np.array_equal(a.hr, b.hr) for a, b in zip(pairs(items, 4, task=task), pairs(items, 4), strict=True))


# --- crops ----------------------------------------------------------------------------------------------------------


@over_random_tasks
def test_tasks_see_the_same_hr_crops_and_share_one_cache(
    items: list[ImageItem], tmp_path: Path, task: Degradation
) -> None:
    scale = task.scales[-1]
    plain = PairCache.build(items, scale, tmp_path)
    ours = cache(items, task, tmp_path)
    assert ours.identity == cache(items, Denoising() if scale == 1 else RealWorld(), tmp_path).identity
    assert [file.name for file in sorted((tmp_path / f"pairs-{ours.identity}").iterdir())] == ["hr.u8", "index.json"]
    for augment in (True, False):
        lr, hr = ours.crop(np.random.default_rng(4), 48 // scale, 6, augment=augment)
        assert lr.shape == (6, 48 // scale, 48 // scale, 3)
        assert lr.dtype == hr.dtype == np.uint8
        assert np.array_equal(hr, plain.crop(np.random.default_rng(4), 48 // scale, 6, augment=augment)[1])


@pytest.mark.parametrize("task", [Jpeg(), made(Jpeg, quality=60), Deblurring(), made(Deblurring, sigma=0.5)], ids=name)
def test_a_crop_is_one_of_a_whole_degraded_image(items: list[ImageItem], tmp_path: Path, task: Degradation) -> None:
    whole = []
    for pair in pairs(items, 1):
        for flip in (1, -1):
            for turn in range(4):
                image = np.ascontiguousarray(np.rot90(pair.hr, turn)[:, ::flip])
                whole.append((image, task.degrade(image, 1, np.random.default_rng(0)).astype(int)))
    lr, hr = cache(items, task, tmp_path).crop(np.random.default_rng(1), 32, 40)
    for low, high in zip(lr, hr, strict=True):
        best = 255
        for image, degraded in whole:
            windows = np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0]
            rows, columns = np.nonzero((windows[:, :, 0, 0] == high[0, 0]).all(-1))
            for y, x in zip(rows, columns, strict=True):
                if np.array_equal(image[y : y + 32, x : x + 32], high):
                    best = min(best, np.abs(degraded[y : y + 32, x : x + 32] - low).max())
        # Filtering by FFT rounds differently in windows of different size: at most a level where a half is rounded.
        assert best <= (0 if isinstance(task, Jpeg) else 1)


def test_jpeg_blocks_lie_anywhere_in_crops(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", photograph(200, 200))
    crops, _ = PairCache.build(FolderSource(folder=tmp_path).items(), 1, tmp_path, task=made(Jpeg, quality=3)).crop(
        np.random.default_rng(0), 40, 200
    )
    steps = np.abs(np.diff(crops.astype(int), axis=2)).mean((1, 3))  # (crop, column): largest where blocks meet
    phases = [max(range(8), key=lambda p, s=step: s[p::8].mean()) for step in steps]
    assert set(phases) == set(range(8))


@over_random_tasks
def test_draws_are_equal_from_any_thread(items: list[ImageItem], tmp_path: Path, task: Degradation) -> None:
    crops = cache(items, task, tmp_path)
    side = 40 // task.scales[-1]
    serial = [crops.crop(np.random.default_rng(seed), side, 3) for seed in range(8)]
    found: dict[int, Any] = {}

    def work(seeds: range) -> None:
        for seed in seeds:
            found[seed] = crops.crop(np.random.default_rng(seed), side, 3)

    threads = [threading.Thread(target=work, args=(range(start, 8, 4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in enumerate(serial):
        assert all(np.array_equal(a, b) for a, b in zip(expected, found[seed], strict=True))
    assert not np.array_equal(serial[0][0], serial[1][0])


def test_every_crop_has_a_draw_of_its_own(tmp_path: Path) -> None:
    write_png(tmp_path / "grey.png", np.full((40, 40, 3), 128, np.uint8))
    crops, rng = cache(FolderSource(folder=tmp_path).items(), Denoising(), tmp_path), np.random.default_rng(0)
    noises = [crop.tobytes() for _ in range(3) for crop in crops.crop(rng, 32, 10)[0]]
    assert len(set(noises)) == 30


# --- test images and identities -------------------------------------------------------------------------------------


@over_tasks
def test_a_test_set_is_a_function_of_its_files_and_the_task(items: list[ImageItem], task: Degradation) -> None:
    scale = task.scales[-1]
    first = {pair.name: pair.lr for pair in pairs(items, scale, task=task)}
    again = {pair.name: pair.lr for pair in pairs(items[::-1], scale, task=type(task)(**task.model_dump()))}
    assert first.keys() == again.keys()
    assert all(np.array_equal(lr, again[image]) for image, lr in first.items())


def test_noise_differs_between_images_and_between_specifications(tmp_path: Path) -> None:
    for index, level in enumerate((100, 100, 101)):
        write_png(tmp_path / f"{index}.png", np.full((20, 20, 3), level, np.uint8))
    items = FolderSource(folder=tmp_path).items()
    same, twin, other = (pair.lr.astype(int) - pair.hr for pair in pairs(items, 1, task=made(Denoising, sigma=5)))
    assert np.array_equal(same, twin)  # same content, same noise, whatever the name
    assert not np.array_equal(same, other)
    changed = next(pairs(items, 1, task=made(Denoising, sigma=(5, 5.0001)))).lr.astype(int) - 100
    assert not np.array_equal(same, changed)


def test_identities_follow_the_numbers_that_matter() -> None:
    distinct = [
        *TASKS,
        made(Jpeg, quality=11),
        made(Denoising, sigma=15),
        made(Deblurring, sigma=2),
        made(RealWorld, sharpen_target=True),
    ]
    distinct += [made(RealWorld, final_sinc=0.5), made(RealWorld, order=1, sharpen_target=True)]
    assert len({task.identity for task in distinct}) == len(distinct)
    assert made(Deblurring, length=9).identity == Deblurring().identity  # a Gaussian has no length
    assert made(Deblurring, blur="motion", sigma=9).identity == made(Deblurring, blur="motion").identity
    assert made(RealWorld, order=1, final_sinc=0.5).identity == made(RealWorld, order=1).identity
    assert made(RealWorld, order=1, second=made(SecondPass, blur=0)).identity == made(RealWorld, order=1).identity
    assert made(Denoising, sigma=25).identity == made(Denoising, sigma=(25, 25)).identity


def test_the_bicubic_cache_is_the_one_of_old(items: list[ImageItem], tmp_path: Path) -> None:
    images = [[item.name, item.sha256] for item in items]
    key = identity({"images": images, "scale": 4, "degradation": DEGRADATION, "layout": 1})
    assert PairCache.build(items, 4, tmp_path).identity == key
    assert DEGRADATION == "matlab-bicubic-1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(Denoising, sigma=-1), "greater than or equal to 0"),
        (lambda: made(Denoising, sigma=(30, 10)), "lower end comes first"),
        (lambda: made(Denoising, sigma=float("nan")), "finite"),
        (lambda: made(Jpeg, quality=0), "greater than or equal to 1"),
        (lambda: made(Jpeg, quality=101), "less than or equal to 100"),
        (lambda: made(Deblurring, sigma=0), "greater than 0"),
        (lambda: made(Deblurring, length=0.5), "greater than or equal to 1"),
        (lambda: made(RealWorld, order=3), "1 or 2"),
        (lambda: made(Pass, kernel_size=8), "odd, got 8"),
        (lambda: made(Pass, resize_factor=(1.1, 1.5)), "resize_factor must include 1"),
        (lambda: Pass.model_validate({"kernels": dict.fromkeys(Pass().kernels.model_dump(), 0)}), "above 0"),
        (lambda: made(Pass, blur=1.5), "less than or equal to 1"),
    ],
)
def test_impossible_numbers_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()
