"""The stage diagnose: what a measure is like as an objective, without training and without human data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import SerializeAsAny
from torch import Tensor

from ...common.errors import one_line
from ...common.images import read_rgb, to_tensor, to_uint8, upright_size, write_png
from ...common.sources import ImageSource
from ...losses import Measure, MeasureError, MeasureSpec
from ...losses import diagnostics as diagnose
from ...losses.diagnostics import MARGIN, Reading
from ...sr.corruption import filter_image, gaussian_noise, jpeg
from ...sr.degradation import bicubic_resize
from ...sr.kernels import gaussian_kernel
from ...sr.trainer import StoppedError
from ..schema import diagnose as schema
from ..schema.errors import ExperimentError
from .cell import Cell, only
from .cell_files import SCORES, read_table, write_table
from .context import Context
from .draft import Draft
from .learn_weights import planned_measure, weights_input
from .stage import Stage
from .train import Finetune

BLUR, NOISE, QUALITY = 1.5, 25.0, 15  # of the starts: pixels, grey levels, JPEG's setting
NEED_GRADIENT = ("alignment", "frequency", "curvature", "recovery")
PICTURES, STARTS, REFERENCES = "pictures", "starts", "references"  # folders of a cell: <start>/<image>.png, <image>.png
TOWARDS: tuple[Literal["best"], Literal["worst"]] = ("best", "worst")
UNIT = "loss of the start"
Places = Sequence[tuple[str, str]]  # start and photograph of each reading's values
Compute = Callable[[], dict[str, list[Reading]]]  # diagnostic → readings


@dataclass(frozen=True)
class Crops:
    """The crops of a cell, as a batch.

    Attributes:
        names: of the photographs.
        wide: the crops with a margin around each, ``(N, 3, H, W)`` in [0, 1].
    """

    names: list[str]
    wide: Tensor

    @cached_property
    def references(self) -> Tensor:
        """The crops."""
        return self.wide[..., MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()

    def degraded(self, start: str, settings: schema.Diagnose) -> Tensor:
        """Return degraded crops of the references' shape."""
        rng = np.random.default_rng(settings.seed)
        crops = [_degraded(crop, start, settings.scale, rng) for crop in self.references.cpu()]
        return torch.stack(crops).to(self.wide)


class CropsStage(Stage, ABC):
    """A stage whose cells look at a few crops.

    Attributes:
        images: where the photographs come from.
        images_identity: content identity of the photographs.
        settings: the section of the experiment.
    """

    images: ImageSource
    images_identity: str
    settings: schema.Diagnose
    uses: ClassVar[frozenset[str]]  # settings that determine the outputs

    def content(self) -> dict[str, Any]:
        """The photographs and the settings that count here."""
        return {
            "images": self.images_identity,
            "settings": self.settings.model_dump(mode="json", include=set(self.uses)),
        }

    def crops(self, context: Context) -> Crops:
        """Return the crops; decoded once per process."""
        side = self.settings.crop + 2 * MARGIN

        def read() -> Crops:
            items = self.images.items()[: self.settings.crops]
            wide = torch.cat([to_tensor(_centre(read_rgb(item.path), side)) for item in items])
            return Crops([item.name for item in items], wide.to(context.execution.device))

        return context.once(f"crops {self.images_identity} {self.settings.crops} {side}", read)

    @classmethod
    def preflight(cls, pending: Sequence[Cell[Stage]], context: Context) -> None:
        """Build the measures, and compare the sizes of the photographs with that of the crops."""
        for cell in only(pending, cls):
            for measure in cell.spec.measures:
                context.measure(measure)
        for spec in {cell.spec.images_identity: cell.spec for cell in only(pending, cls)}.values():
            need = spec.settings.crop + 2 * MARGIN
            for item in spec.images.items()[: spec.settings.crops]:
                width, height = upright_size(item.path)
                if min(width, height) < need:
                    raise ExperimentError(
                        f"diagnose: '{item.path}' is {width}×{height} px; a crop of {spec.settings.crop} px with its "
                        f"margin needs {need} per side; lower diagnose.crop or choose other images"
                    )

    @property
    @abstractmethod
    def measures(self) -> list[MeasureSpec]:
        """The measures that a cell needs."""


