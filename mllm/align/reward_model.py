"""A scorer as a reward of images: for reinforcement learning of image generators, for choosing the best of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import MllmError
from ..scoring.scorer import Scorer

Images = Sequence[Image.Image] | torch.Tensor | NDArray[np.uint8]


class RewardModel:
    """Rates images on [0, 1], higher is better, whatever the scale of the preset.

    The rating is deterministic: written replies are greedy (unless the preset has a temperature), levels are read as an
    expectation. A reply that cannot be read gets ``on_failure``, and its status says so.

    Args:
        scorer: the model and how it is asked.
        dimensions: what is rated, with weights; default: the preset's first one.
        on_failure: reward of an image whose rating failed, in [0, 1].

    Raises:
        MllmError: a dimension that the preset does not rate, weights that are not positive.

    Examples:
        >>> from lopsided.mllm import Backend, create_preset
        >>> from lopsided.mllm.backends import Reply
        >>> class Says(Backend):  # a model that writes the red value of a pixel
        ...     name = "says"
        ...     definition = check_candidates = level_logits = None
        ...     def generate(self, prompts, **options):
        ...         return [Reply(str(p.images[0].getpixel((0, 0))[0])) for p in prompts]
        >>> reward = RewardModel(Scorer(Says(), create_preset("numeric", high=200)))
        >>> reward.rate([Image.new("RGB", (8, 8), (150, 0, 0)), Image.new("RGB", (8, 8), (255, 0, 0))])
        [{'reward': 0.75, 'quality': 0.75}, {'reward': 0.0, 'quality': None, 'quality_status': 'out_of_range'}]
    """

    def __init__(
        self, scorer: Scorer, dimensions: Mapping[str, float] | None = None, *, on_failure: float = 0.0
    ) -> None:
        self.scorer = scorer
        self.dimensions = dict(dimensions or {scorer.preset.dimensions[0]: 1.0})
        weights = self.dimensions.values()
        numbers = all(isinstance(number, int | float) for number in (*weights, on_failure))
        if not numbers or not all(0 < weight < math.inf for weight in weights) or not 0 <= on_failure <= 1:
            said = f"{self.dimensions}, {on_failure}"
            raise MllmError(f"weights must be positive and finite and on_failure in [0, 1], got {said}")
        self._scales = {name: scorer.preset.scale(name) for name in self.dimensions}
        self.on_failure = on_failure

    def rate(self, images: Images) -> list[dict[str, Any]]:
        """Rate images.

        Args:
            images: PIL images; or a tensor ``(N, 3, H, W)`` in [0, 1]; or an array ``(N, H, W, 3)`` of uint8.

        Returns:
            One dictionary each: ``reward``, the weighted mean; and per dimension its share of it, or None and
            ``<dimension>_status`` if the rating failed.

        Raises:
            MllmError: images of another form.
        """
        pictures = to_pictures(images)
        found: list[dict[str, Any]] = [{"reward": 0.0} for _ in pictures]
        whole = sum(self.dimensions.values())
        for name, weight in self.dimensions.items():
            scale = self._scales[name]
            low, high = scale.range
            for each, rating in zip(found, self.scorer.rate(pictures, dimension=name), strict=True):
                share = None
                if rating.value is not None:
                    share = (rating.value - low) / (high - low)
                    share = share if scale.higher_is_better else 1 - share
                else:
                    each[f"{name}_status"] = rating.status
                each[name] = share
                each["reward"] += weight / whole * (self.on_failure if share is None else share)
        return [{"reward": each.pop("reward"), **dict(sorted(each.items()))} for each in found]

    def __call__(
        self, images: Images, prompts: Sequence[str], metadata: Any = None
    ) -> tuple[list[float], dict[str, list[Any]]]:
        """Rate images in the form that flow_grpo takes: ``reward(images, prompts, metadata) → (scores, dict)``.

        Args:
            images: as for :meth:`rate`.
            prompts: one per image. They are not shown to the model: the reward is about the image alone.
            metadata: not used.

        Returns:
            The rewards, and one list per dimension.

        Raises:
            MllmError: different numbers of images and prompts.
        """
        del metadata
        rated = self.rate(images)
        if len(prompts) != len(rated):
            raise MllmError(f"{len(rated)} images need as many prompts, got {len(prompts)}")
        return [each["reward"] for each in rated], {name: [each[name] for each in rated] for name in self.dimensions}


def to_pictures(images: Images) -> list[Image.Image]:
    """Return images in any of the forms of :meth:`RewardModel.rate` as PIL images.

    Raises:
        MllmError: another form, or values outside [0, 1].
    """
    if isinstance(images, torch.Tensor):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise MllmError(f"a tensor of images is (N, 3, H, W) of floats, got {tuple(images.shape)} {images.dtype}")
        low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 0.0)
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise MllmError(f"a tensor of images is in [0, 1], got {low:g} … {high:g}")
        scaled = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
        images = scaled.permute(0, 2, 3, 1).cpu().numpy()
    if isinstance(images, np.ndarray):
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise MllmError(f"an array of images is (N, H, W, 3) of uint8, got {images.shape} {images.dtype}")
        return [Image.fromarray(image) for image in images]
    if not all(isinstance(image, Image.Image) for image in images):
        raise MllmError("give PIL images, a tensor (N, 3, H, W) in [0, 1] or an array (N, H, W, 3) of uint8")
    return list(images)
