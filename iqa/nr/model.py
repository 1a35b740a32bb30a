"""Trained no-reference models and their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ...backbones.known_answers import probe
from ...common.building import building
from ...common.errors import one_line
from ...common.files import atomic_path
from ...common.images import check_images
from ...common.paths import expanded
from ...common.state_dicts import read_metadata
from .errors import NRError
from .features import cut_views, pool, pooled_columns
from .initialisation import Trunk, build_trunk
from .spec import LinearProbe, NRSpec, Random

KIND = "no-reference model"
PROBE = 128  # side of the probe in pixels, unless the model needs a larger one
TOLERANCE = 1e-3  # of a known answer, relative to the spread of the labels


class Network(nn.Module):
    """Images to standardised scores: trunk, pooling, standardised features, head."""

    columns: Tensor
    centre: Tensor
    spread: Tensor
    slope: Tensor
    intercept: Tensor

    @building()
    def __init__(self, spec: NRSpec, trunk: Trunk, generator: torch.Generator) -> None:
        super().__init__()
        self.trunk = trunk
        columns = pooled_columns(spec, trunk.channels)
        self.register_buffer("columns", columns, persistent=False)
        # Features are standardised by the training part under the initial weights, so that the head's learning rate
        # means the same on any backbone. This does not change while the backbone is trained.
        self.register_buffer("centre", torch.zeros(len(columns)))
        self.register_buffer("spread", torch.ones(len(columns)))
        self.register_buffer("slope", torch.ones((), dtype=torch.float64))
        self.register_buffer("intercept", torch.zeros((), dtype=torch.float64))
        self.head = _head(spec, len(columns), generator)
        self.eval()

    def standardise(self, features: Tensor) -> None:
        """Set mean and deviation to those of the pooled features ``(N, D)`` of the training part, all columns."""
        chosen = features[:, self.columns.cpu()].double()
        centre, spread = chosen.mean(0), chosen.std(0, correction=0)
        spread[spread <= 1e-6 * centre.abs()] = 1.0  # a channel that is equal for all images, up to rounding
        self.centre.copy_(centre)
        self.spread.copy_(spread)

    def standardised(self, features: Tensor) -> Tensor:
        """Return the model's columns of pooled features ``(N, D)``, standardised."""
        return (features[:, self.columns] - self.centre) / self.spread

    def regress(self, features: Tensor) -> Tensor:
        """Return standardised scores ``(N,)`` of pooled features ``(N, D)``, all columns."""
        return self.head(self.standardised(features)).squeeze(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return standardised scores ``(N,)`` of images ``(N, 3, H, W)`` in [0, 1]."""
        return self.regress(pool(self.trunk(images)))

    def in_units(self, standardised: Tensor) -> Tensor:
        """Return scores in the labels' units, float64, of standardised ones."""
        return standardised.double() * self.slope + self.intercept


def _head(spec: NRSpec, inputs: int, generator: torch.Generator) -> nn.Module:
    """Return a head with He-normal hidden weights and output weights of variance 1/inputs: outputs vary by about 1."""
    protocol = spec.protocol
    widths = (inputs, 1)
    if not isinstance(protocol, LinearProbe) and protocol.head == "mlp":
        widths = (inputs, protocol.hidden, 1)
    # Made without memory first: initialising it would draw from the global generator.
    layers = [nn.Linear(a, b, device="meta").to_empty(device="cpu") for a, b in pairwise(widths)]
    for layer in layers:
        gain = 1 if layer.out_features == 1 else 2
        nn.init.normal_(layer.weight, std=(gain / layer.in_features) ** 0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return layers[0] if len(layers) == 1 else nn.Sequential(layers[0], nn.ReLU(), layers[1])


@dataclass(frozen=True)
class NRModel:
    """A trained no-reference model.

    Attributes:
        spec: its definition.
        identity: content hash of the definition and of what it was trained on.
        network: its weights.
        training: what it was trained on: ``dataset``, ``dataset_id``, ``train`` (hash of the training images),
            ``trunk`` (identity of the weights it started with), ``label_kind``, ``higher_is_better``, ``mean`` and
            ``deviation`` of the labels learnt from; and the ``penalty`` that a linear probe used.
    """

    spec: NRSpec
    identity: str
    network: Network
    training: dict[str, Any]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the scores: that of the labels."""
        return self.training["higher_is_better"]

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """Return one score per image, ``(N,)`` float64 on the CPU, in the labels' direction and units.

        Args:
            images: RGB in [0, 1], ``(N, 3, H, W)``; the spec says whether they are seen whole or in crops.

        Raises:
            ImageError: images of another shape or range.
            NRError: images that are too small.
        """
        check_images(images, "images")
        if min(images.shape[-2:]) < self.spec.min_size:
            raise NRError(
                f"'{self.spec.key}' needs images of at least {self.spec.min_size} px, got {tuple(images.shape)}"
            )
        images = images.to(self.network.centre.device)
        views = self.network(cut_views(images, self.spec)).reshape(-1, len(images))
        return self.network.in_units(views.double().mean(0)).cpu()

    def save(self, path: Path | str) -> None:
        """Write the model to one safetensors file, atomically; its metadata ``lopsided`` is JSON.

        The file also holds the scores of a probe, which :func:`load_nr` computes again.

        Raises:
            OSError: the disk is full or not writable.
        """
        path = expanded(path)
        about = {
            "kind": KIND,
            "spec": self.spec.model_dump(mode="json"),
            "identity": self.identity,
            "training": self.training,
            "answer": self.answer(),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        with atomic_path(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"lopsided": json.dumps(about, sort_keys=True)})
            except SafetensorError as error:  # how safetensors reports a full disk
                raise OSError(f"cannot write {path.name}: {one_line(error)}") from error

    def answer(self) -> list[float]:
        """Return the scores of the probe's two images."""
        return self.score(probe(max(PROBE, self.spec.min_size, self.spec.test_crop or 0))).tolist()


def load_nr(path: Path | str, *, device: str = "cpu") -> NRModel:
    """Read a model that :meth:`NRModel.save` wrote; neither the data nor the initial weights are needed.

    Raises:
        NRError: the file is missing or damaged, holds something else, or does not score its probe as before.
    """
    path = expanded(path)
    if not path.is_file():
        raise NRError(f"no model file '{path}'")
    try:
        about = read_metadata(path)
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if about.get("kind") != KIND:
            raise NRError(f"'{path}' is not a no-reference model; its metadata: {str(about)[:80]}")
        spec = NRSpec.model_validate(about["spec"])
        # All weights come from the file: the initial ones do not matter and may no longer exist.
        trunk = build_trunk(spec.model_copy(update={"initialisation": Random()}))
        network = Network(spec, trunk, torch.Generator())
        network.load_state_dict(state)
        model = NRModel(spec, about["identity"], network, about["training"])
        seen, expected = model.answer(), [float(value) for value in about["answer"]]
        allowed = TOLERANCE * float(model.training["deviation"])
        right = all(abs(a - b) <= allowed for a, b in zip(expected, seen, strict=True))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise NRError(f"cannot read model '{path}': {one_line(error)}") from None
    if not right:
        raise NRError(
            f"'{path}' fails its known-answer test: it scores the probe {_shown(seen)}, expected {_shown(expected)}; "
            "the file was changed, or this version of lopsided computes something else"
        )
    network.to(device)
    return model


def _shown(scores: list[float]) -> str:
    return " and ".join(f"{score:.6g}" for score in scores)