class Diagnose(CropsStage):
    """Diagnose one measure."""

    stage: ClassVar[str] = "diagnose"
    announced: ClassVar[bool] = True
    uses: ClassVar[frozenset[str]] = frozenset(schema.Diagnose.model_fields) - {"measures", "images", "pairs"}
    measure: SerializeAsAny[MeasureSpec]

    def content(self) -> dict[str, Any]:
        """The measure too."""
        return {"measure": self.measure.identity, **super().content()}

    @property
    def measures(self) -> list[MeasureSpec]:
        """The one."""
        return [self.measure]

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Plan the section ``diagnose``: the grid's measures, those that are assessed, and its own.

        Raises:
            ExperimentError: a crop that is too small for a measure.
        """
        settings = draft.experiment.diagnose
        if settings is None:
            return
        trained = [cell.spec.fidelity for cell in draft.of(Finetune) if cell.spec.fidelity]
        assessed = draft.experiment.assessment.measures
        common = _common(draft, settings)
        for measure in {spec.key: spec for spec in [*trained, *assessed, *settings.measures]}.values():
            _check_size(draft, settings, measure)
            spec = cls(measure=planned_measure(measure, draft), **common)
            yield Cell(spec, weights_input(measure, draft), {"measure": measure.key})

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write one row per reading and crop, and what was recovered as pictures."""
        measure = context.measure(self.measure, cell).to(context.execution.device)
        rows: list[dict[str, Any]] = []
        for name, (places, compute) in self._diagnostics(measure, folder, context).items():
            if name not in self.settings.diagnostics:
                continue
            context.progress(len(rows), 0, name)
            if context.stop():
                raise StoppedError(f"stopped before {name}")
            found, status = _attempt(measure, name, compute)
            for diagnostic, readings in found.items():
                rows += _rows(diagnostic, places, readings)
            if not any(found.values()):
                nothing = Reading("", torch.full((len(places),), torch.nan), "")
                rows += [{**row, "status": status} for row in _rows(name, places, [nothing])]
        write_table(folder / SCORES, pd.DataFrame(rows))

    def _diagnostics(self, measure: Measure[Any], folder: Path, context: Context) -> dict[str, tuple[Places, Compute]]:
        """Return, by name, where each diagnostic looks and what computes it."""
        settings, crops = self.settings, self.crops(context)
        places = [(start, name) for start in settings.starts for name in crops.names]
        unstarted = [("", name) for name in crops.names]
        starts = torch.cat([crops.degraded(start, settings) for start in settings.starts])
        references = crops.references.repeat(len(settings.starts), 1, 1, 1)

        def generator() -> torch.Generator:
            return torch.Generator().manual_seed(settings.seed)

        def curvature() -> list[Reading]:
            options = {"power_steps": settings.power_steps, "probes": settings.probes}
            return diagnose.curvature(measure, crops.references, generator(), **options)

        def recovery() -> dict[str, list[Reading]]:
            def step(done: int) -> None:
                context.progress(done, settings.steps, "recovery")
                if context.stop():
                    raise StoppedError(f"stopped after {done} of {settings.steps} steps of a recovery")

            options = {"steps": settings.steps, "every": settings.every, "progress": step}
            found = diagnose.recover(measure, starts, references, learning_rate=settings.learning_rate, **options)
            for (start, name), before, after in zip(places, starts, found.images, strict=True):
                _write(folder / STARTS / start / f"{name}.png", before)
                _write(folder / PICTURES / start / f"{name}.png", after)
            for name, reference in zip(crops.names, crops.references, strict=True):
                _write(folder / REFERENCES / f"{name}.png", reference)
            return {
                "recovery": [Reading(str(done), values, "dB") for done, values in found.psnr.items()],
                "recovery_loss": [Reading(str(settings.steps), found.loss, "loss of the start")],
                "colour": diagnose.colour_drift(starts, found.images),
            }

        def invariance() -> list[Reading]:
            return diagnose.invariance(measure, crops.wide, generator(), settings.noise_psnr)

        def frequency() -> list[Reading]:
            return diagnose.frequency(measure, starts, references, settings.bands)

        return {
            "alignment": (places, lambda: {"alignment": diagnose.alignment(measure, starts, references)}),
            "frequency": (places, lambda: {"frequency": frequency()}),
            "curvature": (unstarted, lambda: {"curvature": curvature()}),
            "shares": (places, lambda: {"shares": diagnose.shares(measure, starts, references)}),
            "invariance": (unstarted, lambda: {"invariance": invariance()}),
            "recovery": (places, recovery),
        }

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:  # noqa: ARG002
        """One row per reading and crop."""
        named = {"measure": self.measure.key, "measure_id": self.measure.identity, "other": "", "other_id": ""}
        return {"diagnostics": read_table(folder).assign(**named)}


