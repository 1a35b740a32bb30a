"""The stage restore: a trained generator, or the task's baseline, restores a test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ...common.families import joined
from ...common.images import to_tensor, to_uint8, write_png
from ...discriminators import DiscriminatorSpec
from ...losses import PixelSpec
from ...sr import GeneratorSpec, build_generator, super_resolve
from ...sr.degradation import bicubic_resize
from .cell import Cell
from .cell_files import NAMES
from .context import Context
from .draft import Draft
from .pictures import TestImagesStage
from .stage import Stage
from .titles import restored_set
from .train import GENERATOR, Finetune

UNTRAINED = {"generator": "none", "discriminator": "none", "gan_weight": 0.0, "seed": 0}  # fidelity: the baseline
NO_DISCRIMINATOR = DiscriminatorSpec(form="none")
PIXEL_LOSS = PixelSpec(measure="l1").families  # of a training by the pixel loss alone
IMAGES = "images"  # folder of the restored images


class Restore(TestImagesStage):
    """Restore a test set with a fine-tuned generator or, if there is none, with the task's baseline."""

    stage: ClassVar[str] = "restore"
    generator: GeneratorSpec | None

    def content(self) -> dict[str, Any]:
        """Task and images; the generator's weights come in as an input."""
        generator = self.generator.definition() if self.generator else self.task.baseline
        return {**super().content(), "generator": generator, **self._padding()}

    def _padding(self) -> dict[str, int]:
        """Return what images are padded to, where it depends on the scale.

        There, images were once padded to the largest multiple of all scales, which gave other pixels.
        """
        if self.generator is None:
            return {}
        multiple = self.generator.side_multiple(self.scale)
        largest = max(map(self.generator.side_multiple, self.generator.scales))
        return {"side_multiple": multiple} if multiple < largest else {}

    def title(self, labels: Mapping[str, Any]) -> str:
        """What restores, and the test set."""
        return restored_set(labels)

    def row(self, labels: Mapping[str, Any]) -> str:
        """The test set."""
        return f"test set {labels['test_set']}"

    @classmethod
    def plan(cls, draft: Draft) -> Iterator[Cell[Stage]]:
        """Restore every test set by the baseline and by every fine-tuned generator."""
        if (wanted := draft.experiment.optimization) is None:
            return
        sr = wanted.super_resolution
        untrained = {**UNTRAINED, "fidelity": sr.task.baseline}
        for name, test in wanted.data.test.items():
            identity = draft.test_identities[name]
            common: dict[str, Any] = {"scale": sr.scale, "task": sr.task, "test": test, "test_identity": identity}
            yield Cell(cls(generator=None, **common), {}, {**untrained, "test_set": name})
            for source in draft.of(Finetune):
                spec = cls(generator=source.spec.generator, **common)
                yield Cell(spec, {"finetune": source}, {**source.labels, "test_set": name})

    def run(self, cell: Cell[Stage], folder: Path, context: Context) -> None:
        """Write every restored image as ``images/<name>.png``."""
        images = self.pairs(context)
        generator, multiple = None, 1
        if self.generator:
            generator = build_generator(self.generator, self.scale)
            multiple = self.generator.side_multiple(self.scale)
            generator.load_state_dict(context.weights(cell, "finetune", GENERATOR))
            generator.to(context.execution.device)
        for index, pair in enumerate(images):
            if generator is None:
                restored = bicubic_resize(pair.lr, self.scale)  # at ×1 the input itself
            else:
                low = to_tensor(pair.lr).to(context.execution.device)
                restored = to_uint8(super_resolve(generator, low, self.scale, multiple=multiple).cpu())
            write_png(folder / IMAGES / f"{pair.name}.png", restored)
            context.progress(index + 1, len(images), pair.name)


def restored_by(cell: Cell[Stage]) -> dict[str, Any]:
    """Return the columns that say what restored the images that a cell judges."""
    restored = cell.input("restore", Restore)
    source = restored.input("finetune", Finetune) if restored.inputs else None
    fidelity = source.spec.fidelity if source else None
    discriminator = source.spec.discriminator if source else NO_DISCRIMINATOR
    families = fidelity.families if fidelity else PIXEL_LOSS if source else frozenset()
    return {
        "cell": source.id if source else restored.id,
        **{name: cell.labels[name] for name in NAMES},
        "fidelity_id": fidelity.identity if fidelity else ("none" if source else restored.spec.task.baseline),
        "fidelity_families": joined(families),
        "discriminator_id": discriminator.identity,
        "discriminator_families": joined(discriminator.families),
        "test_set": cell.labels["test_set"],
    }
