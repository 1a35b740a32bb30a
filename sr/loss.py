"""The terms of a training step: values, gradients on the restored image, and the discriminator's own loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..discriminators import Augmentation, Discriminator, Objective, augment, gradient_penalty, r1_penalty, r2_penalty
from ..losses import Measure
from .adversarial_share import AdversarialShare

Section = Callable[[str], AbstractContextManager[Any]]
Terms = dict[str, Tensor]


@dataclass
class Fidelity:
    """The fidelity term of the loss.

    Attributes:
        measure: the measure, as a loss.
        weight: its weight; None until :meth:`Trainer.match_gradients` has measured it.
    """

    measure: Measure[Any]
    weight: float | None


@dataclass
class Adversarial:
    """The adversarial term of the loss.

    Attributes:
        discriminator: images to logits.
        objective: the losses of both players.
        weight: weight of the generator's loss, or what holds its share of the gradient.
        learning_rate: the discriminator's.
        gradient_penalty: weight of the penalty that keeps its slope near 1 (Wasserstein); 0 for none.
        r1_penalty: weight of the penalty on its slope at real images.
        r2_penalty: weight of the penalty on its slope at restored images.
        augmentation: differentiable augmentations of the images that it sees.
    """

    discriminator: Discriminator
    objective: Objective
    weight: float | AdversarialShare
    learning_rate: float
    gradient_penalty: float = 0.0
    r1_penalty: float = 0.0
    r2_penalty: float = 0.0
    augmentation: Sequence[Augmentation] = ()


class StepLoss:
    """The loss of a (micro-)batch.

    Gradients are computed with respect to the restored image, and their sum then goes through the generator once: this
    gives the same numbers as one backward pass, and each term's gradient on the image can be recorded.

    Args:
        pixel_weight: weight of the pixel loss (L1).
        fidelity: fidelity term, if any.
        adversarial: adversarial term, if any.
        autocast: context in which the discriminator runs.
        section: see :class:`Trainer`.
    """

    def __init__(
        self,
        pixel_weight: float,
        fidelity: Fidelity | None,
        adversarial: Adversarial | None,
        *,
        autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
        section: Section = lambda _: contextlib.nullcontext(),
    ) -> None:
        self.pixel_weight, self.fidelity, self.adversarial = pixel_weight, fidelity, adversarial
        self.autocast, self.section = autocast, section

    def __call__(
        self, restored: Tensor, high: Tensor, share: float, draws: torch.Generator
    ) -> tuple[Tensor, Terms, Terms]:
        """Evaluate the terms, and add the discriminator's gradient to its parameters.

        Args:
            restored: restored images ``(N, 3, H, W)``, not clamped.
            high: the references, in [0, 1].
            share: the weight of this micro-batch in the step.
            draws: source of all that is random in augmentation and penalties.

        Returns:
            The gradient on the image, the terms, and each weighted term's squared norm of its gradient on the image,
            all without ``share``.
        """
        image = restored.detach().float().requires_grad_()
        terms: Terms = {}
        pulls: Terms = {}
        with self.section("pixel"):
            # Neither clamped nor checked: a generator that blows up is a result, which ends as diverged.
            terms["pixel"] = F.l1_loss(image, high)
            gradient = self.pixel_weight * _gradient(terms["pixel"], image)
            total = self.pixel_weight * terms["pixel"].detach()
            pulls["pixel"] = gradient.square().sum()
        if self.fidelity:
            with self.section("fidelity"):
                weight = self.fidelity.weight or 0.0
                # Clamped: a metric is defined on [0, 1]; the pixel term pulls overshooting values back.
                terms["fidelity"] = self.fidelity.measure(image.clamp(0, 1), high)
                part = weight * _gradient(terms["fidelity"], image)
                total = total + weight * terms["fidelity"].detach()
                gradient, pulls["fidelity"] = gradient + part, part.square().sum()
        if self.adversarial:
            with self.section("discriminator"):
                part = self._play(self.adversarial, image, high, share, draws, terms)
                weight = self.adversarial.weight
                if isinstance(weight, AdversarialShare):
                    others = torch.stack([square.sqrt() for square in pulls.values()]).sum()
                    weight = weight.weight(others=others, adversarial=part.norm())
                    terms["adversarial_weight"] = weight
                part = weight * part
                total = total + weight * terms["adversarial"]
                gradient, pulls["adversarial"] = gradient + part, part.square().sum()
        return gradient, {**terms, "total": total}, pulls

    def _play(
        self, players: Adversarial, image: Tensor, real: Tensor, share: float, draws: torch.Generator, terms: Terms
    ) -> Tensor:
        """Evaluate both players' losses on one pass each over real and restored images.

        Returns the gradient of the generator's loss on the image; that of the discriminator's is added to its
        parameters. Both players see the discriminator as it was before the step.
        """
        # The discriminator sees restored images clamped, as files are; both kinds are augmented, with separate draws.
        fake, real = (augment(images, players.augmentation, draws) for images in (image.clamp(0, 1), real))
        with self.autocast():
            fake_logits, real_logits = (players.discriminator(images) for images in (fake, real))
        fake_logits, real_logits = fake_logits.float(), real_logits.float()
        loss = players.objective.generator(fake_logits, real_logits.detach() if players.objective.needs_real else None)
        pull = torch.autograd.grad(loss, image, retain_graph=True)[0]
        terms["adversarial"] = loss.detach()
        loss = players.objective.discriminator(real_logits, fake_logits)
        terms["discriminator"] = loss.detach()
        # Outside autocast: slopes in bf16 are too coarse to be kept near 1.
        network, fixed = players.discriminator, fake.detach()
        for name, weight, penalty in (
            ("gradient_penalty", players.gradient_penalty, lambda: gradient_penalty(network, real, fixed, draws)),
            ("r1_penalty", players.r1_penalty, lambda: r1_penalty(network, real)),
            ("r2_penalty", players.r2_penalty, lambda: r2_penalty(network, fixed)),
        ):
            if weight:
                value = penalty()
                loss, terms[name] = loss + weight * value, value.detach()
        (share * loss).backward(inputs=[p for p in players.discriminator.parameters() if p.requires_grad])
        with torch.no_grad():
            terms["d_real"], terms["d_fake"] = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
            threshold = players.objective.threshold
            if threshold is None:  # only differences of logits have a meaning
                threshold = (real_logits.mean() + fake_logits.mean()) / 2
            right = (real_logits > threshold).float().mean() + (fake_logits <= threshold).float().mean()
            terms["d_accuracy"] = right / 2
        return pull


def _gradient(loss: Tensor, image: Tensor) -> Tensor:
    return torch.autograd.grad(loss, image)[0]
