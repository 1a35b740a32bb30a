"""Training of a generator with pixel, fidelity and adversarial terms; a resumed run equals an uninterrupted one.

Everything random at a step depends on (seed, stream, step, micro-batch) alone. So a resumed run draws what an
uninterrupted one would have drawn, without any state of random generators in the checkpoint, and it does not matter
which process or thread draws it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..common.files import clear_temporary
from ..losses import gradient_matching_weight
from .adversarial_share import AdversarialShare
from .checkpoint import HISTORY, Checkpoint, checkpoints, save_checkpoint
from .distributed import current_ranks
from .history import NOTHING, HistoryFile, Written
from .images import PairCache
from .loader import Key, Loader
from .loss import Adversarial, Fidelity, Section, StepLoss, Terms
from .spec import FinetuneSpec, Runtime, TrainingSpec
from .tensorboard import TensorBoard
from .validation import Ranking, Validation, first_non_finite

log = logging.getLogger(__name__)

MATCHING_BATCHES = 16  # batches over which gradient norms are averaged; their crops come from a stream of their own
WEIGHTS = "top"  # folder of the best weights


class DivergedError(Exception):
    """A loss or gradient became non-finite too often. This is a result, which a cell records with its history."""

    def __init__(self, step: int, term: str, value: float, skipped: int = 0) -> None:
        after = f", after {skipped} skipped step(s)" if skipped else ""
        super().__init__(f"{term} became {value} at step {step}{after}")
        self.step, self.term, self.value = step, term, value


class StoppedError(Exception):
    """Training was asked to stop and has saved a checkpoint."""


@dataclass(frozen=True)
class Skip:
    """A step that changed nothing, because a term or a gradient was not finite.

    Attributes:
        step: the step, from 1.
        term: the first non-finite term, in the order of computation.
        value: its value.
    """

    step: int
    term: str
    value: float


@dataclass(frozen=True)
class Player:
    """A network that is trained, and how.

    Attributes:
        network: the network.
        optimiser: optimises its trainable parameters.
        peak: its learning rate after warm-up.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    peak: float


