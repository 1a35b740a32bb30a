"""What determines a no-reference model: backbone, origin of its weights, pooled features, training."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from ...backbones import BackboneError, BackboneSpec, list_backbones
from ...backbones.registry import architecture
from ...common.errors import did_you_mean
from ...common.fields import BATCH, COUNT, NUMBER, SIDE, STEPS, WIDTH, ByKey, Settings
from ...common.identity import identity
from ...common.paths import expanded
from ...common.sources import hash_file
from ...discriminators import DiscriminatorSpec
from ...discriminators.discriminator import NETWORKS
from ...discriminators.inputs import InputNormalisation
from .errors import NRError

LossName = Literal["l1", "l2", "plcc", "rank", "fidelity", "nin"]
Statistics = Literal["mean", "mean_std"]

CONV = "conv"  # the plain trunk of discriminators


# --- where the backbone's weights come from -------------------------------------------------------------------------


class Random(Settings):
    """Weights drawn from a seed: the ones that a discriminator of that seed, on a ``-r`` backbone, starts from.

    Attributes:
        seed: the seed.
    """

    name: Literal["random"] = "random"
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the weights.")


class Pretrained(Settings):
    """The backbone's published weights, or a file of them.

    Attributes:
        weights: see :class:`~lopsided.backbones.BackboneSpec`.
    """

    name: Literal["pretrained"] = "pretrained"
    weights: str = Field(default="official", description="official, or a .safetensors or .pth file.")


class FromDiscriminator(Settings):
    """The trunk of a trained discriminator, under the input normalisation it was trained with.

    Attributes:
        discriminator: its definition; a form with a trunk and a head (``vanilla`` or ``patch``).
        weights: its file, such as the ``discriminator.safetensors`` of a ``finetune`` cell.
    """

    name: Literal["discriminator"] = "discriminator"
    discriminator: DiscriminatorSpec = Field(description="Definition of the discriminator, such as patch-vgg16-r.")
    weights: str = Field(description="File of its weights, such as a cell's discriminator.safetensors.")


class SelfSupervised(Settings):
    """Random weights that first learn, without any human label, to rank distortions by strength.

    Crops of the training part's references (of its images, where there are none) are distorted at the grades 0
    (untouched) to 5 of one of the ladder's kinds; a linear head on the pooled features learns to order the six with a
    hinge loss (RankIQA, Liu, van de Weijer and Bagdanov, ICCV 2017), and is then discarded. On a ladder of the same
    kinds this is almost supervised: the grades that it learns to rank are the labels.

    Attributes:
        seed: of the random weights and of all other random choices.
        steps: optimiser steps.
        batch: crops per step, each at six grades.
        crop: side of the crops in pixels.
        learning_rate: Adam's, of backbone and head.
        margin: by which the scores of two grades should differ.
    """

    name: Literal["self"] = "self"
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Seed of the weights and of all other random choices; experiments use the seeds of the grid.",
    )
    steps: int = Field(default=300, ge=1, le=STEPS, description="Optimiser steps.")
    batch: int = Field(default=4, ge=1, le=BATCH, description="Crops per step, each at six grades.")
    crop: int = Field(default=96, ge=16, le=SIDE, description="Side of the crops in pixels.")
    learning_rate: float = Field(
        default=1e-4, gt=0, le=NUMBER, allow_inf_nan=False, description="Adam's learning rate."
    )
    margin: float = Field(default=1.0, gt=0, le=NUMBER, allow_inf_nan=False, description="Margin between two grades.")


# --- how it is trained ----------------------------------------------------------------------------------------------


class LinearProbe(Settings):
    """Ridge regression in closed form on pooled features of the frozen backbone.

    Attributes:
        penalty: relative to the mean eigenvalue of the features' Gram matrix. ``grouped_cv``: the one of 10⁻⁴, 10⁻³·⁵,
            … 10⁴ with the smallest squared error of labels left out group by group (images of one reference), which
            has a closed form. It uses the training part alone and, like the test, predicts unseen references.
    """

    name: Literal["linear_probe"] = "linear_probe"
    penalty: Annotated[float, Field(gt=0, le=NUMBER, allow_inf_nan=False)] | Literal["grouped_cv"] = Field(
        default="grouped_cv", description="Penalty relative to the mean eigenvalue, or grouped_cv."
    )


class _Descent(Settings):
    """A head trained by AdamW, whose learning rates fall to zero along half a cosine.

    Attributes:
        head: ``linear``, or ``mlp``: one hidden layer.
        hidden: units of that layer.
        loss: see :mod:`lopsided.iqa.nr.losses`.
        margin: of loss ``rank``, in standard deviations of the labels.
        steps: optimiser steps.
        batch: different images per step; all images, if there are fewer.
        learning_rate: of the head, at the start.
        weight_decay: AdamW's.
    """

    head: Literal["linear", "mlp"] = Field(default="linear", description="linear, or mlp with one hidden layer.")
    hidden: int = Field(default=128, ge=1, le=WIDTH, description="Hidden units of an mlp.")
    loss: LossName = Field(default="l1", description="Loss between predictions and standardised labels.")
    margin: float = Field(default=0.5, gt=0, le=NUMBER, allow_inf_nan=False, description="Margin of loss rank.")
    steps: int = Field(default=500, ge=1, le=STEPS, description="Optimiser steps.")
    batch: int = Field(default=16, ge=2, le=BATCH, description="Images per step.")
    learning_rate: float = Field(
        default=1e-3, gt=0, le=NUMBER, allow_inf_nan=False, description="Learning rate of the head."
    )
    weight_decay: float = Field(default=1e-2, ge=0, le=NUMBER, allow_inf_nan=False, description="AdamW's weight decay.")


class Frozen(_Descent):
    """The head is trained on pooled features of the frozen backbone, on the same views as in testing."""

    name: Literal["frozen"] = "frozen"


class FineTuned(_Descent):
    """Head and backbone are trained, on random crops; normalisation layers keep their statistics.

    Attributes:
        backbone_learning_rate: of the backbone, at the start.
        crop: side of the training crops in pixels; their positions follow from the seed.
    """

    name: Literal["fine_tuned"] = "fine_tuned"
    backbone_learning_rate: float = Field(
        default=1e-4, gt=0, le=NUMBER, allow_inf_nan=False, description="Learning rate of the backbone."
    )
    crop: int = Field(default=128, ge=16, le=SIDE, description="Side of the training crops in pixels.")


def _known(kind: str, *models: type[BaseModel]) -> BeforeValidator:
    """Return a validator that refuses a name that none of ``models`` has, before pydantic chooses among them."""
    names = [model.model_fields["name"].default for model in models]

    def check(value: Any) -> Any:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", value)
        if name not in names:
            raise ValueError(f"unknown {kind} {name!r}; {did_you_mean(name, names)}")
        return value

    return BeforeValidator(check)


AnyInitialisation = Annotated[
    Annotated[Random | Pretrained | FromDiscriminator | SelfSupervised, Field(discriminator="name")],
    ByKey(["random", "pretrained", "self"], "name"),
    _known("initialisation", Random, Pretrained, FromDiscriminator, SelfSupervised),
]
"""Field type: ``random``, ``pretrained``, ``self``, or a mapping of ``name`` and its settings."""

AnyProtocol = Annotated[
    Annotated[LinearProbe | Frozen | FineTuned, Field(discriminator="name")],
    ByKey(["linear_probe", "frozen", "fine_tuned"], "name"),
    _known("protocol", LinearProbe, Frozen, FineTuned),
]
"""Field type: ``linear_probe``, ``frozen``, ``fine_tuned``, or a mapping of ``name`` and its settings."""


# --- the models -----------------------------------------------------------------------------------------------------


class Views(Settings):
    """Which parts of an image a model scores; scores of several crops are averaged.

    Attributes:
        test_crop: side of square crops in pixels; None: the whole image, once.
        test_grid: crops per row and per column, evenly spaced from border to border.
    """

    test_crop: int | None = Field(
        default=None, ge=16, le=SIDE, description="Side of test crops; null: the whole image."
    )
    test_grid: int = Field(default=3, ge=1, le=COUNT, description="Test crops per row and per column.")

    @property
    def view_identity(self) -> Any:
        """What determines the pixels that are seen."""
        return [self.test_crop, self.test_grid] if self.test_crop else "whole"


class NRSpec(Views):
    """Definition of a no-reference model.

    Attributes:
        backbone: architecture, by its key without ``-r``, or ``conv``: the plain trunk of discriminators.
        initialisation: where the backbone's weights come from.
        protocol: how the model is trained.
        depth: how many of the backbone's stages, from the shallow end, the model has. By default all of them; of a
            discriminator's trunk those up to the head, because later ones were never trained. Give all models the same
            depth to compare initialisations.
        stages: which of them are pooled: ``all`` (several scales), the ``last``, or the one with an index from 0.
        statistics: of each channel over all positions: its ``mean``, or mean and standard deviation (``mean_std``).
        input_normalisation: see :class:`~lopsided.discriminators.DiscriminatorSpec`; by default the discriminator's
            where the trunk comes from one, else ``backbone``, and ``symmetric`` for ``conv``.
        seed: of the head's initial weights, of batches and of crops.

    Examples:
        >>> spec = NRSpec(backbone="squeezenet1_1", protocol="frozen", stages="last")
        >>> spec.key, spec.initialisation
        ('squeezenet1_1:last/frozen', Random(name='random', seed=0))
    """

    version: ClassVar[int] = 1

    backbone: str = Field(description="Architecture, such as squeezenet1_1, or conv.")
    initialisation: AnyInitialisation = Field(default=Random(), description="Where the backbone's weights come from.")
    protocol: AnyProtocol = Field(default=LinearProbe(), description="How the model is trained.")
    depth: int | None = Field(default=None, ge=1, le=COUNT, description="Stages of the backbone in use; default: all.")
    stages: Literal["all", "last"] | Annotated[int, Field(ge=0, le=COUNT)] = Field(
        default="all", description="Stages that are pooled: all, last, or an index from 0."
    )
    statistics: Statistics = Field(default="mean_std", description="Statistics of each channel.")
    input_normalisation: InputNormalisation | None = Field(default=None, description="By default the backbone's own.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of head, batches and crops.")

    @model_validator(mode="after")
    def _resolve(self) -> NRSpec:
        if self.backbone != CONV:
            if self.backbone.endswith("-r"):
                raise ValueError(
                    f"backbone '{self.backbone}': name the architecture, '{self.backbone.removesuffix('-r')}', "
                    "and write `initialisation: random`"
                )
            try:
                architecture(self.backbone)
            except BackboneError as error:
                raise ValueError(str(error)) from None
        elif isinstance(self.initialisation, Pretrained):
            raise ValueError("'conv' has no pretrained weights")
        base = _default_trunk(self.backbone)
        depth, normalisation = base.head_stage + 1, base.input_normalisation
        if isinstance(start := self.initialisation, FromDiscriminator):
            _check_trunk(start.discriminator, self.backbone)
            depth, normalisation = start.discriminator.head_stage + 1, start.discriminator.input_normalisation
            if self.input_normalisation not in (None, normalisation):
                raise ValueError(
                    f"input_normalisation '{self.input_normalisation}': this discriminator was trained with "
                    f"'{normalisation}'; leave it out"
                )
        if self.depth is not None and self.depth > depth:
            raise ValueError(f"depth {self.depth}: there are {depth} stages" + self._whose)
        object.__setattr__(self, "depth", self.depth or depth)
        object.__setattr__(self, "input_normalisation", self.input_normalisation or normalisation)
        if self.backbone == CONV and self.input_normalisation == "backbone":
            raise ValueError("'conv' has no normalisation of its own; write none, symmetric or imagenet")
        if isinstance(self.stages, int) and self.stages >= self.n_stages:
            raise ValueError(f"stage {self.stages}: there are {self.n_stages} stages, 0 to {self.n_stages - 1}")
        if isinstance(self.protocol, FineTuned) and self.protocol.crop < self.min_size:
            raise ValueError(f"crop {self.protocol.crop}: '{self.backbone}' needs {self.min_size} pixels")
        if self.test_crop is not None and self.test_crop < self.min_size:
            raise ValueError(f"test_crop {self.test_crop}: '{self.backbone}' needs {self.min_size} pixels")
        return self

    @property
    def _whose(self) -> str:
        if isinstance(self.initialisation, FromDiscriminator):
            return f" up to the head of '{self.initialisation.discriminator.key}', and later ones were never trained"
        return f" in '{self.backbone}'"

    @property
    def n_stages(self) -> int:
        """How many stages the model has."""
        return self.depth or 0

    @property
    def pooled_stages(self) -> tuple[int, ...]:
        """Indices of the stages that are pooled."""
        if self.stages == "all":
            return tuple(range(self.n_stages))
        return (self.n_stages - 1 if self.stages == "last" else self.stages,)

    @property
    def min_size(self) -> int:
        """Smallest height and width of an image, in pixels."""
        return _default_trunk(self.backbone).min_size

    @property
    def trunk_identity(self) -> str:
        """Content hash of the weights that the backbone starts with, and of the normalisation of its input.

        Self-supervised weights also depend on the images that they were learnt from.

        Raises:
            NRError: a file of weights does not exist.
        """
        start = self.initialisation
        if isinstance(start, Pretrained):
            weights: Any = BackboneSpec(name=self.backbone, weights=start.weights).definition()
        elif isinstance(start, FromDiscriminator):
            weights = {"discriminator": start.discriminator.identity, "sha256": _sha256(start.weights)}
        else:
            weights = {"architecture": self.backbone, **start.model_dump(mode="json")}
        return identity({"weights": weights, "normalisation": self.input_normalisation})

    @property
    def key(self) -> str:
        """Short name used in tables and figures, such as ``squeezenet1_1/linear-probe``.

        It leaves out initialisation and seeds, so that models that differ only in these share it.
        """
        stage = f":{self.stages}" if self.stages != "all" else ""
        plain = NRSpec.model_validate(
            {"backbone": self.backbone, "stages": self.stages, "protocol": self.protocol.name}
        )
        mark = "" if self._setting == plain._setting else f"+{identity(self._setting)[:4]}"
        return f"{self.backbone}{stage}/{self.protocol.name.replace('_', '-')}{mark}"

    def definition(self) -> dict[str, Any]:
        """Return what determines the model, besides the data that it is trained on.

        Raises:
            NRError: a file of weights does not exist.
        """
        return {**self._setting, "trunk": self.trunk_identity, "seed": self.seed}

    @property
    def identity(self) -> str:
        """Short content hash of the definition.

        Raises:
            NRError: a file of weights does not exist.
        """
        return identity(self.definition())

    @property
    def _setting(self) -> dict[str, Any]:
        """The definition without initialisation and seeds."""
        return {
            "kind": "no-reference",
            "version": self.version,
            "backbone": self.backbone,
            "protocol": self.protocol.model_dump(mode="json"),
            "stages": self.pooled_stages,
            "statistics": self.statistics,
            "views": self.view_identity,
        }


class ZeroLabelSpec(Views):
    """A discriminator as a no-reference metric that has seen no label: its mean logit; higher means more real.

    Attributes:
        discriminator: its definition, of any form but ``none``.
        weights: its file, such as a cell's ``discriminator.safetensors``; None: the untrained discriminator.
        seed: seed of the weights if there is no file.

    Examples:
        >>> ZeroLabelSpec.model_validate({"discriminator": "patch-vgg16-r"}).key
        'patch-vgg16-r/zero-label'
    """

    discriminator: DiscriminatorSpec = Field(description="Definition of the discriminator.")
    weights: str | None = Field(default=None, description="File of its weights; null: untrained.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of an untrained discriminator.")

    @model_validator(mode="after")
    def _is_one(self) -> ZeroLabelSpec:
        if self.discriminator.form == "none":
            raise ValueError("'none' is not a discriminator")
        return self

    @property
    def backbone(self) -> str:
        """The trunk's backbone, or the form of a discriminator without a backbone."""
        if self.discriminator.form in NETWORKS:
            return self.discriminator.form
        return _family(self.discriminator)

    @property
    def key(self) -> str:
        """Short name used in tables and figures."""
        return f"{self.discriminator.key}/zero-label"

    def definition(self) -> dict[str, Any]:
        """Return what determines the scores.

        Raises:
            NRError: the file of weights does not exist.
        """
        return {
            "kind": "zero-label",
            "version": 1,
            "discriminator": self.discriminator.identity,
            "weights": _sha256(self.weights) if self.weights else ["untrained", self.seed],
            "views": self.view_identity,
        }

    @property
    def identity(self) -> str:
        """Short content hash of the definition.

        Raises:
            NRError: the file of weights does not exist.
        """
        return identity(self.definition())


