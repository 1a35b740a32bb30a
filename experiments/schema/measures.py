"""Measures as experiments name them: by key, by mapping, or learnt by the experiment itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    PlainSerializer,
    PlainValidator,
)

from ...backbones import list_backbones
from ...common.errors import LopsidedError
from ...common.families import learnt_from
from ...common.fields import ByKey
from ...losses import Measure, MeasureSpec, list_measures, parse_measure
from ...losses.dists import VARIANTS, DistsSpec
from ...losses.learn_weights import learnable
from ...losses.measure import Reduction
from ...losses.registry import SPECS
from .errors import ExperimentError

LEARNT = "learnt:"  # followed by a name of the section `learn`: the measure with the weights that are learnt there


class LearntDists(MeasureSpec):
    """A DISTS with the weights that a cell of the experiment learns, in YAML ``learnt:<name>``.

    Its identity is that of the cell, so it is the same measure on the side of optimization and of assessment, before
    and after its weights are there.

    Attributes:
        name: its name in the section ``learn``.
        of: the DISTS whose weights are learnt; filled in when the experiment is read as a whole.
        data: what they are learnt from; filled in likewise.
        cell: identity of the cell that learns them; filled in when the experiment is planned.
    """

    name: str
    of: DistsSpec | None = None
    data: str | None = None
    cell: str | None = None

    @property
    def base(self) -> DistsSpec:
        """The DISTS whose weights are learnt.

        Raises:
            ExperimentError: the measure does not belong to an experiment.
        """
        if self.of is None:
            raise ExperimentError(f"'{LEARNT}{self.name}' is only defined inside an experiment")
        return self.of

    @property
    def key(self) -> str:
        """``dists-<backbone>+<name>``."""
        return f"{self.base.key}+{self.name}"

    @property
    def families(self) -> frozenset[str]:
        """The families of the DISTS, and the data set that its weights are learnt from."""
        return self.base.families | learnt_from([self.data] if self.data else None)

    @property
    def min_size(self) -> int:
        """The smallest side of the DISTS."""
        return self.base.min_size

    def definition(self) -> dict[str, Any]:
        """The cell's identity, which covers measure, data set, recipe and seeds; the name does not count."""
        if self.cell is None:
            raise ExperimentError(f"'{LEARNT}{self.name}' has no identity before the experiment is planned")
        return {"cell": self.cell}

    def with_weights(self, path: Path) -> DistsSpec:
        """Return the DISTS with the weights of a file."""
        return self.base.model_copy(update={"alpha_beta": str(path)})

    def build(self, *, reduction: Reduction = "mean") -> Measure:  # noqa: ARG002
        """Raise ExperimentError: the weights are in the store, see :meth:`with_weights`."""
        raise ExperimentError(f"'{LEARNT}{self.name}' is built by the stages of an experiment, from its store")


def _measure(value: Any) -> MeasureSpec:
    if not isinstance(value, (str, dict, MeasureSpec)):
        raise ValueError(f"a measure is a key or a mapping, got {'nothing' if value is None else repr(value)}")
    if isinstance(value, str) and value.startswith(LEARNT):
        return LearntDists(name=value.removeprefix(LEARNT))
    try:
        spec = parse_measure(value)
    except LopsidedError as error:
        raise ValueError(str(error)) from None
    if spec.preprocessing:
        raise ValueError("input_range: the images of an experiment are in [0, 1]; leave it out")
    return spec


def defined_measure(value: Any) -> MeasureSpec:
    """Return the measure of a key or mapping; ValueError for one that the experiment learns, or an unknown one."""
    spec = _measure(value)
    if isinstance(spec, LearntDists):
        raise ValueError(f"'{value}' is learnt by the experiment; name it in the grid or in assessment.measures")
    return spec


def _fidelity(value: Any) -> MeasureSpec | None:
    if value == "none":
        return None
    spec = _measure(value)
    if not spec.differentiable:
        raise ValueError(f"'{spec.key}' has no finite gradient, so it cannot be a training loss; use it as a judge")
    return spec


def _learnable(value: Any) -> DistsSpec:
    if isinstance(value, str) and value.startswith(LEARNT):
        raise ValueError(f"'{value}' is learnt already; give the DISTS that it is made of")
    try:
        return learnable(_measure(value))
    except LopsidedError as error:
        raise ValueError(str(error)) from None


def backbone_schema(*others: str) -> dict[str, Any]:
    """Return the JSON schema of a backbone, or of one of ``others``."""
    mapping = {
        "type": "object",
        "properties": {
            "name": {"enum": list_backbones()},
            "weights": {"type": "string"},
            "seed": {"type": "integer", "maximum": 2**63 - 1},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"anyOf": [{"enum": [*others, *list_backbones()]}, mapping]}


_MEASURE = {
    "type": "object",
    "properties": {
        # Without the defaults, which differ between measures.
        **{
            option: {word: value for word, value in schema.items() if word != "default"}
            for spec in SPECS.values()
            for option, schema in spec.model_json_schema()["properties"].items()
            if option != "input_range"  # of an experiment's images: always [0, 1]
        },
        "measure": {"enum": list(SPECS)},
        "variant": {"enum": list(VARIANTS)},
        "backbone": backbone_schema(),
    },
    "required": ["measure"],
    "additionalProperties": False,
}

_LEARNT = {"type": "string", "pattern": f"^{LEARNT}"}

_dump = PlainSerializer(lambda spec: spec.model_dump(mode="json") if spec else "none")

Fidelity = Annotated[
    MeasureSpec | None,
    PlainValidator(_fidelity),
    _dump,
    ByKey(["none", *list_measures()], mapping=_MEASURE, others=(_LEARNT,)),
]

AssessedMeasure = Annotated[
    MeasureSpec, PlainValidator(_measure), _dump, ByKey(list_measures(), mapping=_MEASURE, others=(_LEARNT,))
]

DefinedMeasure = Annotated[
    MeasureSpec, PlainValidator(defined_measure), _dump, ByKey(list_measures(), mapping=_MEASURE)
]

_DISTS = [key for key in list_measures() if key.startswith("dists-")]

LearntMeasure = Annotated[DistsSpec, PlainValidator(_learnable), _dump, ByKey(_DISTS, mapping=_MEASURE)]
