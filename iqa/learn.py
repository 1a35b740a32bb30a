"""Learn the weights of a DISTS from a full-reference data set, and measure them on held-out references."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..common.errors import ImageError, one_line
from ..common.files import atomic_path
from ..common.images import read_rgb, to_tensor
from ..common.paths import expanded
from ..common.sources import ImageItem, ImageSource, SkimageSource, hash_file
from ..losses import DISTS, DistsSpec
from ..losses.learn_weights import Examples, LearningError, LearningSpec, MosRecipe, Weights, learn, learnable
from .manifest import FRDataset

EMBEDDED_TEXTURES = ("brick", "grass", "gravel")  # the textures among scikit-image's photographs; they are grey
RESAMPLES = 2000
BATCH_PIXELS = 1 << 20  # pixels that pass the backbone together

Progress = Callable[[int, int, str], None]


def _silent(_done: int, _total: int, _note: str) -> None:
    pass


@dataclass(frozen=True)
class LearntWeights:
    """Weights of a DISTS and where they come from.

    Attributes:
        weights: alpha, beta and the history of the loss.
        train_references: references that were learnt from, as the manifest writes them.
        held_out_references: the others.
        results: ``held_out`` and ``train``, each with ``n``, ``n_references``, the correlations of ``uniform`` and
            ``learnt`` weights with the labels (see :func:`correlations`), and ``difference``, the gain in SRCC.
        metadata: the other metadata of the file: definition of the measure, data set, learning spec, textures.
    """

    weights: Weights
    train_references: tuple[str, ...]
    held_out_references: tuple[str, ...]
    results: dict[str, Any]
    metadata: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON values."""
        references = {"train_references": self.train_references, "held_out_references": self.held_out_references}
        return {**self.metadata, **references, "results": self.results, "history": self.weights.history}

    def save(self, path: Path | str) -> None:
        """Write ``alpha``, ``beta`` and, as metadata ``lopsided``, the record, atomically to a safetensors file.

        ``DistsSpec(alpha_beta=path)`` reads it. Equal results give equal bytes.

        Raises:
            OSError: the disk is full or not writable.
        """
        path = expanded(path)
        tensors = {"alpha": self.weights.alpha.float(), "beta": self.weights.beta.float()}
        with atomic_path(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"lopsided": json.dumps(self.record(), sort_keys=True)})
            except SafetensorError as error:  # how safetensors reports a full disk
                raise OSError(f"cannot write {path.name}: {one_line(error)}") from error


def learn_from_dataset(
    measure: DistsSpec,
    dataset: FRDataset,
    spec: LearningSpec,
    *,
    textures: ImageSource | None = None,
    device: str = "cpu",
    progress: Progress = _silent,
) -> LearntWeights:
    """Learn alpha and beta of ``measure`` from the references of ``dataset`` that are not held out.

    Args:
        measure: definition of the DISTS; its own ``alpha_beta`` must be ``uniform``.
        dataset: images, references and labels. Images are taken whole.
        spec: recipe, seeds, share of the references held out.
        textures: source of the textures of recipe ``mos``, see :func:`texture_items`.
        device: where the backbone runs. The weights are learnt on the CPU.
        progress: called with (units done, units in all, note): first images, then steps.

    Raises:
        LearningError: fewer than two references, or a split that leaves one side empty; weights that are not uniform.
        LopsidedError: an image, or the backbone's weights, that cannot be used.
    """
    learnable(measure)
    train, held_out = split_references(dataset, spec.held_out, spec.split_seed)
    built = measure.build().to(device)
    dissimilarity = dissimilarities(built, dataset, device=device, progress=progress)
    chosen = torch.tensor([row.reference in train for row in dataset.rows])
    items = texture_items(textures) if needs_textures(spec) else []
    crops = texture_dissimilarities(built, items, spec, device=device) if items else None
    found = learn(_examples(dataset, dissimilarity, chosen), spec, crops, progress)
    # In the precision of the file, so that the results hold for a measure that reads it.
    learnt = torch.cat([found.alpha, found.beta]).float().double()
    distances = {"uniform": dissimilarity.mean(1), "learnt": dissimilarity @ learnt}
    return LearntWeights(
        found,
        tuple(sorted(train)),
        tuple(sorted(held_out)),
        {name: correlations(dataset, distances, rows) for name, rows in (("held_out", ~chosen), ("train", chosen))},
        {
            "measure": measure.identity,
            "key": measure.key,
            "backbone": measure.backbone.definition(),
            "dataset": dataset.name,
            "dataset_identity": dataset.identity,
            "label_kind": dataset.label_kind,
            "learning": spec.model_dump(mode="json"),
            "textures": [item.sha256 for item in items],
        },
    )