def _default_trunk(backbone: str) -> DiscriminatorSpec:
    """Return the discriminator whose trunk is the whole backbone."""
    name = backbone if backbone == CONV else f"{backbone}-r"
    return DiscriminatorSpec.model_validate({"form": "vanilla", "backbone": name})


def _family(discriminator: DiscriminatorSpec) -> str:
    backbone = discriminator.backbone
    return backbone.architecture if isinstance(backbone, BackboneSpec) else CONV


def _check_trunk(discriminator: DiscriminatorSpec, backbone: str) -> None:
    if discriminator.form not in ("vanilla", "patch"):
        raise ValueError(
            f"discriminator '{discriminator.key}' has no trunk to start from; use it as a zero-label metric, or choose "
            "a vanilla or patch one"
        )
    if _family(discriminator) != backbone:
        raise ValueError(
            f"discriminator '{discriminator.key}' has backbone '{_family(discriminator)}', not '{backbone}'"
        )


def _sha256(file: str) -> str:
    path = expanded(file)
    if not path.is_file():
        raise NRError(f"no weights file '{path}'; give the discriminator.safetensors of a finished finetune cell")
    return hash_file(path)


def list_nr_backbones() -> list[str]:
    """Return every name that ``NRSpec.backbone`` can have."""
    return [CONV, *(name for name in list_backbones() if not name.endswith("-r"))]
