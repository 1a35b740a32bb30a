"""Validation during training: judges score the averaged weights at intervals, and the best weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..common.identity import sha256_file
from .checkpoint import kept_scalars, read_tensors, write_tensors
from .errors import SuperResolutionError


@dataclass(frozen=True)
class Validated:
    """The result of a validation.

    Attributes:
        scores: mean over the validation images, by judge.
        images: some restored images ``(3, H, W)`` in [0, 1], to look at; their sizes may differ.
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
        hashes: SHA-256 of their files by step.
    """

    validation: Validation
    folder: Path
    entries: list[tuple[int, float]] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)

    def state(self) -> list[tuple[int, float, str]]:
        """Return the entries and hashes, as JSON."""
        return [(step, score, self.hashes[step]) for step, score in self.entries]

    def restore_state(self, state: list[tuple[int, float, str]]) -> None:
        """Continue from what :meth:`state` gave."""
        self.entries = [(step, score) for step, score, _ in state]
        self.hashes = {step: sha256 for step, _, sha256 in state}

    def whole(self, state: list[tuple[int, float, str]]) -> bool:
        """Tell whether the files of such a state are there as they were written."""
        try:
            return all(sha256_file(self._path(step)) == sha256 for step, _, sha256 in state)
        except OSError:
            return False

    def read(self) -> Iterator[tuple[Path, dict[str, Tensor], dict[str, Any]]]:
        """Yield the best weights, best first: file, tensors and metadata.

        Raises:
            SuperResolutionError: a file is not as it was written.
        """
        for path, (step, _) in zip(self.paths(), self.entries, strict=True):
            if not path.is_file() or sha256_file(path) != self.hashes[step]:
                raise SuperResolutionError(f"'{path}' is damaged; the same command trains from an earlier checkpoint")
            yield path, *read_tensors(path)

    def add(self, step: int, score: float, weights: dict[str, Tensor]) -> None:
        """Keep the weights if they are among the best."""
        sign = 1 if self.validation.lower_is_better else -1
        ranked = sorted([*self.entries, (step, score)], key=lambda entry: (sign * entry[1], entry[0]))
        self.entries = ranked[: self.validation.top]
        if (step, score) in self.entries:
            write_tensors(self._path(step), weights, {"step": step, self.validation.judge: score})
            self.hashes[step] = sha256_file(self._path(step))

    def paths(self) -> list[Path]:
        """Return the files of the best weights, best first."""
        return [self._path(step) for step, _ in self.entries]

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.safetensors"

    def prune(self, checkpoints: Path) -> None:
        """Delete weights that are not among the best, neither now nor in a checkpoint from which a run can resume."""
        kept = {step for step, _ in self.entries}
        kept |= {step for scalars in kept_scalars(checkpoints) for step, *_ in scalars.get("ranking") or ()}
        for path in self.folder.glob("step-*.safetensors"):
            if path not in {self._path(step) for step in kept}:
                path.unlink()


def first_non_finite(scores: dict[str, float]) -> str | None:
    """Return the first judge whose score is not finite."""
    return next((judge for judge, score in scores.items() if not math.isfinite(score)), None)