def needs_textures(spec: LearningSpec) -> bool:
    """Tell whether the recipe uses textures."""
    return isinstance(spec.recipe, MosRecipe) and spec.recipe.texture_weight > 0


def texture_items(source: ImageSource | None) -> list[ImageItem]:
    """Return the textures of a source; without a source, scikit-image's brick, grass and gravel, 512×512 pixels, grey.

    Raises:
        SourceError: the source cannot be listed; scikit-image is not installed, or ships other files.
    """
    if source is not None:
        return source.items()
    return [item for item in SkimageSource(split="train").items() if item.name in EMBEDDED_TEXTURES]


def split_references(dataset: FRDataset, held_out: float, seed: int) -> tuple[set[str], set[str]]:
    """Return the references to learn from and those held out, as the manifest writes them.

    The choice depends on the references' contents, the share and the seed alone; files of equal bytes stay together.

    Raises:
        LearningError: fewer than two references, or a share that leaves one side empty.

    Examples:
        >>> import tempfile
        >>> from lopsided.iqa import LadderSpec, build_ladder
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train, held_out = split_references(FRDataset(build_ladder(spec, folder)), held_out=0.3, seed=0)
        >>> len(train), len(held_out)
        (4, 2)
    """
    names: dict[str, set[str]] = {}
    for row in dataset.rows:
        names.setdefault(hash_file(row.reference_path), set()).add(row.reference)
    contents = sorted(names)
    if len(contents) < 2:
        raise LearningError(
            f"{dataset.manifest}: 1 reference; at least 2 are needed, one to learn from and one to hold out"
        )
    count = round(held_out * len(contents))
    if not 0 < count < len(contents):
        raise LearningError(
            f"{dataset.manifest}: held_out {held_out:g} of {len(contents)} references "
            f"{'holds none out' if count == 0 else 'leaves none to learn from'}; "
            f"give a share between {1 / len(contents):.2g} and {1 - 1 / len(contents):.2g}"
        )
    order = np.random.default_rng(seed).permutation(len(contents))
    apart = {contents[index] for index in order[:count]}
    sides: tuple[set[str], set[str]] = (set(), set())
    for content in contents:
        sides[content in apart].update(names[content])
    return sides