class Trainer:
    """One training run of a generator.

    Args:
        spec: steps, batch, schedule, precision.
        generator: LR ``(N, 3, h, w)`` to HR, trained in place.
        pairs: HR/LR image pairs to crop from.
        seed: seed of the crops and of anything random in the networks.
        stream: name of the sequence of crops; runs with equal seed and stream see equal crops.
        fidelity: fidelity term, if any.
        adversarial: adversarial term, if any.
        validation: if given, scores averaged weights at intervals and keeps the best.
        runtime: device, memory layout, compilation.
        section: called with the name of each part of a step, returns a context manager; for timing.

    Attributes:
        players: the networks that are trained: ``generator``, and ``discriminator`` if there is one.
        step: steps done.
        skipped: those of them that changed nothing.
        ranking: the best weights so far, once :meth:`run` has begun.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.sr import GeneratorSpec, build_generator
        >>> photographs = SkimageSource(split="train").items()[:1]
        >>> generator = build_generator(GeneratorSpec(name="swinir-tiny"), 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = PairCache.build(photographs, 2, f"{folder}/cache")
        ...     trainer = Trainer(TrainingSpec(steps=2, batch=1, patch=16), generator, cache, seed=0, stream="demo")
        ...     trainer.run(f"{folder}/run", checkpoint_every=1)
        >>> trainer.step, len(trainer.skipped)
        (2, 0)
        >>> restored = trainer.averaged_generator()(torch.rand(1, 3, 8, 8))
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
        validation: Validation | None = None,
        runtime: Runtime = Runtime(),  # noqa: B008  (frozen)
        section: Section = lambda _: contextlib.nullcontext(),
    ) -> None:
        self.spec, self.pairs, self.fidelity, self.adversarial = spec, pairs, fidelity, adversarial
        self.validation, self.runtime, self.section = validation, runtime, section
        self.device, self.ranks = torch.device(runtime.device), current_ranks()
        self._entropy = (seed, zlib.crc32(stream.encode()))
        self.step = 0
        self.skipped: list[Skip] = []
        self.ranking: Ranking | None = None
        self._micro_batches = self.ranks.share(spec.micro_batches)
        self._crops = Loader(self._crop, self._following, runtime.loader_threads)
        self.generator = self._placed(generator).train()
        self._forward = torch.compile(self.generator) if runtime.compile else self.generator
        # Buffers (masks, indices) are constants and are copied: averaging integers would round them.
        self.average = AveragedModel(self.generator, multi_avg_fn=self._update_average)
        self.players = {"generator": self._player(self.generator, spec.learning_rate)}
        if fidelity:
            fidelity.measure.to(self.device)
        if adversarial:
            discriminator = self._placed(adversarial.discriminator).train()
            self.players["discriminator"] = self._player(discriminator, adversarial.learning_rate)
        weight = spec.pixel_weight if isinstance(spec, FinetuneSpec) else 1.0
        self.loss = StepLoss(weight, fidelity, adversarial, autocast=self._autocast, section=section)

    # --- the loop -----------------------------------------------------------------------------------------------

    def run(
        self,
        folder: Path | str,
        *,
        checkpoint_every: int,
        progress: Callable[[int, float], None] = lambda _step, _loss: None,
        stop: Callable[[], bool] = lambda: False,
        tensorboard: Path | str | None = None,
    ) -> None:
        """Train to the last step, from the newest complete checkpoint in ``folder`` if there is one.

        The history goes to ``folder/history.jsonl``, one line per window of ``log_every`` steps, with means over the
        steps that were taken and the number of those that were skipped; each validation adds a line of its own.

        Args:
            folder: working folder of the run.
            checkpoint_every: steps between checkpoints; they are written at the end of a window.
            progress: called at the end of each window with the step and the mean total loss.
            stop: asked at the end of each window, the last one too; True saves a checkpoint and raises StoppedError.
                What it raises itself ends the run before anything is saved.
            tensorboard: folder of event files; None writes none.

        Raises:
            DivergedError: a term or gradient was not finite in more steps than may be skipped, or a validation score
                was not finite.
            StoppedError: ``stop`` returned True.
            OSError: a checkpoint or the history cannot be written.
        """
        folder = Path(folder)
        known = self._resume(folder)
        with contextlib.ExitStack() as open_files:
            journal = _Journal()
            if self.ranks.first:
                history = open_files.enter_context(HistoryFile(folder / HISTORY, known.size))
                board = TensorBoard(Path(tensorboard), self.step) if tensorboard else None
                if board:
                    open_files.callback(board.close)
                journal = _Journal(history, board)
            self._loop(folder, journal, checkpoint_every, progress, stop)

    def _loop(
        self,
        folder: Path,
        journal: _Journal,
        checkpoint_every: int,
        progress: Callable[[int, float], None],
        stop: Callable[[], bool],
    ) -> None:
        window, saved = _Window(), self.step

        def close_window() -> None:
            with self.section("logging"):
                means = window.means()
                rate = self.spec.learning_rate * self.spec.learning_rate_factor(self.step - 1)
                journal.row({"step": self.step, **means, "learning_rate": rate})
                progress(self.step, means.get("total", math.nan))

        while self.step < self.spec.steps:
            began, skipped = time.perf_counter(), len(self.skipped)
            try:
                terms = self.train_step()
            except DivergedError:
                close_window()
                raise
            window.add(terms, time.perf_counter() - began, skipped=len(self.skipped) > skipped)
            last = self.step == self.spec.steps
            if full := self.step % self.spec.log_every == 0 or last:
                close_window()
                window = _Window()
            if self.validation and (self.step % self.validation.every == 0 or last):
                with self.section("validation"):
                    self._validate(self.validation, journal)
            if not full:
                continue
            stopping = self.ranks.agreed(stop())
            if last:  # there is nothing to resume
                continue
            if stopping or self.step - saved >= checkpoint_every:
                with self.section("checkpoint"):
                    self._save(folder, journal)
                saved = self.step
            if stopping:
                raise StoppedError(f"stopped after step {self.step}")

    def train_step(self) -> dict[str, float]:
        """Do one step and return its terms and gradient norms.

        A step in which one of them is not finite changes no weight: it is recorded in ``skipped``.

        Raises:
            DivergedError: the allowed number of steps was already skipped.
        """
        section = self.section
        if self.adversarial:
            self.adversarial.discriminator.begin_step()
        sums, squares = self._accumulate(self._micro_batches[0])
        for micro_batch in self._micro_batches[1:]:
            for whole, part in zip((sums, squares), self._accumulate(micro_batch), strict=True):
                whole |= {name: whole[name] + value for name, value in part.items()}
        with section("optimiser"):
            gradients = {
                name: [p.grad for p in player.network.parameters() if p.grad is not None]
                for name, player in self.players.items()
            }
            values = torch.stack([*sums.values(), *squares.values()])
            self.ranks.sum_([values, *(gradient for group in gradients.values() for gradient in group)])
            norms = {name: get_total_norm(group) for name, group in gradients.items()}
            values[len(sums) :].sqrt_()
            # The only wait for the device in a step: whether it may be taken has to be known before it is.
            numbers = torch.cat([values, torch.stack(list(norms.values())).to(values)]).tolist()
            names = [*sums, *(f"gradient_{name}" for name in (*squares, *norms))]
            terms = dict(zip(names, numbers, strict=True))
            self.step += 1
            fault = next((name for name, value in terms.items() if not math.isfinite(value)), None)
            if fault:
                self._skip(fault, terms[fault])
            else:
                self._take(norms)
                self._hold_share(terms)
            for player in self.players.values():
                player.optimiser.zero_grad(set_to_none=True)
        return terms

    def _accumulate(self, micro_batch: int) -> tuple[Terms, Terms]:
        """Add a micro-batch's gradients to those of both networks.

        Returns:
            Its share of the step's terms, and of the squared norms of their gradients on the images.
        """
        with self.section("data"):
            low, high = self.batch(self.step, micro_batch)
        seed = _mix(*self._entropy, self.step, micro_batch)
        _seed(seed, self.device)  # dropout and stochastic depth
        with self.section("generator"), self._autocast():
            restored = self._forward(low)
        share = 1 / self.spec.micro_batches
        gradient, terms, pulls = self.loss(restored, high, share, torch.Generator().manual_seed(seed))
        with self.section("generator"):
            restored.backward((share * gradient).to(restored.dtype))
        # Images of different micro-batches are different variables: squares of norms add up.
        squares = {name: share**2 * square for name, square in pulls.items()}
        return {name: share * value for name, value in terms.items()}, squares

    def _take(self, norms: dict[str, Tensor]) -> None:
        factor = self.spec.learning_rate_factor(self.step - 1)
        for name, player in self.players.items():
            if self.spec.clip_gradient is not None:
                clip_grads_with_norm_(player.network.parameters(), self.spec.clip_gradient, norms[name])
            for group in player.optimiser.param_groups:
                group["lr"] = player.peak * factor
            player.optimiser.step()
        self.average.update_parameters(self.generator)

    def _update_average(self, average: Any, weights: Any, _: Any) -> None:
        """Move the average towards the weights, as a mean that begins with the first step and forgets by ``ema``.

        With a fixed decay the weights of the first step would stay in it for long, with a share of ``ema ** steps``.
        """
        taken, ema = self.step - len(self.skipped), self.spec.ema
        get_ema_multi_avg_fn(1 - (1 - ema) / (1 - ema**taken))(average, weights, taken)

    def _hold_share(self, terms: dict[str, float]) -> None:
        if held := self._held:
            others = sum(terms.get(f"gradient_{name}", 0.0) for name in ("pixel", "fidelity"))
            held.update(others=others, adversarial=terms["gradient_adversarial"], weight=terms["adversarial_weight"])

    @property
    def _held(self) -> AdversarialShare | None:
        """What holds the adversarial term's share, if anything does."""
        weight = self.adversarial.weight if self.adversarial else None
        return weight if isinstance(weight, AdversarialShare) else None

    def _skip(self, term: str, value: float) -> None:
        """Record the step as skipped; of a network's gradient, say in which parameter it first went wrong."""
        player = self.players.get(term.removeprefix("gradient_"))
        for name, parameter in player.network.named_parameters() if player else ():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                term = f"{term} ({name})"
                break
        if len(self.skipped) >= self.spec.may_skip:
            raise DivergedError(self.step, term, value, len(self.skipped))
        self.skipped.append(Skip(self.step, term, value))
        log.info("step %d skipped: %s is %s", self.step, term, value)

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
            low, high = self._tensors(self._crop((-1 - index, 0)))
            with torch.no_grad():
                pairs.append((self.generator(low).clamp(0, 1), high))
        self.generator.train()
        weight = scale * gradient_matching_weight(self.fidelity.measure, F.l1_loss, pairs)
        self.fidelity.weight = self.ranks.agreed(weight)

    def _validate(self, validation: Validation, journal: _Journal) -> None:
        """Score the averaged weights; every process waits for the first, which does it."""
        if self.ranks.first:
            network = self.average.module
            found = validation.score(network)
            fault = first_non_finite(found.scores)
            if fault is None:
                row = {f"validation/{judge}": score for judge, score in found.scores.items()}
                journal.row({"step": self.step, **row})
                journal.images(self.step, found.images)
                if self.ranking:
                    self.ranking.add(self.step, found.scores[validation.judge], network.state_dict())
        else:
            fault, found = None, None
        fault, value = self.ranks.agreed((fault, found.scores[fault] if fault and found else 0.0))
        if fault:
            raise DivergedError(self.step, f"validation by {fault}", value, len(self.skipped))

    # --- crops --------------------------------------------------------------------------------------------------

    def batch(self, step: int, micro_batch: int = 0) -> tuple[Tensor, Tensor]:
        """Return the LR and HR crops of a micro-batch of ``step``, float in [0, 1] on the device."""
        return self._tensors(self._crops((step, micro_batch)))

    def _crop(self, key: Key) -> tuple[Tensor, Tensor]:
        step, micro_batch = key
        rng = np.random.default_rng((*self._entropy, step % (1 << 32), micro_batch))
        size, patch = self.spec.batch // self.spec.micro_batches, self.spec.patch // self.pairs.scale
        crops = self.pairs.crop(rng, lr_patch=patch, batch=size, augment=self.spec.augment)
        low, high = (torch.from_numpy(part) for part in crops)
        return (low.pin_memory(), high.pin_memory()) if self.device.type == "cuda" else (low, high)

    def _following(self, key: Key) -> Iterator[Key]:
        step, micro_batch = key
        yield from ((step, other) for other in self._micro_batches if other >= micro_batch)
        for later in range(step + 1, self.spec.steps):
            yield from ((later, other) for other in self._micro_batches)

    def _tensors(self, crops: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        layout = torch.channels_last if self.runtime.channels_last else torch.contiguous_format
        low, high = (
            part.to(self.device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
            for part in crops
        )
        return low.div_(255), high.div_(255)

    # --- networks -----------------------------------------------------------------------------------------------

    def _placed(self, network: Any) -> Any:
        layout = torch.channels_last if self.runtime.channels_last else torch.preserve_format
        return network.to(device=self.device, memory_format=layout)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.precision == "bf16")

    def _player(self, network: nn.Module, peak: float) -> Player:
        learnt = [p for p in network.parameters() if p.requires_grad]
        fused = self.device.type in ("cpu", "cuda")
        return Player(network, torch.optim.Adam(learnt, peak, betas=self.spec.betas, fused=fused), peak)

    # --- state --------------------------------------------------------------------------------------------------

    def state(self) -> Checkpoint:
        """Return everything that the next step depends on."""
        tensors = {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, player in self.players.items():
            tensors |= {f"{name}/{k}": v for k, v in player.network.state_dict().items()}
            tensors |= _adam_tensors(f"{name}_optimiser", player.optimiser)
        scalars = {
            "fidelity_weight": self.fidelity.weight if self.fidelity else None,
            "adversarial_log_weight": held.log_weight if (held := self._held) else None,
            # As text: JSON has no infinity.
            "skipped": [[skip.step, skip.term, str(skip.value)] for skip in self.skipped],
            "ranking": self.ranking.state() if self.ranking else None,
        }
        return Checkpoint(self.step, tensors, scalars)

    def restore_state(self, checkpoint: Checkpoint) -> None:
        """Continue from ``checkpoint``."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            part, _, key = name.partition("/")
            parts.setdefault(part, {})[key] = tensor
        self.average.load_state_dict(parts["average"])
        for name, player in self.players.items():
            player.network.load_state_dict(parts[name])
            _load_adam(player.optimiser, parts.get(f"{name}_optimiser", {}))
        if self.fidelity:
            self.fidelity.weight = checkpoint.scalars["fidelity_weight"]
        if held := self._held:
            held.log_weight = checkpoint.scalars["adversarial_log_weight"]
        self.skipped = [Skip(step, term, float(value)) for step, term, value in checkpoint.scalars["skipped"]]
        if self.ranking:
            self.ranking.restore_state(checkpoint.scalars["ranking"])
        self.step = checkpoint.step

    def averaged_generator(self) -> nn.Module:
        """Return the generator with averaged weights, which is the one to keep."""
        return self.average.module

    def _save(self, folder: Path, journal: _Journal) -> None:
        if journal.history:  # the first process
            save_checkpoint(folder, replace(self.state(), history=journal.history.written))
            if self.ranking:
                self.ranking.prune(folder)

    def _resume(self, folder: Path) -> Written:
        """Continue from the newest whole checkpoint, if there is one; returns what stays of the history."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.validation:
            self.ranking = Ranking(self.validation, folder / WEIGHTS)
        known = NOTHING
        for checkpoint in checkpoints(folder):
            if self.ranking and not self.ranking.whole(checkpoint.scalars["ranking"]):
                log.warning("the best weights of the checkpoint of step %d are damaged", checkpoint.step)
                continue
            self.restore_state(checkpoint)
            known = checkpoint.history
            break
        if self.ranks.agreed(self.step) != self.step:
            raise OSError(f"process {self.ranks.index} does not see the checkpoints of process 0 in '{folder}'")
        if self.ranks.first:
            for written in (folder, folder / WEIGHTS):
                clear_temporary(written)
        if self.fidelity and self.fidelity.weight is None:
            self.match_gradients()
        return known


class _Window:
    """The steps since the last row of the history."""

    def __init__(self) -> None:
        self._taken: list[dict[str, float]] = []
        self._skipped, self._seconds = 0, 0.0

    def add(self, terms: dict[str, float], seconds: float, *, skipped: bool) -> None:
        self._seconds += seconds
        if skipped:
            self._skipped += 1
        else:
            self._taken.append(terms)

    def means(self) -> dict[str, float]:
        """Means over the steps that were taken; none, if all were skipped."""
        names = self._taken[0] if self._taken else ()
        means = {name: sum(terms[name] for terms in self._taken) / len(self._taken) for name in names}
        return {**means, "skipped": self._skipped, "seconds": self._seconds}


@dataclass(frozen=True)
class _Journal:
    """Where the rows of the history go; nowhere, in all processes but the first."""

    history: HistoryFile | None = None
    board: TensorBoard | None = None

    def row(self, row: dict[str, Any]) -> None:
        if self.history:
            self.history.append(row)
        if self.board:
            self.board.row(row)

    def images(self, step: int, images: Any) -> None:
        if self.board:
            self.board.images(step, images)


def _seed(seed: int, device: torch.device) -> None:
    # Not torch.manual_seed: while CUDA sleeps that records a stack trace for it, a millisecond each step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _adam_tensors(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{prefix}/{index}/{name}": v for index, values in state.items() for name, v in values.items()}


def _load_adam(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        like = parameters[int(index)]
        # In the parameter's own memory layout, which the fused kernel takes for granted.
        laid = torch.empty_like(like, dtype=tensor.dtype, device=tensor.device).copy_(tensor) if tensor.ndim else tensor
        state.setdefault(int(index), {})[key] = laid
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


__all__ = ["Adversarial", "DivergedError", "Fidelity", "Skip", "StoppedError", "Trainer"]
