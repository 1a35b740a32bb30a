"""Learning the weights alpha and beta of DISTS from labelled images, by the two recipes of the literature.

The backbone is frozen, so an image pair is known by its texture and structure similarities. Given those, learning is
a problem of two numbers per channel, solved here in float64 on the CPU in seconds. Weights are positive through a
softplus and sum to 1. Equal examples, spec and thread count give equal weights, bit for bit.

``mos``       Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022.
``pairwise``  Chen et al., "Toward Generalized Image Quality Assessment: Relaxing the Perfect Reference Quality
              Assumption" (A-FINE), CVPR 2025, stage 2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional

from ..common.errors import LopsidedError, did_you_mean
from ..common.fields import BATCH, COUNT, NUMBER, SIDE, STEPS, ByKey, Settings
from ..common.identity import identity
from .dists import DistsSpec
from .measure import MeasureSpec

INITIAL = (0.1, 0.01)  # mean and deviation of the raw weights at the start, in both papers
LOGGED = 50  # entries of a history

Loss = Callable[[Tensor, Tensor, torch.Generator], Tensor]


class LearningError(LopsidedError):
    """Examples that no weights can be learnt from."""


@dataclass(frozen=True)
class Examples:
    """Labelled images, each reduced to its dissimilarities from its reference.

    Attributes:
        dissimilarity: ``(N, 2C)``, float64: 1 - texture of every channel, then 1 - structure; 0 is identical.
        quality: ``(N,)``, float64: labels, turned so that higher is better.
        deviation: ``(N,)``, float64: standard deviation of each label; NaN where unknown.
        reference: ``(N,)``, whole numbers: which images share a reference.
    """

    dissimilarity: Tensor
    quality: Tensor
    deviation: Tensor
    reference: Tensor

    def __post_init__(self) -> None:
        """Raise LearningError if a value is not finite, or all labels are equal."""
        if not (torch.isfinite(self.dissimilarity).all() and torch.isfinite(self.quality).all()):
            raise LearningError("a dissimilarity or a label is not finite; leave that image out")
        if len(self.quality) < 2 or self.quality.min() == self.quality.max():
            raise LearningError(f"the {len(self.quality)} labels to learn from are all equal; nothing can be learnt")


class Recipe(Settings, ABC):
    """How weights are learnt.

    Attributes:
        steps: optimiser steps.
        batch: images or pairs per step, drawn with replacement.
        learning_rate: at the start.
        sharpness: of the softplus (1/sharpness)·log(1 + exp(sharpness·raw)) that keeps weights positive.
    """

    sharpness: ClassVar[float]

    steps: int = Field(ge=1, le=STEPS, description="Optimiser steps.")
    batch: int = Field(ge=1, le=BATCH, description="Images or pairs per step.")
    learning_rate: float = Field(gt=0, le=NUMBER, allow_inf_nan=False, description="Learning rate at the start.")

    @abstractmethod
    def optimizer(self, raw: Tensor, scale: Tensor) -> torch.optim.Optimizer:
        """Return the optimiser of the raw weights and the logarithm of the scale."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """Return the factor on the learning rate at a step, counted from 0."""

    @abstractmethod
    def loss(self, examples: Examples, textures: Tensor | None) -> Loss:
        """Return the loss of (weights ``(2C,)``, log scale, generator that draws the batch)."""

    def initial_scale(self, distance: Tensor) -> float:
        """Return the scale of the distance at the start, given the distances ``(N,)`` under equal weights."""
        del distance
        return 1.0


class MosRecipe(Recipe):
    """L1 between distance and label, plus the distance between two crops of one texture, which should be small.

    The labels to learn from are mapped linearly to [0, 1], the best to 0 and the worst to 1. The original learns on
    crops of 256 pixels of KADID-10k and draws new texture crops at every step; here an image is taken whole, and the
    texture crops are drawn once. Its published weights are at a bound in most channels (1,063 of the 1,475 beta are
    equal to the smallest), so they moved freely down to it; the sharp softplus lets ours do the same.

    Attributes:
        halve_every: steps after which the learning rate of Adam is halved.
        texture_weight: weight of the texture term; 0 leaves it out.
        texture_crop: side of the texture crops in pixels.
        texture_pairs: pairs of crops from each texture.
    """

    sharpness: ClassVar[float] = 100.0

    name: Literal["mos"] = "mos"
    steps: int = Field(default=5000, ge=1, le=STEPS, description="Optimiser steps.")
    batch: int = Field(default=32, ge=1, le=BATCH, description="Images per step.")
    learning_rate: float = Field(
        default=1e-4, gt=0, le=NUMBER, allow_inf_nan=False, description="Adam's learning rate."
    )
    halve_every: int = Field(default=1000, ge=1, le=STEPS, description="Steps after which the learning rate is halved.")
    texture_weight: float = Field(
        default=1.0, ge=0, le=NUMBER, allow_inf_nan=False, description="Weight of the texture term."
    )
    texture_crop: int = Field(default=256, ge=16, le=SIDE, description="Side of the texture crops in pixels.")
    texture_pairs: int = Field(default=16, ge=1, le=COUNT, description="Pairs of crops from each texture.")

    def optimizer(self, raw: Tensor, scale: Tensor) -> torch.optim.Optimizer:
        """Adam; the distance is not scaled."""
        del scale
        return torch.optim.Adam([raw], lr=self.learning_rate)

    def rate(self, step: int) -> float:
        """Halved every ``halve_every`` steps."""
        return 0.5 ** (step // self.halve_every)

    def loss(self, examples: Examples, textures: Tensor | None) -> Loss:
        """See the class.

        Raises:
            LearningError: there is a texture term but no textures.
        """
        if self.texture_weight and textures is None:
            raise LearningError("recipe 'mos' needs textures; give some, or set its texture_weight to 0")
        worst, best = examples.quality.min(), examples.quality.max()
        target = (best - examples.quality) / (best - worst)

        def value(weights: Tensor, _scale: Tensor, generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(target), (self.batch,), generator=generator)
            loss = (examples.dissimilarity[rows] @ weights - target[rows]).abs().mean()
            if self.texture_weight and textures is not None:
                crops = torch.randint(len(textures), (self.batch,), generator=generator)
                loss = loss + self.texture_weight * (textures[crops] @ weights).mean()
            return loss

        return value


class PairwiseRecipe(Recipe):
    """Fidelity loss between the predicted and the labelled probability that the one image is better than the other.

    As in the source: pairs of one reference; Φ((d₂ - d₁)/√2) of the raw distances (scale 1); AdamW with betas
    (0.9, 0.99). Unlike it: partners are drawn at every step instead of once (round(log₂ n) per image); the pristine
    reference is not part of the pairs; the labelled probability is Thurstone's where both deviations are known, else
    1, 0 or ½ as in the source; one cosine instead of four with restarts, over fewer steps (40,000 there).

    Attributes:
        weight_decay: AdamW's, on the raw weights.
        pairs: ``reference`` compares images of one reference, ``set`` any two.
        scale: factor on the distance inside Φ. Distances are in [0, 1], where a scale of 1 gives probabilities of 0.24
            to 0.76 and an almost linear loss. ``learnt`` starts at one over the standard deviation of the distances
            under equal weights, and is learnt together with the weights.
    """

    sharpness: ClassVar[float] = 1.0

    name: Literal["pairwise"] = "pairwise"
    steps: int = Field(default=5000, ge=1, le=STEPS, description="Optimiser steps.")
    batch: int = Field(default=128, ge=1, le=BATCH, description="Pairs per step.")
    learning_rate: float = Field(
        default=5e-4, gt=0, le=NUMBER, allow_inf_nan=False, description="AdamW's learning rate."
    )
    weight_decay: float = Field(default=1e-3, ge=0, le=NUMBER, allow_inf_nan=False, description="AdamW's weight decay.")
    pairs: Literal["reference", "set"] = Field(default="reference", description="Pairs of one reference, or any.")
    scale: Annotated[float, Field(gt=0, le=NUMBER, allow_inf_nan=False)] | Literal["learnt"] = Field(
        default=1.0, description="Factor on the distance inside Φ; the source has 1."
    )

    def optimizer(self, raw: Tensor, scale: Tensor) -> torch.optim.Optimizer:
        """AdamW; the scale does not decay."""
        groups: list[dict[str, Any]] = [{"params": [raw]}]
        if self.scale == "learnt":
            groups.append({"params": [scale], "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay)

    def rate(self, step: int) -> float:
        """One half cosine over all steps."""
        return (1 + math.cos(math.pi * step / self.steps)) / 2

    def initial_scale(self, distance: Tensor) -> float:
        """See the class."""
        if self.scale != "learnt":
            return self.scale
        return 1 / max(float(distance.std()), 1e-6)

    def loss(self, examples: Examples, textures: Tensor | None) -> Loss:
        """See the class.

        Raises:
            LearningError: no two images of one reference.
        """
        del textures
        group = examples.reference if self.pairs == "reference" else torch.zeros_like(examples.reference)
        partners = Partners(group)

        def value(weights: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
            first, second = partners.draw(self.batch, generator)
            rows, places = torch.unique(torch.stack([first, second]), return_inverse=True)  # of few images, each once
            distance = (examples.dissimilarity[rows] @ weights)[places]
            predicted = preference(distance[0], distance[1], scale.exp())
            return fidelity_loss(predicted, labelled_preference(examples, first, second))

        return value


RECIPES = ["mos", "pairwise"]


def _by_name(value: Any) -> Any:
    if isinstance(value, Recipe):
        return value
    name = value.get("name") if isinstance(value, dict) else value
    if name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        raise ValueError(f"unknown recipe {name!r}; {hint}" if name else f"a recipe needs a name; {hint}")
    return value if isinstance(value, dict) else {"name": name}


AnyRecipe = Annotated[
    Annotated[MosRecipe | PairwiseRecipe, Field(discriminator="name")], BeforeValidator(_by_name), ByKey(RECIPES)
]
"""Field type of a recipe: ``mos``, ``pairwise``, or a mapping of ``name`` and the recipe's numbers."""


