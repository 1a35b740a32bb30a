"""Other packages' own tests, run against our measures: a plugin for pytest that puts ours in place of theirs.

The tests are not copied into this repository. In a checkout of the package at the version that is installed::

    PYTHONPATH=BENCHMARKS python -m pytest -p peer_suites tests/test_ssim.py tests/test_ms_ssim.py tests/test_gmsd.py \
        tests/test_psnr.py tests/test_fsim.py tests/test_vsi.py tests/test_perceptual.py                        # piq
    PYTHONPATH=BENCHMARKS:. python -m pytest -p peer_suites -k "not ddp-True" unittests/image/test_ssim.py \
        unittests/image/test_ms_ssim.py                                                 # torchmetrics, in its tests/
    python BENCHMARKS/peer_suites.py tests/tests_loss.py                                # pytorch_msssim has scripts

What has no counterpart here (other windows, more dimensions, gray or complex images as such, maps beside scores) is
skipped and says so: skipped tests are not applicable ones. Gray images are given as RGB of three equal channels, images
on other scales are divided by their range, our errors become the exceptions that the tests expect. Backbones have
random weights. Counts and every failure: docs/parity.md.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lopsided.losses import Measure, MeasureError, create_measure


class PeerError(AssertionError, ValueError, RuntimeError):
    """What each package raises where we raise MeasureError."""


build = functools.cache(lambda key, options: create_measure({"measure": key, **dict(options)}))


def not_ours(what: str) -> Any:
    pytest.skip(f"no counterpart here: {what}")


def prepared(images: Any, data_range: float) -> Tensor:
    if not isinstance(images, Tensor):
        raise PeerError("not a tensor")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return not_ours(f"images of shape {tuple(images.shape)}") if images.ndim == 5 else images
    images = (images if images.is_floating_point() else images.float()) / float(data_range)
    return images.expand(-1, 3, -1, -1)


def score(
    measure: Measure[Any], x: Any, y: Any, data_range: float = 1.0, reduction: Any = "mean", *, as_loss: bool = False
) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise PeerError(f"reduction {reduction}")
    try:
        x, y = prepared(x, data_range), prepared(y, data_range)
        measure.check(x, y, as_loss=as_loss)
        values = measure.scored(x, y)
    except MeasureError as error:
        raise PeerError(str(error)) from error
    return values if reduction == "none" else getattr(values, reduction)()


def function(key: str, defaults: dict[str, Any], **options: Any) -> Any:
    """Return the peer's function; ``defaults`` are those of its options that we have one value for."""

    def call(x: Any, y: Any, data_range: float = 1.0, reduction: str = "mean", **given: Any) -> Any:
        own = dict(options)
        for name, value in given.items():
            if name in own:
                own[name] = value
            elif name not in defaults:
                not_ours(name)
            elif isinstance(value, Tensor) or value != defaults[name]:
                not_ours(f"{name}={value}")
        return score(build(key, tuple(own.items())), x, y, data_range, reduction)

    return call


def module(call: Any) -> type[nn.Module]:
    class Loss(nn.Module):
        def __init__(self, reduction: Any = "mean", **given: Any) -> None:
            super().__init__()
            self.given = {"reduction": reduction, **given}

        def forward(self, x: Any, y: Any) -> Any:
            return call(x, y, **self.given)

    return Loss


def deep_loss(key: str) -> type[nn.Module]:
    class Loss(nn.Module):
        def __init__(
            self,
            feature_extractor: Any = "vgg16",
            layers: Any = None,
            weights: Any = None,
            reduction: Any = "mean",
            **given: Any,
        ) -> None:
            super().__init__()
            if reduction not in ("mean", "sum", "none"):
                raise PeerError(f"reduction {reduction}")
            if given or feature_extractor == "vgg19" or isinstance(feature_extractor, types.SimpleNamespace):
                not_ours(f"{feature_extractor} {list(given)}")
            options = {"backbone": f"{feature_extractor}-r"}
            options |= {"layers": tuple(layers)} if layers else {}
            options |= {"layer_weights": tuple(weights)} if weights is not None else {}
            self.reduction = reduction
            try:
                self.measure = build(key, tuple(options.items()))
            except MeasureError as error:
                raise PeerError(str(error)) from error

        def forward(self, x: Any, y: Any) -> Any:
            return score(self.measure, x, y, 1.0, self.reduction)

    return Loss


WINDOW = {"kernel_size": 11, "kernel_sigma": 1.5, "k1": 0.01, "k2": 0.03, "full": False, "scale_weights": None}


