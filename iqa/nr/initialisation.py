"""The trunk of a no-reference model, with the weights of its initialisation.

It is always the trunk of a discriminator, normalisation included: so random weights are those that a discriminator of
the same seed starts from, and trained weights are used as they were trained.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ...backbones import BackboneSpec
from ...backbones.registry import architecture
from ...common.paths import expanded
from ...common.state_dicts import read_metadata
from ...discriminators import Discriminator, DiscriminatorSpec, build_discriminator, convolutional
from .errors import NRError
from .spec import CONV, FromDiscriminator, NRSpec, Pretrained, Random, SelfSupervised


class Trunk(nn.Module):
    """Images to feature maps, one per stage; in evaluation mode.

    Attributes:
        channels: channels of each stage.
    """

    def __init__(self, discriminator: Discriminator, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.normalise = discriminator.normalise
        self.network = discriminator.trunk
        self.channels = channels
        self.eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps ``(N, C, H', W')`` of RGB images in [0, 1], shallow to deep."""
        return self.network(self.normalise(images))


def build_trunk(spec: NRSpec) -> Trunk:
    """Build the trunk of a model; a self-supervised one with the random weights from which it learns.

    Raises:
        NRError: a file of weights that belongs to another discriminator.
        LopsidedError: weights that are missing, fail verification or do not fit.
    """
    start = spec.initialisation
    backbone: BackboneSpec | str = CONV
    channels = convolutional.CHANNELS
    if spec.backbone != CONV:
        backbone = BackboneSpec(name=f"{spec.backbone}-r")
        if isinstance(start, Pretrained):
            backbone = BackboneSpec(name=spec.backbone, weights=start.weights)
        channels = tuple(stage.channels for stage in architecture(spec.backbone).stages)
    definition = DiscriminatorSpec.model_validate(
        {
            "form": "vanilla",
            "backbone": backbone,
            "stage": spec.n_stages - 1,
            "input_normalisation": spec.input_normalisation,
        }
    )
    built = build_discriminator(definition, seed=start.seed if isinstance(start, Random | SelfSupervised) else 0)
    if isinstance(start, FromDiscriminator):
        trained = load_discriminator(start.discriminator, start.weights).trunk.state_dict()
        # The discriminator can have more stages than this model; those are left out.
        built.trunk.load_state_dict({name: trained[name] for name in built.trunk.state_dict()})
    return Trunk(built, channels[: spec.n_stages])


def load_discriminator(spec: DiscriminatorSpec, weights: Path | str | None, *, seed: int = 0) -> Discriminator:
    """Build a discriminator, in evaluation mode, from a file of all its weights; without a file, an untrained one.

    Raises:
        NRError: the file states that it belongs to another discriminator.
        DiscriminatorError: the file is missing or damaged, or does not hold exactly these tensors.
    """
    if weights is None:
        return build_discriminator(spec, seed=seed).eval()
    path = expanded(weights)
    if (written := _discriminator_of(path)) not in (None, spec.key):
        raise NRError(f"'{path}' holds discriminator '{written}', not '{spec.key}'; give its own definition")
    return build_discriminator(spec.model_copy(update={"weights": str(path)}), seed=seed).eval()


def _discriminator_of(path: Path) -> str | None:
    """Return the key of the discriminator that a file states, if lopsided wrote the file."""
    try:
        return read_metadata(path).get("discriminator")
    except (OSError, ValueError):
        return None  # not written by lopsided; faults appear when it is read
