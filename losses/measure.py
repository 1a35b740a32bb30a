"""What every fidelity measure is: a frozen spec with an identity, a score per image, and a loss made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Self

from ..common.building import building, ordinary_tensors, usable
from ..common.families import FamilyError, checked
from ..common.fields import Settings
from ..common.identity import identity
from ..common.value_range import UNIT, InputRange
from .errors import MeasureError
from .value_checks import check_range, check_same_range

Reduction = Literal["mean", "sum", "none"]


class MeasureSpec(Settings, ABC):
    """Everything that determines the numbers of a measure; two measures with equal identity give equal scores.

    Attributes:
        version: raised whenever the same spec would give other numbers than before.
        input_range: values of black and white in the images that are given; they are brought to [0, 1] first.
    """

    version: ClassVar[int] = 1

    input_range: InputRange = Field(default=UNIT, description="Values of black and white in the images given.")

    def __init_subclass__(cls, **options: Any) -> None:
        """Build the measure in float32 and outside of inference mode, whatever the caller has set."""
        super().__init_subclass__(**options)
        if "build" in vars(cls):
            cls.build = building()(cls.build)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the values of the field ``measure``: the names under which the measure is registered."""
        return get_args(cls.model_fields["measure"].annotation)

    @property
    def key(self) -> str:
        """Short name used in YAML, tables and figures, followed by a mark of the definition if options are set."""
        name = vars(self)["measure"]
        return name if self == type(self).model_validate({"measure": name}) else f"{name}+{self.identity[:4]}"

    @property
    @abstractmethod
    def families(self) -> frozenset[str]:
        """What it is made of: ``backbone:…``, ``form:…`` and ``data:…``, see :mod:`lopsided.common.families`.

        A judge that shares one of them with a loss is not independent of it. They change no score, and are no part of
        the definition.
        """

    @property
    @abstractmethod
    def min_size(self) -> int:
        """Smallest height and width the measure accepts, in pixels."""

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Data sets whose human judgements its weights were learnt from; None where that is not known.

        Backbones do not count: they have learnt to classify, not to judge.
        """
        return ()

    @property
    def differentiable(self) -> bool:
        """Whether the measure has finite gradients on ordinary images, and so can be a training loss."""
        return True

    @property
    def identity(self) -> str:
        """Short content hash of the definition, weights included."""
        return identity({"kind": type(self).__name__, "version": self.version, **self.definition()})

    def definition(self) -> dict[str, Any]:
        """The fields that enter the identity, as JSON values."""
        return self.model_dump(mode="json", exclude={"input_range"}) | self.preprocessing

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What is done to images first, for the definition; it is empty where nothing is."""
        return {} if self.input_range == UNIT else {"input_range": list(self.input_range)}

    @abstractmethod
    def build(self, *, reduction: Reduction = "mean") -> Measure:
        """Build the measure on the CPU."""


Spec = TypeVar("Spec", bound=MeasureSpec)


@dataclass(frozen=True)
class Reference:
    """References, and what measures have computed from them for repeated use; see :meth:`Measure.prepare`.

    Attributes:
        images: RGB in the measure's range, ``(N, 3, H, W)``.
        prepared: what each measure, known by its spec, keeps of them.
    """

    images: Tensor
    prepared: Mapping[MeasureSpec, Any]