class LearningSpec(Settings):
    """What determines the weights besides the images.

    Attributes:
        recipe: how they are learnt.
        held_out: share of the references that are kept from learning, for the results.
        split_seed: seed of the choice of those references.
        seed: seed of the raw weights at the start, of batches and of texture crops.
    """

    version: ClassVar[int] = 1

    recipe: AnyRecipe = Field(default=PairwiseRecipe(), description="mos or pairwise; or a mapping with its numbers.")
    held_out: float = Field(default=0.2, gt=0, lt=1, description="Share of references kept from learning.")
    split_seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the choice of held-out references.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of learning.")

    @property
    def identity(self) -> str:
        """Short content hash of the definition."""
        return identity({"kind": "learning", "version": self.version, **self.definition()})

    def definition(self) -> dict[str, Any]:
        """Return the fields, as JSON values."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Weights:
    """Learnt weights; ``alpha`` and ``beta`` are ``(C,)``, float64, positive, and sum to 1 together.

    Attributes:
        alpha: weights of the texture terms.
        beta: weights of the structure terms.
        history: ``step`` (from 1), mean ``loss`` since the entry before, and ``scale`` of the distance.
    """

    alpha: Tensor
    beta: Tensor
    history: tuple[dict[str, float], ...]


def learnable(measure: MeasureSpec) -> DistsSpec:
    """Return the measure, if it is one whose weights can be learnt.

    Raises:
        LearningError: it is not a DISTS, or it has weights already.
    """
    if not isinstance(measure, DistsSpec):
        raise LearningError(f"weights can be learnt for a DISTS only, such as 'dists-vgg16-r'; got '{measure.key}'")
    if measure.alpha_beta != "uniform":
        raise LearningError(
            f"'{measure.key}' has weights already (alpha_beta: {measure.alpha_beta}); learn weights for a uniform one, "
            f"such as 'dists-{measure.backbone.name}'"
        )
    return measure


def learn(
    examples: Examples,
    spec: LearningSpec,
    textures: Tensor | None = None,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> Weights:
    """Learn alpha and beta.

    Args:
        examples: the images to learn from, without the held-out ones.
        spec: recipe and seed.
        textures: dissimilarities of two crops of one texture each, ``(M, 2C)``, float64; for recipe ``mos``.
        progress: told (steps done, steps in all, loss).

    Raises:
        LearningError: too few examples for the recipe, or a loss that is not finite.
    """
    recipe = spec.recipe
    generator = torch.Generator().manual_seed(spec.seed)
    mean, deviation = INITIAL
    count = examples.dissimilarity.shape[1]
    start = mean + deviation * torch.randn(count, generator=generator, dtype=torch.float64)
    raw = start.requires_grad_()
    first_scale = recipe.initial_scale(examples.dissimilarity.mean(1))
    scale = torch.tensor(math.log(first_scale), dtype=torch.float64, requires_grad=True)
    loss_of, optimizer = recipe.loss(examples, textures), recipe.optimizer(raw, scale)
    every = max(1, recipe.steps // LOGGED)
    history, losses = [], list[float]()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * recipe.rate(step)
        optimizer.zero_grad()
        loss = loss_of(normalised(raw, recipe.sharpness), scale, generator)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            if not math.isfinite(sum(losses)):
                raise LearningError(f"the loss is not finite at step {step + 1}; lower the learning rate")
            mean_loss = sum(losses) / len(losses)
            history.append({"step": step + 1, "loss": mean_loss, "scale": float(scale.detach().exp())})
            losses.clear()
            progress(step + 1, recipe.steps, f"loss {mean_loss:.4f}")
    alpha, beta = normalised(raw.detach(), recipe.sharpness).chunk(2)
    return Weights(alpha.clone(), beta.clone(), tuple(history))


def normalised(raw: Tensor, sharpness: float) -> Tensor:
    """Return positive weights that sum to 1, made from raw ones of any sign."""
    weights = functional.softplus(raw, beta=sharpness)
    return weights / weights.sum()


def preference(first: Tensor, second: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Return the probability that the first image is better, Φ(scale·(d₂ - d₁)/√2), of distances ``(N,)``."""
    return torch.special.ndtr(scale * (second - first) / math.sqrt(2))