@torch.inference_mode()
def dissimilarities(measure: DISTS, dataset: FRDataset, *, device: str = "cpu", progress: Progress = _silent) -> Tensor:
    """Return 1 - similarity of every image to its reference, ``(N, 2C)`` float64, in the data set's order.

    The first C columns are texture, the others structure; see :meth:`DISTS.terms`.

    Raises:
        ImageError: a file that cannot be read.
        LearningError: a value that is not finite.
        MeasureError: an image that the measure does not accept.
    """
    place = {row.image: index for index, row in enumerate(dataset.rows)}
    table: Tensor | None = None
    done = 0
    for reference_path, rows in dataset.by_reference():
        reference = to_tensor(read_rgb(reference_path)).to(device)
        size = max(1, BATCH_PIXELS // (reference.shape[-2] * reference.shape[-1]))
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            images = torch.cat([to_tensor(read_rgb(row.image_path)) for row in batch]).to(device)
            values = _dissimilarity(measure, images, reference)
            if not torch.isfinite(values).all():
                bad = batch[int((~torch.isfinite(values)).any(1).nonzero()[0])]
                raise LearningError(f"'{bad.image}': '{measure.spec.key}' gives values that are not finite")
            if table is None:
                table = torch.empty(len(dataset), values.shape[1], dtype=torch.float64)
            table[[place[row.image] for row in batch]] = values
            done += len(batch)
            progress(done, len(dataset), Path(reference_path).stem)
    if table is None:
        raise LearningError(f"{dataset.manifest}: no images")
    return table


@torch.inference_mode()
def texture_dissimilarities(
    measure: DISTS, textures: Sequence[ImageItem], spec: LearningSpec, *, device: str = "cpu"
) -> Tensor:
    """Return 1 - similarity of two random crops of one texture, ``(M, 2C)`` float64, ``texture_pairs`` per texture.

    Raises:
        ImageError: a texture that cannot be read, or is smaller than the crop.
    """
    recipe = spec.recipe
    if not isinstance(recipe, MosRecipe):
        raise LearningError(f"recipe '{recipe.name}' takes no textures")
    rng, side = np.random.default_rng(spec.seed), recipe.texture_crop
    found = []
    for item in textures:
        pixels = read_rgb(item.path)
        height, width = pixels.shape[:2]
        if min(height, width) < side:
            raise ImageError(f"{item.path}: {width}×{height} pixels, texture_crop is {side}; lower it")
        for _ in range(recipe.texture_pairs):
            tops, lefts = rng.integers(height - side + 1, size=2), rng.integers(width - side + 1, size=2)
            pair = [pixels[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
            found.append(_dissimilarity(measure, *(to_tensor(crop).to(device) for crop in pair)))
    return torch.cat(found)


def correlations(dataset: FRDataset, distances: dict[str, Tensor], rows: Tensor) -> dict[str, Any]:
    """Correlate distances under several weights with the labels, over some images.

    Args:
        dataset: the images.
        distances: by name of the weights, ``(N,)`` over all images, lower is better.
        rows: ``(N,)``, which images count.

    Returns:
        ``n``, ``n_references``, ``status``; by name of the weights ``srcc`` and ``plcc`` (positive where distances
        agree with the labels), each with ``_low`` and ``_high`` (bootstrap over references, 95 %; None with one
        reference); ``difference``: SRCC of ``learnt`` minus that of ``uniform``, with its interval over the same
        resamples and ``p``. Undefined values are None.
    """
    from ..analysis.statistics import assess, records  # here, because it imports scipy, which planning does not need

    labels = {"label_kind": dataset.label_kind, "label_higher_is_better": dataset.label_higher_is_better}
    common = {"dataset": "", "dataset_id": "", "higher_is_better": False, "status": "ok", **labels}
    chosen = [(index, row) for index, row in enumerate(dataset.rows) if rows[index]]
    table = pd.DataFrame(
        {
            **common,
            **{name: getattr(row, name) for name in ("reference", "image", "distortion", "level", "label")},
            "measure": weights,
            "measure_id": weights,
            "score": float(values[index]),
        }
        for weights, values in distances.items()
        for index, row in chosen
    )
    found = assess(table, n_boot=RESAMPLES)
    by_weights = {row["measure"]: row for row in records(found.table)}
    first = next(iter(by_weights.values()))
    result: dict[str, Any] = {"n": int(first["n"]), "n_references": int(first["n_references"])}
    result["status"] = next((row["status"] for row in by_weights.values() if row["status"] != "ok"), "ok")
    columns = [name + end for name in ("srcc", "plcc") for end in ("", "_low", "_high")]
    for weights, row in by_weights.items():
        result[weights] = {column: _number(row[column]) for column in columns}
    result["difference"] = None
    for row in records(found.differences):
        sign = 1 if row["measure_a"] == "learnt" else -1
        ends = sorted((sign * row["difference_low"], sign * row["difference_high"]))
        values = (sign * row["difference"], *ends, row["p"])
        keys = ("srcc", "srcc_low", "srcc_high", "p")
        result["difference"] = {key: _number(value) for key, value in zip(keys, values, strict=True)}
    return result


def _examples(dataset: FRDataset, dissimilarity: Tensor, chosen: Tensor) -> Examples:
    sign = 1.0 if dataset.label_higher_is_better else -1.0
    contents = sorted({hash_file(row.reference_path) for row in dataset.rows})
    deviations = [math.nan if row.label_std is None else row.label_std for row in dataset.rows]
    return Examples(
        dissimilarity[chosen],
        torch.tensor([sign * row.label for row in dataset.rows], dtype=torch.float64)[chosen],
        torch.tensor(deviations, dtype=torch.float64)[chosen],
        torch.tensor([contents.index(hash_file(row.reference_path)) for row in dataset.rows])[chosen],
    )


def _dissimilarity(measure: DISTS, images: Tensor, references: Tensor) -> Tensor:
    texture, structure = (torch.cat(terms, 1) for terms in zip(*measure.terms(images, references), strict=True))
    return 1 - torch.cat([texture, structure], 1).cpu().double()


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
