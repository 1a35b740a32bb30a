"""Validation during training: judges score the averaged weights at intervals, and the best weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from .checkpoint import kept_scalars, write_tensors


@dataclass(frozen=True)
class Validated:
    """The result of a validation.

    Attributes:
        scores: mean over the validation images, by judge.
        images: some restored images ``(N, 3, H, W)`` in [0, 1], to look at.
    """

    scores: dict[str, float]
    images: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Validation:
    """How a training is validated.

    Attributes:
        every: steps between validations; the last step is validated too.
        judge: the judge that ranks weights.
        lower_is_better: the direction of that judge.
        top: how many of the best weights are kept.
        score: scores a generator.
    """

    every: int
    judge: str
    lower_is_better: bool
    top: int
    score: Callable[[nn.Module], Validated]


@dataclass
class Ranking:
    """The best weights so far.

    Attributes:
        validation: how they are ranked.
        folder: folder of their files, ``step-<n>.safetensors``.
        entries: (step, score), best first; of equal scores the earlier step first.
    """

    validation: Validation
    folder: Path
    entries: list[tuple[int, float]] = field(default_factory=list)

    def add(self, step: int, score: float, weights: dict[str, Tensor]) -> None:
        """Keep the weights if they are among the best."""
        sign = 1 if self.validation.lower_is_better else -1
        ranked = sorted([*self.entries, (step, score)], key=lambda entry: (sign * entry[1], entry[0]))
        self.entries = ranked[: self.validation.top]
        if (step, score) in self.entries:
            write_tensors(self._path(step), weights, {"step": step, self.validation.judge: score})

    def paths(self) -> list[Path]:
        """Return the files of the best weights, best first."""
        return [self._path(step) for step, _ in self.entries]

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.safetensors"

    def prune(self, checkpoints: Path) -> None:
        """Delete weights that are not among the best, neither now nor in a checkpoint from which a run can resume."""
        kept = {step for step, _ in self.entries}
        kept |= {step for scalars in kept_scalars(checkpoints) for step, _ in scalars.get("ranking") or ()}
        for path in self.folder.glob("step-*.safetensors"):
            if path not in {self._path(step) for step in kept}:
                path.unlink()


def first_non_finite(scores: dict[str, float]) -> str | None:
    """Return the first judge whose score is not finite."""
    return next((judge for judge, score in scores.items() if not math.isfinite(score)), None)