def labelled_preference(examples: Examples, first: Tensor, second: Tensor) -> Tensor:
    """Return the labelled probability that the first image of each pair is better.

    Φ((q₁ - q₂)/√(s₁² + s₂²)) where both deviations are known and not both 0 (Thurstone); else 1, 0 or, of equal
    labels, ½.
    """
    difference = examples.quality[first] - examples.quality[second]
    spread = (examples.deviation[first].square() + examples.deviation[second].square()).sqrt()
    return torch.where(spread > 0, torch.special.ndtr(difference / spread), (difference.sign() + 1) / 2)


def fidelity_loss(predicted: Tensor, labelled: Tensor) -> Tensor:
    """Return the mean of 1 - √(pg) - √((1-p)(1-g)); 0 where both agree (up to eps), at most 1.

    ``eps`` inside each root (1e-8, as in the source) keeps gradients finite at probabilities of 0 and 1.
    """
    eps = 1e-8
    agreement = (predicted * labelled + eps).sqrt() + ((1 - predicted) * (1 - labelled) + eps).sqrt()
    return (1 - agreement).mean()


class Partners:
    """Pairs of two different members of one group, ``group`` being ``(N,)``.

    Raises:
        LearningError: no group has two members.
    """

    def __init__(self, group: Tensor) -> None:
        self.order = torch.argsort(group, stable=True)
        _, sizes = torch.unique_consecutive(group[self.order], return_counts=True)
        self.size = sizes.repeat_interleave(sizes)
        self.start = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        self.able = (self.size > 1).nonzero().flatten()
        if not len(self.able):
            raise LearningError("no two images share a reference, so there are no pairs; set 'pairs: set'")

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (first, second) members of ``count`` pairs: any member, and any other of its group."""
        place = self.able[torch.randint(len(self.able), (count,), generator=generator)]
        size, start = self.size[place], self.start[place]
        step = 1 + (torch.rand(count, generator=generator, dtype=torch.float64) * (size - 1)).long()
        return self.order[place], self.order[start + (place - start + step) % size]
