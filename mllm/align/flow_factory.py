"""A scorer as a pointwise reward of Flow-Factory; the only module that imports it.

Flow-Factory is installed from its repository, and finds the class by its path; keys that it does not know are ours::

    rewards:
      - name: quality
        reward_model: lopsided.mllm.align.flow_factory.LopsidedReward
        batch_size: 16
        dtype: bfloat16
        model: out/cogip/model
        preset: cogip
        dimensions: {aesthetics: 1.0, memorability: 0.5}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from flow_factory.rewards import (  # pyright: ignore[reportMissingImports]
    PointwiseRewardModel,
    RewardModelOutput,
)
from PIL import Image
from pydantic import Field, ValidationError

from ...common.fields import Settings
from ..backends import TransformersBackend
from ..backends.transformers import Dtype
from ..errors import MllmError
from ..scoring.presets import create_preset
from ..scoring.scorer import Scorer
from .reward_model import RewardModel


class RewardSettings(Settings):
    """The keys of a reward besides Flow-Factory's own."""

    model: str = Field(min_length=1, description="Folder of the model, or its name on the hub.")
    preset: str = Field(description="What is asked and how replies are read.")
    options: dict[str, Any] = Field(default={}, description="Options of the preset.")
    dimensions: dict[str, float] | None = Field(default=None, description="What is rated, with weights.")
    on_failure: float = Field(default=0.0, ge=0, le=1, description="Reward of an image whose rating failed.")
    max_pixels: int | None = Field(default=None, ge=1, le=10**9, description="Larger images are reduced to this.")


class LopsidedReward(PointwiseRewardModel):
    """Rates images on [0, 1], higher is better, as :class:`~lopsided.mllm.align.RewardModel` does.

    Prompts are not shown to the model: the reward is about the image alone.

    Args:
        config: Flow-Factory's arguments of the reward; ``extra_kwargs`` are the settings above.
        accelerator: Flow-Factory's.

    Raises:
        MllmError: a key that is missing, unknown or of another type; a model or preset that cannot be used.
    """

    required_fields = ("prompt", "image")
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        try:
            settings = RewardSettings.model_validate(config.extra_kwargs)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            known = ", ".join(RewardSettings.model_fields)
            raise MllmError(f"Flow-Factory's rewards: {key}: {first['msg']}; keys of ours: {known}") from None
        backend = TransformersBackend(
            settings.model,
            device=str(self.device),
            dtype=cast(Dtype, str(self.dtype).removeprefix("torch.")),
            batch_size=config.batch_size,
            max_pixels=settings.max_pixels,
        )
        self.model = backend.model  # what Flow-Factory moves to another device
        scorer = Scorer(backend, create_preset(settings.preset, **settings.options))
        self.reward = RewardModel(scorer, settings.dimensions, on_failure=settings.on_failure)

    def __call__(self, prompt: Sequence[str], image: Sequence[Image.Image] | None = None) -> RewardModelOutput:
        """Return one reward per image, and the details of each dimension.

        Raises:
            MllmError: there are no images, because videos were drawn; or not as many as prompts.
        """
        if image is None:
            raise MllmError("the reward rates images, and Flow-Factory gave none: videos and sound are not rated")
        rewards, details = self.reward(image, prompt)
        return RewardModelOutput(rewards=rewards, extra_info=details)