def replace_piq(piq: Any) -> None:
    own = {
        "ssim": function("ssim", WINDOW, color="rgb", downsample=True),
        "multi_scale_ssim": function("ms_ssim", WINDOW, color="rgb"),
        "gmsd": function("gmsd", {"t": 170 / 255**2}),
        "psnr": function("psnr", {"convert_to_greyscale": False}),
        "fsim": function("fsim", {"chromatic": True, "scales": 4, "orientations": 4}),
        "vsi": function("vsi", {}),
    }
    losses = {"SSIMLoss": "ssim", "MultiScaleSSIMLoss": "multi_scale_ssim", "GMSDLoss": "gmsd", "FSIMLoss": "fsim"}
    losses["VSILoss"] = "vsi"
    deep = {"ContentLoss": "perceptual", "StyleLoss": "style", "LPIPS": "lpips", "DISTS": "dists"}
    for name, call in own.items():
        setattr(piq, name, call)
    for name, key in losses.items():

        def as_loss(x: Any, y: Any, call: Any = own[key], name: str = name, **given: Any) -> Any:
            value = call(x, y, **given)
            return value if name == "GMSDLoss" else 1 - value

        setattr(piq, name, module(as_loss))
    for name, key in deep.items():
        setattr(piq, name, deep_loss(key))
    for name in ("multi_scale_gmsd", "MultiScaleGMSDLoss"):
        setattr(piq, name, lambda *_, name=name, **__: not_ours(name))
    piq.feature_extractors.InceptionV3 = lambda *_, **__: types.SimpleNamespace(
        blocks=types.SimpleNamespace()
    )  # would be downloaded


def replace_torchmetrics() -> None:
    """Replace what both the functions and the classes of torchmetrics compute with."""
    import torchmetrics.functional.image.ssim as functions
    import torchmetrics.image.ssim as classes

    def single(
        preds: Tensor,
        target: Tensor,
        gaussian_kernel: Any = True,
        sigma: Any = 1.5,
        kernel_size: Any = 11,
        data_range: Any = None,
        k1: float = 0.01,
        k2: float = 0.03,
        return_full_image: bool = False,
        return_contrast_sensitivity: bool = False,
    ) -> Tensor:
        sigmas = sigma if isinstance(sigma, (list, tuple)) else [sigma]
        sizes = kernel_size if isinstance(kernel_size, (list, tuple)) else [kernel_size]
        if any(isinstance(value, (list, tuple)) and len(value) != 2 for value in (sigma, kernel_size)):
            not_ours("a window of another number of dimensions")
        if not gaussian_kernel or any(s != 1.5 for s in sigmas) or any(k != 11 for k in sizes):
            not_ours("another window")
        if return_full_image or return_contrast_sensitivity or (k1, k2) != (0.01, 0.03):
            not_ours("maps beside scores")
        if isinstance(data_range, tuple):
            return not_ours("a range that does not start at 0")
        dtype = torch.promote_types(preds.dtype, torch.float32)
        return score(build("ssim", (("color", "rgb"),)), preds, target, data_range or 1.0, "none").to(dtype)

    def several(preds: Tensor, target: Tensor, *options: Any, **named: Any) -> Tensor:
        given = [*options, *named.values()]
        betas = next((value for value in given if isinstance(value, tuple) and len(value) != 2), None)
        if betas not in (None, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            not_ours("other weights of scales")
        return score(build("ms_ssim", (("color", "rgb"),)), preds, target, 1.0, "none")

    for place in (functions, classes):
        vars(place).update(_ssim_update=single, _multiscale_ssim_update=several)


def replace_pytorch_msssim(package: Any) -> None:
    def call(key: str) -> Any:
        def of(X: Any, Y: Any, data_range: float = 255, size_average: bool = True, win_size: int = 11, **_: Any) -> Any:  # noqa: N803
            if win_size != 11:
                not_ours("another window")
            images, references = (Y, X) if Y.requires_grad else (X, Y)  # ours lets only a prediction leave [0, 1]
            measure, reduction = build(key, (("color", "rgb"),)), "mean" if size_average else "none"
            return score(measure, images, references, data_range, reduction, as_loss=True)

        return of

    for key in ("ssim", "ms_ssim"):
        setattr(package, key, call(key))

        class Loss(nn.Module):
            def __init__(self, data_range: float = 255, size_average: bool = True, key: str = key, **_: Any) -> None:
                super().__init__()
                self.options = {"data_range": data_range, "size_average": size_average}
                self.call = call(key)

            def forward(self, X: Any, Y: Any) -> Any:  # noqa: N803
                return self.call(X, Y, **self.options)

        setattr(package, key.upper(), Loss)


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001
    import piq
    import piq.feature_extractors

    replace_piq(piq)
    replace_torchmetrics()
    if "tensorflow" not in sys.modules:  # some of piq's tests compare with it
        stub: Any = types.ModuleType("tensorflow")
        stub.convert_to_tensor = lambda *_: not_ours("tensorflow is not installed")
        sys.modules["tensorflow"] = stub


if __name__ == "__main__":
    import runpy

    import pytorch_msssim  # pyright: ignore[reportMissingImports]

    replace_pytorch_msssim(pytorch_msssim)
    runpy.run_path(sys.argv[1], run_name="__main__")