class MaximumDifferentiation(CropsStage):
    """Move one measure as far as it goes while another keeps its value."""

    stage: ClassVar[str] = "differentiate"
    announced: ClassVar[bool] = True
    uses: ClassVar[frozenset[str]] = frozenset({"crops", "crop", "steps", "seed"})
    held: SerializeAsAny[MeasureSpec]
    moved: SerializeAsAny[MeasureSpec]

    def content(self) -> dict[str, Any]:
        """Both measures too."""
        return {"held": self.held.identity, "moved": self.moved.identity, **super().content()}

    @property
    def measures(self) -> list[MeasureSpec]:
        """Both."""
        return [self.held, self.moved]

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Plan the pairs of the section ``diagnose``, each in both orders."""
        settings = draft.experiment.diagnose
        if settings is None:
            return
        for one, other in settings.pairs:
            for held, moved in ((one, other), (other, one)):
                for measure in (held, moved):
                    _check_size(draft, settings, measure)
                spec = cls(held=held, moved=moved, **_common(draft, settings))
                yield Cell(spec, {}, {"measure": f"{moved.key} at equal {held.key}"})

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:  # noqa: ARG002 - it has no inputs
        """Write one row per direction and crop, and the extremes as pictures."""
        settings, crops = self.settings, self.crops(context)
        held, moved = (context.measure(spec).to(context.execution.device) for spec in self.measures)
        starts = crops.degraded("noise", settings)
        places = [("noise", name) for name in crops.names]
        rows: list[dict[str, Any]] = []
        for index, towards in enumerate(TOWARDS):
            context.progress(index, len(TOWARDS), towards)
            if context.stop():
                raise StoppedError(f"stopped before '{towards}'")
            found = diagnose.differentiate(held, moved, starts, crops.references, towards, steps=settings.steps)
            for name, image in zip(crops.names, found.images, strict=True):
                _write(folder / PICTURES / towards / f"{name}.png", image)
            readings = [Reading(towards, found.moved, UNIT), Reading(f"{towards}, held", found.held, UNIT)]
            rows += _rows("differentiation", places, readings)
        write_table(folder / SCORES, pd.DataFrame(rows))

    def rows(self, cell: Cell[Stage], folder: Path) -> dict[str, pd.DataFrame]:  # noqa: ARG002
        """One row per direction and crop; ``other`` is the measure that was held."""
        names = {"measure": self.moved, "other": self.held}
        named = {key: spec.key for key, spec in names.items()} | {f"{k}_id": s.identity for k, s in names.items()}
        return {"diagnostics": read_table(folder).assign(**named)}


def _common(draft: Draft, settings: schema.Diagnose) -> dict[str, Any]:
    """Return what all cells of the section share."""
    with draft.experiment.placed("diagnose", "images"):
        images = settings.images or draft.experiment.optimized.data.train
        items = images.items()
        if len(items) < settings.crops:
            raise ExperimentError(f"{len(items)} images, {settings.crops} are wanted; lower diagnose.crops")
        content = images.identity(items[: settings.crops])
    return {"images": images, "images_identity": content, "settings": settings}


def _check_size(draft: Draft, settings: schema.Diagnose, measure: MeasureSpec) -> None:
    if measure.min_size > settings.crop:
        raise draft.experiment.error(
            ("diagnose", "crop"),
            f"'{measure.key}' needs at least {measure.min_size} px, got {settings.crop}; raise crop",
        )


def _attempt(measure: Measure[Any], name: str, compute: Compute) -> tuple[dict[str, list[Reading]], str]:
    """Return the readings, or none and why."""
    if name in NEED_GRADIENT and not measure.spec.differentiable:
        return {}, "no gradient"
    try:
        return compute(), "not a sum of parts"
    except torch.cuda.OutOfMemoryError:
        raise
    except (MeasureError, RuntimeError) as error:
        return {}, f"failed: {one_line(error)}"


def _rows(diagnostic: str, places: Places, readings: Sequence[Reading]) -> list[dict[str, Any]]:
    return [
        {
            "diagnostic": diagnostic,
            "start": start,
            "detail": reading.detail,
            "image": image,
            "value": value if np.isfinite(value) else float("nan"),
            "unit": reading.unit,
            "note": reading.note,
            "status": "ok" if np.isfinite(value) else "non-finite",
        }
        for reading in readings
        for (start, image), value in zip(places, reading.values.tolist(), strict=True)
    ]


def _write(path: Path, image: Tensor) -> None:
    if image.isfinite().all():  # the row says that it is not
        write_png(path, to_uint8(image))


def _centre(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _degraded(crop: Tensor, start: str, scale: int, rng: np.random.Generator) -> Tensor:
    """Return one crop (3, H, W) degraded, rounded to 8 bits."""
    if start == "jpeg":
        return jpeg(crop, QUALITY)
    if start == "bicubic":
        array = to_uint8(crop)
        return to_tensor(bicubic_resize(bicubic_resize(array, 1 / scale), scale))[0]
    changed = (
        filter_image(crop, gaussian_kernel(13, BLUR)) if start == "blur" else crop + gaussian_noise(crop, NOISE, rng)
    )
    return to_tensor(to_uint8(changed))[0]
