"""The parts of an image that a model sees, and pooled features of frozen backbones, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...common.building import ordinary_tensors
from ...common.images import read_rgb, to_tensor
from ...common.sources import hash_file
from ..manifest import RatedImage
from .errors import NRError
from .initialisation import Trunk
from .spec import NRSpec, Views

Progress = Callable[[int, int, str], None]  # done, in all, note

VARIANCE_FLOOR = 1e-8  # added to a channel's variance, because the gradient of its square root is infinite at 0


def read_image(row: RatedImage, min_size: int) -> Tensor:
    """Return an image ``(1, 3, H, W)`` in [0, 1].

    Raises:
        ImageError: a file that cannot be read.
        NRError: an image with a side of less than ``min_size``.
    """
    image = to_tensor(read_rgb(row.image_path))
    height, width = image.shape[-2:]
    if min(height, width) < min_size:
        raise NRError(f"{row.image}: {width}×{height} pixels, at least {min_size}×{min_size} are needed")
    return image


def cut_views(images: Tensor, views: Views) -> Tensor:
    """Return the views of images ``(N, 3, H, W)``: ``(views · N, 3, h, w)``, the first view of all images first.

    Raises:
        NRError: images smaller than the crop.
    """
    side = views.test_crop
    if side is None:
        return images
    height, width = images.shape[-2:]
    if min(height, width) < side:
        raise NRError(f"{width}×{height} pixels, smaller than test_crop {side}; lower it, or use whole images")
    tops, lefts = (_places(length - side, views.test_grid) for length in (height, width))
    return torch.cat([images[..., top : top + side, left : left + side] for top in tops for left in lefts])


def _places(room: int, count: int) -> list[int]:
    """Return where ``count`` crops begin, evenly spaced from border to border; each position once."""
    if count == 1:
        return [room // 2]
    return sorted({round(index * room / (count - 1)) for index in range(count)})


def pool(maps: Sequence[Tensor]) -> Tensor:
    """Return each channel's mean and standard deviation over positions: per stage all means, then all deviations."""
    pooled = []
    for features in maps:
        variance, mean = torch.var_mean(features, (2, 3), correction=0)
        pooled += [mean, (variance + VARIANCE_FLOOR).sqrt()]
    return torch.cat(pooled, 1)


def pooled_columns(spec: NRSpec, channels: Sequence[int]) -> Tensor:
    """Return which columns of :func:`pool` a model uses."""
    columns, start = [], 0
    for stage, count in enumerate(channels):
        if stage in spec.pooled_stages:
            columns.append(torch.arange(start, start + (count if spec.statistics == "mean" else 2 * count)))
        start += 2 * count
    return torch.cat(columns)


class FeatureCache:
    """Pooled features of images under frozen backbones: computed once per backbone, image content and view.

    Give the same cache to several evaluations: models that differ in head, loss, pooled stages or statistics then share
    features. They are held in memory, 4 bytes per value: 12 KB per view for VGG-16.

    Examples:
        >>> cache = FeatureCache()
        >>> cache.once(("key",), lambda: torch.ones(2)) is cache.once(("key",), lambda: torch.zeros(2))
        True
    """

    def __init__(self) -> None:
        self._features: dict[tuple[str, ...], Tensor] = {}
        self._trunks: dict[tuple[str, int], Trunk] = {}

    def once(self, key: tuple[str, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Return the result of ``compute``, which is called only the first time for ``key``."""
        if key not in self._features:
            self._features[key] = compute()
        return self._features[key]

    def trunk(self, spec: NRSpec, weights: str, build: Callable[[], Trunk]) -> Trunk:
        """Return the trunk with the given weights, without gradients, built at most once; do not train it."""
        key = (weights, spec.n_stages)
        if key not in self._trunks:
            self._trunks[key] = build().requires_grad_(False)
        return self._trunks[key]

    def pooled(
        self,
        spec: NRSpec,
        trunk: Trunk,
        trunk_identity: str,
        rows: Sequence[RatedImage],
        *,
        device: str = "cpu",
        progress: Progress = lambda _done, _total, _note: None,
    ) -> list[Tensor]:
        """Return the features of every row, each ``(views, D)`` float32 on the CPU: all columns of :func:`pool`.

        Images are decoded one after another and pass the backbone one at a time, so that an image's features do not
        depend on the other images.

        Args:
            spec: determines the views.
            trunk: the backbone, on ``device``.
            trunk_identity: identity of its weights, such as ``spec.trunk_identity``.
            rows: the images.
            device: where the backbone runs.
            progress: called with (images done, images in all, image).

        Raises:
            ImageError: a file that cannot be read.
            NRError: an image too small.
        """
        found = []
        place = (trunk_identity, str(spec.n_stages), str(spec.view_identity))
        for index, row in enumerate(rows):
            key = (*place, hash_file(row.image_path))
            found.append(self.once(key, lambda row=row: _compute(spec, trunk, row, device)))
            progress(index + 1, len(rows), row.image)
        return found


@torch.no_grad()
def _compute(spec: NRSpec, trunk: Trunk, row: RatedImage, device: str) -> Tensor:
    """Return the pooled features of one image, ``(views, D)``, all columns of :func:`pool`."""
    image = read_image(row, spec.min_size).to(device)
    try:
        with ordinary_tensors():  # heads are trained on these tensors
            return pool(trunk(cut_views(image, spec))).cpu()
    except NRError as error:
        raise NRError(f"{row.image}: {error}") from None
