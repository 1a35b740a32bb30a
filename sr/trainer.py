"""Train a super-resolver with pixel, fidelity and adversarial terms; resumable to the bit.

Everything random at step *t* is drawn from (seed, stream, t) alone, so a resumed run repeats what an uninterrupted one
would have drawn, without any generator state in the checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..common.identity import canonical_json
from ..discriminators import Discriminator, Objective, gradient_penalty
from ..losses import Measure, gradient_matching_weight
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .images import PairCache
from .spec import FinetuneSpec, TrainingSpec

MATCHING_BATCHES = 4  # batches over which gradient norms are averaged; their crops come from a stream of their own

Section = Callable[[str], AbstractContextManager[Any]]


class DivergedError(Exception):
    """A loss or gradient became non-finite. A result, not a fault: the cell records it and keeps its history."""

    def __init__(self, step: int, term: str, value: float) -> None:
        super().__init__(f"{term} became {value} at step {step}")
        self.step, self.term, self.value = step, term, value


class StoppedError(Exception):
    """Training was asked to stop and has saved a checkpoint."""


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
        discriminator: network to logits.
        objective: the losses of both players.
        weight: weight of the generator's loss.
        learning_rate: the discriminator's.
        gradient_penalty: weight of the penalty that holds its slope to 1 (Wasserstein); 0 for none.
    """

    discriminator: Discriminator
    objective: Objective
    weight: float
    learning_rate: float
    gradient_penalty: float = 0.0


