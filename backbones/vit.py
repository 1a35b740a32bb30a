"""Vision transformers of CLIP (Radford et al., ICML 2021) and DINOv2 (Oquab et al., TMLR 2024), through timm.

| backbone | patch = stride | channels | stages |
|---|---|---|---|
| ``clip_vit_b32`` | 32 | 768 | block3, block6, block9, block12 |
| ``clip_vit_b16`` | 16 | 768 | block3, block6, block9, block12 |
| ``dinov2_vits14`` | 14 | 384 | block3, block6, block9, block12 |

A feature map holds the patch tokens after a block, back on their grid as ``(N, C, H, W)``: the class token is dropped
and the final norm left out. Images are padded at the bottom and on the right to a multiple of the patch, by repeating
their last row and column, and never resized; instead the position embedding is resized to their grid, in two dimensions
(bicubic, antialiased, as timm does). CLIP's networks use the activation they were trained with (QuickGELU) and CLIP's
mean and deviation, DINOv2's ImageNet's.

State dicts have timm's keys, without ``norm`` and ``head``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from .registry import Architecture, Stage, register_backbone

BLOCKS_PER_STAGE = 3


class _Embedding(nn.Module):
    """Images to the tokens that enter the first block."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self._trunk = (trunk,)  # in a tuple, so that the trunk does not become a child

    def forward(self, images: Tensor) -> Tensor:
        (trunk,) = self._trunk
        return trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(images)))


def _build(model: str) -> nn.Module:
    from timm import create_model  # here, because its import takes seconds

    trunk = create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True)
    trunk.norm = nn.Identity()
    return trunk


def _split(trunk: nn.Module) -> list[list[nn.Module]]:
    blocks = list(trunk.get_submodule("blocks").children())
    stages = [blocks[a : a + BLOCKS_PER_STAGE] for a in range(0, len(blocks), BLOCKS_PER_STAGE)]
    stages[0].insert(0, _Embedding(trunk))
    return stages


def _on_grid(hidden: Tensor, height: int, width: int) -> Tensor:
    return hidden[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))


def _stages(channels: int, patch: int) -> tuple[Stage, ...]:
    return tuple(Stage(f"block{block}", channels, patch) for block in (3, 6, 9, 12))


for _patch in (32, 16):
    register_backbone(
        Architecture(
            name=f"clip_vit_b{_patch}",
            family="vit",
            stages=_stages(768, _patch),
            build=partial(_build, f"vit_base_patch{_patch}_clip_quickgelu_224"),
            split=_split,
            min_size=_patch,
            multiple=_patch,
            readout=_on_grid,
            hub_id=f"timm/vit_base_patch{_patch}_clip_224.openai",
            dropped_keys=("norm.", "head."),
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            data=("clip-400m",),  # OpenAI's 400 million pairs of image and text
            licence="MIT (OpenAI CLIP; timm's copy says Apache-2.0)",
        )
    )

register_backbone(
    Architecture(
        name="dinov2_vits14",
        family="vit",
        stages=_stages(384, 14),
        build=partial(_build, "vit_small_patch14_dinov2"),
        split=_split,
        min_size=14,
        multiple=14,
        readout=_on_grid,
        hub_id="timm/vit_small_patch14_dinov2.lvd142m",
        dropped_keys=("norm.", "head.", "mask_token"),  # the last is in the authors' own file
        data=("lvd-142m", "imagenet"),  # which holds ImageNet-22k and ImageNet-1k: table 15 of the paper
        licence="Apache-2.0 (Meta)",
    )
)