class Measure(nn.Module, ABC, Generic[Spec]):
    """A full-reference measure: ``score`` as a metric, ``forward`` as a loss.

    Images are RGB in [0, 1], or in the spec's ``input_range``.

    It is always frozen: it has buffers and no parameters and stays in evaluation mode, whatever happens to the module
    that holds it. Its tensors do not enter that module's state dict, unless ``persistent`` is set.

    Attributes:
        spec: definition and identity.
        lower_is_better: direction of ``score``; ``forward`` is always lower-is-better.
        value_range: lower and upper bound of ``score``; None where there is none.
        reduction: how ``forward`` reduces over the batch.
        persistent: whether the state dict of a host module holds the measure's tensors.
    """

    lower_is_better: bool = True
    value_range: tuple[float | None, float | None] = (0.0, None)
    persistent: bool = False

    def __init__(self, spec: Spec, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise MeasureError(f"{spec.key}: reduction must be 'mean', 'sum' or 'none', got '{reduction}'")
        try:
            checked(*spec.families)
        except FamilyError as error:
            raise MeasureError(f"{spec.key}: {error}") from None
        self.spec = spec
        self.reduction: Reduction = reduction

    @abstractmethod
    def _score(self, images: Tensor, references: Tensor) -> Tensor:
        """Return ``(N,)`` scores of checked inputs, in the spec's ``input_range``; ``references`` has batch N or 1."""

    def _prepare(self, references: Tensor) -> Any:  # noqa: ARG002
        """Return what can be computed from checked references alone."""
        return None

    def _score_prepared(self, images: Tensor, references: Tensor, prepared: Any) -> Tensor:  # noqa: ARG002
        """Return the scores, given what :meth:`_prepare` returned."""
        return self._score(images, references)

    def prepare(self, references: Tensor) -> Reference:
        """Compute what depends only on the references; give the result to ``score`` and ``forward`` in their place.

        It keeps the feature maps of the references in memory, which pays for many images of few references.

        Args:
            references: RGB images in [0, 1], ``(N, 3, H, W)``, or ``(1, 3, H, W)`` to be shared by all images.

        Raises:
            MeasureError: wrong type, shape, size or value range.
        """
        self.check_references(references)
        with ordinary_tensors():
            references = usable(references)
            return Reference(references, {self.spec: self._prepare(references)})  # pyright: ignore[reportUnhashable]

    def score(self, images: Tensor, references: Tensor | Reference) -> Tensor:
        """Return one score per image, in the measure's own direction (see ``lower_is_better``).

        Args:
            images: distorted RGB images in [0, 1], ``(N, 3, H, W)``.
            references: their references, ``(N, 3, H, W)``, or ``(1, 3, H, W)`` shared by all; or what
                :meth:`prepare` returned for them.

        Raises:
            MeasureError: wrong type, shape, size or value range; the message says what was seen.
        """
        self.check(images, references, as_loss=False)
        return self.scored(images, references)

    def forward(self, prediction: Tensor, reference: Tensor | Reference) -> Tensor:
        """Return the loss: the score mapped so that lower is better, reduced over the batch.

        A higher-is-better score ``s`` with an upper bound ``b`` becomes ``b - s``; without a bound, ``-s``.

        Args:
            prediction: RGB meant for [0, 1], ``(N, 3, H, W)``; a network's output can overshoot by up to 8.
            reference: RGB in [0, 1], of the same shape, or what :meth:`prepare` returned for it. Measures on feature
                maps give it no gradient.

        Raises:
            MeasureError: wrong type, shape, size or value range. Non-finite predictions are not an error here:
                they give a non-finite loss, for the trainer to locate and record.
        """
        self.check(prediction, reference, as_loss=True)
        return self.reduced(self.scored(prediction, reference))

    def check(self, images: Tensor, references: Tensor | Reference, *, as_loss: bool) -> None:
        """Raise MeasureError unless the measure can take this pair, as a loss or as a metric."""
        self._check_pair(images, references)
        if torch.compiler.is_compiling():  # compiled code cannot branch on values
            return
        name, others = ("prediction", "reference") if as_loss else ("images", "references")
        seen = check_range(self.spec.key, name, images, self.spec.input_range, as_loss=as_loss)
        if isinstance(references, Reference):
            references = references.images  # checked before
        else:
            check_range(self.spec.key, others, references, self.spec.input_range)
        if as_loss:
            check_same_range(self.spec.key, images, references, self.spec.input_range, seen)

    def check_references(self, references: Tensor) -> None:
        """Raise MeasureError unless the measure can take these as references."""
        self._check_pair(references, references)
        check_range(self.spec.key, "references", references, self.spec.input_range)

    def scored(self, images: Tensor, references: Tensor | Reference) -> Tensor:
        """Return ``(N,)`` scores of a pair that :meth:`check` has passed."""
        if not isinstance(references, Reference):
            return self._score(images, usable(references))
        return self._score_prepared(images, references.images, references.prepared[self.spec])

    def as_loss(self, score: Tensor) -> Tensor:
        """Turn ``(N,)`` scores into the loss of each image."""
        return score if self.lower_is_better else (self.value_range[1] or 0.0) - score

    def reduced(self, score: Tensor) -> Tensor:
        """Turn ``(N,)`` scores into the loss."""
        loss = self.as_loss(score)
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Do nothing: a measure stays in evaluation mode."""
        return super().train(False)

    def __prepare_scriptable__(self) -> Self:
        """Refuse TorchScript's compiler, which reads a small part of Python."""
        raise MeasureError(
            f"{self.spec.key}: torch.jit.script cannot read a measure; use torch.compile, torch.export or "
            "torch.jit.trace"
        )

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return the tensors if ``persistent``, else nothing: they follow from the spec."""
        if self.persistent:
            return super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        return OrderedDict() if destination is None else destination

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any, **named: Any) -> None:
        # A host is loaded strictly from a state dict that can have been saved without the measure.
        for name, tensor in super().state_dict(prefix=prefix).items():
            state_dict.setdefault(name, tensor)
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)

    def _check_pair(self, images: Tensor, references: Tensor | Reference) -> None:
        if isinstance(references, Reference):
            if self.spec not in references.prepared:
                known = ", ".join(spec.key for spec in references.prepared)
                raise MeasureError(f"{self.spec.key}: the reference was prepared by another measure ({known})")
            references = references.images
        for name, value in (("images", images), ("references", references)):
            if not isinstance(value, Tensor):
                raise MeasureError(f"{self.spec.key}: {name} must be a tensor, got {type(value).__name__}")
            if not value.is_floating_point():
                raise MeasureError(f"{self.spec.key}: {name} must be float in [0, 1], got {value.dtype}; divide by 255")
            if value.ndim != 4 or value.shape[1] != 3 or value.shape[0] == 0:
                raise MeasureError(f"{self.spec.key}: {name} must be (N, 3, H, W) with N ≥ 1, got {tuple(value.shape)}")
        if images.shape[1:] != references.shape[1:] or references.shape[0] not in (1, images.shape[0]):
            raise MeasureError(
                f"{self.spec.key}: images {tuple(images.shape)} and references {tuple(references.shape)} do not match"
            )
        if images.device != references.device:
            raise MeasureError(f"{self.spec.key}: images are on {images.device}, references on {references.device}")
        if min(images.shape[-2:]) < self.spec.min_size:
            raise MeasureError(
                f"{self.spec.key} needs at least {self.spec.min_size}×{self.spec.min_size} px, "
                f"got {images.shape[-2]}×{images.shape[-1]}"
            )