class Trainer:
    """One training run of a generator.

    Args:
        spec: steps, batch, schedule.
        generator: LR ``(N, 3, h, w)`` to HR, trained in place.
        pairs: HR/LR image pairs to crop from.
        seed: seed of the crops and of anything random in the networks.
        stream: name of the sequence of crops; runs with equal seed and stream see equal crops.
        fidelity: fidelity term, if any.
        adversarial: adversarial term, if any.
        device: where the networks run.
        section: called with the name of each part of a step, returns a context manager; for timing.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        generator: nn.Module,
        pairs: PairCache,
        *,
        seed: int,
        stream: str,
        fidelity: Fidelity | None = None,
        adversarial: Adversarial | None = None,
        device: str = "cpu",
        section: Section = lambda _: contextlib.nullcontext(),
    ) -> None:
        self.spec, self.pairs, self.fidelity, self.adversarial = spec, pairs, fidelity, adversarial
        self.device, self.section = torch.device(device), section
        self._entropy = (seed, zlib.crc32(stream.encode()))
        self.step = 0
        self.generator = generator.to(self.device).train()
        self.pixel_weight = spec.pixel_weight if isinstance(spec, FinetuneSpec) else 1.0
        # Buffers (masks, indices) are constants and are copied: averaging integers would round them.
        self.average = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(spec.ema))
        self.optimiser = torch.optim.Adam(self.generator.parameters(), spec.learning_rate, betas=spec.betas)
        self.discriminator_optimiser: torch.optim.Adam | None = None
        if fidelity:
            fidelity.measure.to(self.device)
        if adversarial:
            discriminator = adversarial.discriminator.to(self.device).train()
            learnt = [p for p in discriminator.parameters() if p.requires_grad]
            self.discriminator_optimiser = torch.optim.Adam(learnt, adversarial.learning_rate, betas=spec.betas)

    # --- the loop -----------------------------------------------------------------------------------------------

    def run(
        self,
        folder: Path,
        *,
        checkpoint_every: int,
        progress: Callable[[int, float], None] = lambda _step, _loss: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the last step, from the newest whole checkpoint in ``folder`` if there is one.

        History goes to ``folder/history.jsonl``, one line a window of ``log_every`` steps.

        Args:
            folder: working folder of the run.
            checkpoint_every: steps between checkpoints; they are written at the end of a window.
            progress: called at the end of each window with the step and the mean total loss.
            stop: asked at the end of each window; True saves a checkpoint and raises StoppedError.

        Raises:
            DivergedError: a term or a gradient became non-finite.
            StoppedError: ``stop`` said so.
            OSError: a checkpoint or the history cannot be written.
        """
        history = folder / "history.jsonl"
        self._resume(folder, history)
        if self.fidelity and self.fidelity.weight is None:
            self.match_gradients()
        window: list[Tensor] = []
        saved, began = self.step, time.perf_counter()
        while self.step < self.spec.steps:
            terms = self.train_step()
            window.append(torch.stack([value.detach().float() for value in terms.values()]))
            if len(window) < self.spec.log_every and self.step < self.spec.steps:
                continue
            # The only transfer from the device, once a window.
            values = torch.stack(window).double().cpu().numpy()
            window.clear()
            row = self._checked(list(terms), values)
            seconds, began = time.perf_counter() - began, time.perf_counter()
            with self.section("logging"):
                append_line(history, {"step": self.step, **row, "seconds": seconds})
                progress(self.step, row["total"])
            stopping = stop() and self.step < self.spec.steps
            if stopping or (self.step - saved >= checkpoint_every and self.step < self.spec.steps):
                with self.section("checkpoint"):
                    save_checkpoint(folder, self.state())
                saved = self.step
            if stopping:
                raise StoppedError(f"stopped after step {self.step}")

    def train_step(self) -> dict[str, Tensor]:
        """Do one step and return its terms, on the device, without waiting for it."""
        spec, section = self.spec, self.section
        factor = spec.learning_rate_factor(self.step)
        with section("data"):
            low, high = self.batch(self.step)
        _seed(_mix(*self._entropy, self.step), self.device)  # dropout and stochastic depth
        with section("generator"):
            restored = self.generator(low)
        # The losses' gradients are taken with respect to the image, then sent through the generator at once: same
        # numbers as one backward pass, and each term's pull on the image is there to be recorded.
        image = restored.detach().requires_grad_()
        terms: dict[str, Tensor] = {}
        with section("pixel"):
            # Not clamped and not checked: a generator that blows up is a result, which ends as diverged.
            terms["pixel"] = F.l1_loss(image, high)
            gradient = self.pixel_weight * _gradient(terms["pixel"], image)
            total = self.pixel_weight * terms["pixel"].detach()
            terms["gradient_pixel"] = gradient.norm()
        if self.fidelity:
            with section("fidelity"):
                weight = self.fidelity.weight or 0.0
                # Clamped: a metric is defined on [0, 1]; the pixel term pulls overshooting values back.
                terms["fidelity"] = self.fidelity.measure(image.clamp(0, 1), high)
                part = weight * _gradient(terms["fidelity"], image)
                total = total + weight * terms["fidelity"].detach()
                gradient, terms["gradient_fidelity"] = gradient + part, part.norm()
        if self.adversarial:
            with section("discriminator"):
                logits, real = self.adversarial.discriminator(image.clamp(0, 1)), None
                if self.adversarial.objective.needs_real:
                    with torch.no_grad():
                        real = self.adversarial.discriminator(high)
                terms["adversarial"] = self.adversarial.objective.generator(logits, real)
                part = self.adversarial.weight * _gradient(terms["adversarial"], image)
                total = total + self.adversarial.weight * terms["adversarial"].detach()
                gradient, terms["gradient_adversarial"] = gradient + part, part.norm()
        with section("generator"):
            restored.backward(gradient)
        with section("optimiser"):
            _step(self.optimiser, spec.learning_rate * factor)
            self.average.update_parameters(self.generator)
        if self.adversarial:
            self._train_discriminator(self.adversarial, high, image.detach().clamp(0, 1), factor, terms)
        terms["total"] = total
        self.step += 1
        return terms

    def _train_discriminator(
        self, adversarial: Adversarial, real: Tensor, fake: Tensor, factor: float, terms: dict[str, Tensor]
    ) -> None:
        with self.section("discriminator"):
            real_logits, fake_logits = adversarial.discriminator(real), adversarial.discriminator(fake)
            loss = adversarial.objective.discriminator(real_logits, fake_logits)
            if adversarial.gradient_penalty:
                draws = torch.Generator().manual_seed(_mix(*self._entropy, self.step))
                penalty = gradient_penalty(adversarial.discriminator, real, fake, draws)
                loss = loss + adversarial.gradient_penalty * penalty
                terms["gradient_penalty"] = penalty
            loss.backward()
            terms["discriminator"] = loss
            terms["d_real"], terms["d_fake"] = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
            terms["d_accuracy"] = 0.5 * ((real_logits > 0).float().mean() + (fake_logits <= 0).float().mean())
        with self.section("optimiser"):
            if self.discriminator_optimiser is not None:
                _step(self.discriminator_optimiser, adversarial.learning_rate * factor)

    def match_gradients(self) -> None:
        """Set the fidelity weight so that its gradient on the image has the pixel term's norm (before training).

        Raises:
            MeasureError: a gradient is zero or not finite.
        """
        if not self.fidelity:
            return
        scale = self.spec.fidelity_weight if isinstance(self.spec, FinetuneSpec) else 1.0
        pairs = []
        self.generator.eval()  # stochastic depth would make the weight depend on what was drawn before
        for index in range(MATCHING_BATCHES):
            low, high = self.batch(-1 - index)
            with torch.no_grad():
                pairs.append((self.generator(low).clamp(0, 1), high))
        self.generator.train()
        self.fidelity.weight = scale * gradient_matching_weight(self.fidelity.measure, F.l1_loss, pairs)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the LR and HR crops of ``step``, float in [0, 1] on the device."""
        rng = np.random.default_rng((*self._entropy, step % (1 << 32)))
        low, high = self.pairs.crop(
            rng, lr_patch=self.spec.patch // self.pairs.scale, batch=self.spec.batch, augment=self.spec.augment
        )
        return self._tensor(low), self._tensor(high)

    def _tensor(self, crops: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(crops).to(self.device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2).contiguous().float().div_(255)

    def _checked(self, names: list[str], values: np.ndarray) -> dict[str, float]:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0]
            raise DivergedError(self.step - len(values) + int(row) + 1, names[column], float(values[row, column]))
        means = dict(zip(names, values.mean(0).tolist(), strict=True))
        means["learning_rate"] = self.spec.learning_rate * self.spec.learning_rate_factor(self.step - 1)
        return means

    # --- state --------------------------------------------------------------------------------------------------

    def state(self) -> Checkpoint:
        """Return everything that the next step depends on."""
        tensors = {f"generator/{k}": v for k, v in self.generator.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        tensors |= _adam_tensors("optimiser", self.optimiser)
        if self.adversarial and self.discriminator_optimiser:
            network = self.adversarial.discriminator
            tensors |= {f"discriminator/{k}": v for k, v in network.state_dict().items()}
            tensors |= _adam_tensors("discriminator_optimiser", self.discriminator_optimiser)
        return Checkpoint(self.step, tensors, {"fidelity_weight": self.fidelity.weight if self.fidelity else None})

    def restore_state(self, checkpoint: Checkpoint) -> None:
        """Continue from ``checkpoint``."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            part, _, key = name.partition("/")
            parts.setdefault(part, {})[key] = tensor
        self.generator.load_state_dict(parts["generator"])
        self.average.load_state_dict(parts["average"])
        _load_adam(self.optimiser, parts.get("optimiser", {}))
        if self.adversarial and self.discriminator_optimiser:
            self.adversarial.discriminator.load_state_dict(parts["discriminator"])
            _load_adam(self.discriminator_optimiser, parts.get("discriminator_optimiser", {}))
        if self.fidelity:
            self.fidelity.weight = checkpoint.scalars["fidelity_weight"]
        self.step = checkpoint.step

    def averaged_generator(self) -> nn.Module:
        """Return the generator with averaged weights, which is the one to keep."""
        return self.average.module

    def _resume(self, folder: Path, history: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = load_checkpoint(folder)
        if checkpoint:
            self.restore_state(checkpoint)
        # Windows logged after the checkpoint will be computed, and logged, again.
        kept = [row for row in read_lines(history) if row["step"] <= self.step]
        history.unlink(missing_ok=True)
        for row in kept:
            append_line(history, row)


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line; a line cut off by a kill is passed over by :func:`read_lines`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole JSON lines of ``path``; the last one may have been cut off by a kill."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _gradient(loss: Tensor, image: Tensor) -> Tensor:
    return torch.autograd.grad(loss, image)[0]


def _step(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _seed(seed: int, device: torch.device) -> None:
    # Not torch.manual_seed: while CUDA sleeps that records a stack trace for it, a millisecond each step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _adam_tensors(prefix: str, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{prefix}/{index}/{name}": v for index, values in state.items() for name, v in values.items()}


def _load_adam(optimiser: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


__all__ = ["Adversarial", "DivergedError", "Fidelity", "StoppedError", "Trainer", "read_lines"]
