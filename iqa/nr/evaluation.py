"""No-reference models on rated images: trained on one part, scored on the other, one row per test image and split."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...common.identity import identity
from ...common.images import to_tensor
from ...common.sources import hash_file
from ..manifest import RatedImage
from .errors import NRDivergedError, NRError
from .features import FeatureCache, Progress, cut_views, read_image
from .initialisation import Trunk, build_trunk, load_discriminator
from .losses import ABSOLUTE
from .model import Network, NRModel
from .pixels import Pixels
from .self_supervision import learn_to_rank, sources
from .spec import FineTuned, LinearProbe, NRSpec, SelfSupervised, ZeroLabelSpec
from .splits import Dataset, Split, Splits, group, reference_name
from .training import descend, ridge


def _silent(_done: int, _total: int, _note: str) -> None:
    pass


def evaluate_nr(
    spec: NRSpec | ZeroLabelSpec,
    dataset: Dataset,
    splits: Splits,
    *,
    device: str = "cpu",
    features: FeatureCache | None = None,
    progress: Progress = _silent,
) -> pd.DataFrame:
    """Train a model on the training part of every split and score its test part.

    Args:
        spec: the model; a discriminator's zero-label metric is not trained, only scored on the same test parts.
        dataset: rated images; references, if there are any, only tell which images belong together.
        splits: how to divide them.
        device: where networks run.
        features: cache of pooled features of frozen backbones.
        progress: called with (units done, units in all, note); units are images, then steps, split by split.

    Returns:
        The tables of :func:`evaluate_split`, one split after another.

    Raises:
        NRError: a data set, split or model that cannot be used.
        LopsidedError: an image or weights that cannot be used.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.iqa import FRDataset, LadderSpec, build_ladder
        >>> ladder = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1, 3, 5))
        >>> spec = NRSpec(backbone="squeezenet1_1", depth=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = evaluate_nr(spec, FRDataset(build_ladder(ladder, folder)), Splits(count=2, test=0.5))
        >>> len(table), sorted(table["split"].unique())  # 2 splits × 3 tested references × 3 levels
        (18, ['0', '1'])
    """
    cache = features or FeatureCache()
    return pd.concat(
        [
            evaluate_split(
                spec,
                dataset,
                split,
                device=device,
                features=cache,
                progress=lambda done, total, note, name=split.name: progress(done, total, f"split {name}: {note}"),
            )
            for split in splits.draw(dataset)
        ],
        ignore_index=True,
    )


def evaluate_split(
    spec: NRSpec | ZeroLabelSpec,
    dataset: Dataset,
    split: Split,
    *,
    device: str = "cpu",
    features: FeatureCache | None = None,
    progress: Progress = _silent,
) -> pd.DataFrame:
    """Train a model on one split's training part and score its test part; see :func:`evaluate_nr`.

    Returns:
        One row per test image, in the data set's order: split, reference (the image itself where it has none), image,
        label, label_kind, label_higher_is_better, higher_is_better (of the score), score, status: ``ok``,
        ``non-finite``, or ``diverged`` where training did, in both cases with a NaN score.
    """
    cache = features or FeatureCache()
    rows = [dataset.rows[index] for index in split.test]
    higher_is_better, failed = dataset.label_higher_is_better, "non-finite"
    if isinstance(spec, ZeroLabelSpec):
        scores, higher_is_better = zero_label_scores(spec, rows, device=device, features=cache, progress=progress), True
    else:
        try:
            model = fit_nr(spec, dataset, split.train, device=device, features=cache, progress=progress)
            scores = score_rows(model, rows, device=device, features=cache, progress=progress)
        except NRDivergedError:
            scores, failed = [math.nan] * len(rows), "diverged"
    return pd.DataFrame(
        {
            "split": split.name,
            "reference": reference_name(row),
            "image": row.image,
            "label": row.label,
            "label_kind": dataset.label_kind,
            "label_higher_is_better": dataset.label_higher_is_better,
            "higher_is_better": higher_is_better,
            "score": score if math.isfinite(score) else math.nan,
            "status": "ok" if math.isfinite(score) else failed,
        }
        for row, score in zip(rows, scores, strict=True)
    )


def fit_nr(
    spec: NRSpec,
    dataset: Dataset,
    train: Sequence[int],
    *,
    device: str = "cpu",
    features: FeatureCache | None = None,
    progress: Progress = _silent,
) -> NRModel:
    """Train a model on some rows of a data set; nothing is learnt from the other rows.

    Args:
        spec: the model.
        dataset: rated images.
        train: indices of the rows to learn from.
        device: where networks run.
        features: cache of pooled features of frozen backbones.
        progress: called with (units done, units in all, note): images, then steps.

    Raises:
        NRDivergedError: a loss, or a score of a training image, became non-finite.
        NRError: labels that are not finite or all equal; an image that is too small.
        LopsidedError: an image or weights that cannot be used.
    """
    cache = features or FeatureCache()
    rows = [dataset.rows[index] for index in train]
    labels = _Labels.of(rows, dataset)
    trunk_identity, trunk = _starting_trunk(spec, rows, device, cache, progress)
    pooled = cache.pooled(spec, trunk, trunk_identity, rows, device=device, progress=progress)
    if isinstance(spec.protocol, FineTuned):
        trunk = copy.deepcopy(trunk).requires_grad_(True)  # the cached one stays as it is for other models
    generator = torch.Generator().manual_seed(spec.seed)
    network = Network(spec, trunk, generator).to(device)
    network.standardise(torch.cat(pooled))
    about: dict[str, Any] = {
        "dataset": dataset.name,
        "dataset_id": dataset.identity,
        "train": identity(sorted(hash_file(row.image_path) for row in rows)),
        "trunk": trunk_identity,
        "label_kind": dataset.label_kind,
        "higher_is_better": dataset.label_higher_is_better,
        "mean": labels.mean,
        "deviation": labels.deviation,
    }
    if isinstance(spec.protocol, LinearProbe):
        groups = group(dataset)
        about["penalty"] = _probe(network, spec.protocol, pooled, labels, [groups[index] for index in train])
    else:
        if isinstance(spec.protocol, FineTuned):
            predict = _from_crops(network, spec.protocol, rows, spec.seed, device)
        else:
            predict = _from_features(network, pooled, generator, device)
        target, spreads = (values.float().to(device) for values in (labels.standardised, labels.spreads))
        descend(network, spec.protocol, predict, target, spreads, generator, progress)
    model = NRModel(spec, identity({"spec": spec.identity, **about}), network.requires_grad_(False), about)
    _set_units(model, labels, rows, device, cache)
    return model


@torch.no_grad()
def score_rows(
    model: NRModel,
    rows: Sequence[RatedImage],
    *,
    device: str = "cpu",
    features: FeatureCache | None = None,
    progress: Progress = _silent,
) -> list[float]:
    """Score the images of rows, each decoded once; equals :meth:`NRModel.score` up to rounding.

    Args:
        model: the model, on ``device``.
        rows: the images.
        device: where the model is.
        features: cache of pooled features of frozen backbones.
        progress: called with (images done, images in all, image).

    Raises:
        ImageError: a file that cannot be read.
        NRError: an image that is too small.
    """
    network, spec = model.network, model.spec
    if isinstance(spec.protocol, FineTuned):
        found = []
        for index, row in enumerate(rows):
            views = cut_views(read_image(row, spec.min_size).to(device), spec)
            found.append(network(views).double().mean())
            progress(index + 1, len(rows), row.image)
    else:
        cache = features or FeatureCache()
        pooled = cache.pooled(spec, network.trunk, model.training["trunk"], rows, device=device, progress=progress)
        found = [network.regress(views.to(device)).double().mean() for views in pooled]
    return network.in_units(torch.stack(found)).tolist()


@torch.no_grad()
def zero_label_scores(
    spec: ZeroLabelSpec,
    rows: Sequence[RatedImage],
    *,
    device: str = "cpu",
    features: FeatureCache | None = None,
    progress: Progress = _silent,
) -> list[float]:
    """Return a discriminator's mean logit of every image, over positions and views; higher means more real.

    Raises:
        ImageError: a file that cannot be read.
        NRError: an image that is too small, or a file of another discriminator.
        DiscriminatorError: a file that does not hold this discriminator's weights.
    """
    cache, place = features or FeatureCache(), spec.identity
    discriminator = load_discriminator(spec.discriminator, spec.weights, seed=spec.seed).to(device)

    def mean_logit(row: RatedImage) -> Tensor:
        views = cut_views(read_image(row, spec.discriminator.min_size).to(device), spec)
        return discriminator(views).double().mean().cpu()

    found = []
    for index, row in enumerate(rows):
        found.append(cache.once((place, hash_file(row.image_path)), lambda row=row: mean_logit(row)).item())
        progress(index + 1, len(rows), row.image)
    return found


@dataclass(frozen=True)
class _Labels:
    """Labels of a training part, standardised by their own mean and deviation."""

    mean: float
    deviation: float
    standardised: Tensor
    spreads: Tensor  # each label's standard deviation in the same units, NaN where unknown

    @classmethod
    def of(cls, rows: Sequence[RatedImage], dataset: Dataset) -> _Labels:
        labels = torch.tensor([row.label for row in rows], dtype=torch.float64)
        if len(labels) < 2 or not torch.isfinite(labels).all() or labels.min() == labels.max():
            raise NRError(
                f"{dataset.name}: nothing can be learnt from {len(labels)} training image(s) whose labels are "
                + ("all equal" if torch.isfinite(labels).all() else "not all finite")
            )
        mean, deviation = labels.mean(), labels.std(correction=0)
        spreads = torch.tensor([math.nan if row.label_std is None else row.label_std for row in rows])
        return cls(mean.item(), deviation.item(), (labels - mean) / deviation, spreads.double() / deviation)


def _starting_trunk(
    spec: NRSpec, rows: Sequence[RatedImage], device: str, cache: FeatureCache, progress: Progress
) -> tuple[str, Trunk]:
    """Return the identity of the weights that a model starts with, and its trunk on ``device``."""
    start = spec.initialisation
    if not isinstance(start, SelfSupervised):
        return spec.trunk_identity, cache.trunk(spec, spec.trunk_identity, lambda: build_trunk(spec).to(device))
    files = sources(rows)
    learnt = identity([spec.trunk_identity, [hash_file(file) for file in files]])

    def build() -> Trunk:
        trunk = build_trunk(spec).to(device)
        learn_to_rank(spec, start, trunk, files, device, progress)
        return trunk

    return learnt, cache.trunk(spec, learnt, build)


def _probe(network: Network, protocol: LinearProbe, pooled: list[Tensor], labels: _Labels, groups: list[int]) -> float:
    """Set the head to ridge regression on each image's mean features; return the penalty."""
    own = network.head.get_parameter("weight"), network.head.get_parameter("bias")
    features = torch.stack([network.standardised(views.to(own[0].device)).double().mean(0) for views in pooled]).cpu()
    centre = features.mean(0)
    given = None if protocol.penalty == "grouped_cv" else protocol.penalty
    weights, penalty = ridge(features - centre, labels.standardised, torch.tensor(groups), given)
    with torch.no_grad():
        own[0].copy_(weights)
        own[1].copy_(-centre @ weights)
    return penalty


def _from_features(
    network: Network, pooled: list[Tensor], generator: torch.Generator, device: str
) -> Callable[[Tensor], Tensor]:
    """Return a function that predicts from one random view of each image, given as pooled features."""
    counts = torch.tensor([len(views) for views in pooled])
    starts, features = counts.cumsum(0) - counts, torch.cat(pooled).to(device)

    def predict(chosen: Tensor) -> Tensor:
        view = (torch.rand(len(chosen), generator=generator, dtype=torch.float64) * counts[chosen]).long()
        return network.regress(features[(starts[chosen] + view).to(device)])

    return predict


def _from_crops(
    network: Network, protocol: FineTuned, rows: Sequence[RatedImage], seed: int, device: str
) -> Callable[[Tensor], Tensor]:
    """Return a function that predicts from a random crop of each image."""
    pixels, rng = Pixels(protocol.crop), np.random.default_rng(seed)

    def predict(chosen: Tensor) -> Tensor:
        crops = [to_tensor(pixels.cut(rows[index].image_path, rng)) for index in chosen.tolist()]
        return network(torch.cat(crops).to(device))

    return predict


def _set_units(model: NRModel, labels: _Labels, rows: Sequence[RatedImage], device: str, cache: FeatureCache) -> None:
    """Convert scores to the labels' units.

    Predictions learnt with ``l1``, ``l2`` or ridge are standardised labels. The other losses leave offset and scale
    open: mean and standard deviation of the training part's scores are set to those of its labels. Unlike a fitted
    line, this never reverses the order of scores.

    Raises:
        NRDivergedError: scores of training images that are all equal or not finite.
    """
    protocol, network = model.spec.protocol, model.network
    slope, intercept = labels.deviation, labels.mean
    if not isinstance(protocol, LinearProbe) and protocol.loss not in ABSOLUTE:
        raw = torch.tensor(score_rows(model, rows, device=device, features=cache), dtype=torch.float64)
        deviation = raw.std(correction=0).item()
        if not (math.isfinite(deviation) and deviation > 0):
            raise NRDivergedError(f"'{model.spec.key}': scores of the training images are all equal or not finite")
        slope = labels.deviation / deviation
        intercept = labels.mean - slope * raw.mean().item()
    network.slope.fill_(slope)
    network.intercept.fill_(intercept)
