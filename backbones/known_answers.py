"""Known answers: does a backbone, once loaded, compute what it computed when its weights were known to be right?

A digest checks a file, and strict loading its names and shapes; neither checks what is computed with it. A layer can
be in the wrong place, the preprocessing can differ, or a new version of torch can draw other random numbers. Therefore
every backbone is given a tiny probe when it is loaded, and a few numbers per stage are compared with those stored in
``known_answers.json`` for the same architecture and weights. Where none are stored (for a user's own weights),
features must at least be finite and depend on the image, so that all-zero or NaN weights are refused.

Answers are added by ``lopsided weights verify NAME --record backbones/known_answers.json``, from weights whose digest
is right. To replace an answer on purpose, delete it from the file first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..common.errors import one_line
from ..common.files import write_json
from ..common.identity import sha256_file
from .registry import BackboneError, BackboneSpec, architecture

Features = Callable[[Tensor], list[Tensor]]
Answer = dict[str, dict[str, float]]  # stage -> quantity -> value

STORED = Path(__file__).with_name("known_answers.json")
SIDE = 48  # pixels of the probe: no stage shrinks to one pixel, and VGG-16 needs some 40 ms
PROJECTIONS = 4
# Fraction of a stage's root mean square. Float32 departs from float64 by at most 3e-6 in any backbone, which leaves
# room for other machines' kernels; a layer that is zero, noisy or the wrong one changes some number by more. One per
# cent on one layer does so in VGG and ResNet, but not in every layer of a transformer: the digest checks the bytes.
TOLERANCE = 1e-3


def probe(side: int) -> Tensor:
    """Return two images ``(2, 3, side, side)`` in [0, 1], sums of sines that differ in every colour; no random draw."""
    n, c, y, x = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64, device="cpu") for size in (2, 3, side, side)), indexing="ij"
    )
    waves = (
        torch.sin(0.9 * x + 0.3 * y + c + 2 * n)
        + torch.sin(0.17 * x * (1 + n) - 0.41 * y + 2.1 * c)
        + torch.sin(0.05 * x * y + 0.7 * c + n)
    )
    return (0.5 + waves / 6).float()


def answer(spec: BackboneSpec, features: Features) -> Answer:
    """Return numbers that say what ``features``, all stages of ``spec`` with max pooling, computes from the probe.

    For each stage: mean, standard deviation, and projections onto closed-form vectors of unit root mean square, divided
    by the root of the number of values so that each is about as large as a typical feature.

    Raises:
        BackboneError: features are not finite, or do not depend on the image.
    """
    kind = architecture(spec.name)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        maps = features(probe(max(SIDE, kind.min_size)))
    found: Answer = {}
    for stage, feature_map in zip(kind.stages, maps, strict=True):
        values = feature_map.double()
        if not values.isfinite().all():
            raise BackboneError(f"'{spec.name}' ({spec.weights}): features of stage {stage.name} are not finite")
        if (values[0] - values[1]).abs().max() <= 1e-6 * values.abs().max():
            raise BackboneError(
                f"'{spec.name}' ({spec.weights}): features of stage {stage.name} are the same for every image"
            )
        numbers = {"mean": values.mean(), "deviation": values.std(correction=0)}
        for index in range(PROJECTIONS):
            projected = values
            for axis in range(4):  # the vector is an outer product over the axes, from the last to the first
                projected = projected @ _wave(values.shape[3 - axis], index + 1 + 4 * axis)
            numbers[f"projection {index + 1}"] = projected / math.sqrt(values.numel())
        found[stage.name] = {name: float(f"{value.item():.7g}") for name, value in numbers.items()}
    return found


def stored(spec: BackboneSpec, path: Path | None) -> Answer | None:
    """Return the stored answer of ``spec`` loaded from ``path``, if any; files are told apart by their bytes."""
    known = _read(STORED).get(spec.architecture, {})
    if path is None:
        return known.get(spec.definition()["weights"])
    if not any(key.startswith("sha256:") for key in known):
        return None  # and the file need not be hashed
    digest = spec.definition()[
        "weights"
    ]  # of a published file the leading digits, which were checked when it was found
    if digest.startswith("hub:"):
        digest = f"sha256:{sha256_file(path)}"
    return next((known[key] for key in known if key.startswith(digest)), None)


def check_known_answer(spec: BackboneSpec, path: Path | None, features: Features) -> None:
    """Refuse a backbone that does not compute what it is known to compute with its weights.

    Args:
        spec: the backbone.
        path: the file its weights were loaded from; None for random ones.
        features: all its stages, with max pooling and in evaluation mode.

    Raises:
        BackboneError: the answer is not the stored one, or features are not finite or do not depend on the image.
    """
    seen, known = answer(spec, features), stored(spec, path)
    if known is None:
        return
    for stage, numbers in known.items():
        scale = math.hypot(numbers["mean"], numbers["deviation"])
        for name, expected in numbers.items():
            if not abs(seen[stage][name] - expected) <= TOLERANCE * scale:
                origin = f"'{path}'" if path else f"drawn from seed {spec.seed} by torch {torch.__version__}"
                remedy = "reinstall lopsided and torch" if path else "use the torch that earlier results come from"
                raise BackboneError(
                    f"'{spec.name}', {origin}, fails its known-answer test: at stage {stage} the {name} is "
                    f"{seen[stage][name]:.6g}, expected {expected:.6g} ± {TOLERANCE * scale:.1g}; {remedy}"
                )


def record(file: Path, spec: BackboneSpec, path: Path | None, features: Features) -> None:
    """Add the answer of a backbone to ``file``, which is created if it does not exist."""
    answers = _read(file) if file.exists() else {}
    weights = f"sha256:{sha256_file(path)}" if path else spec.definition()["weights"]
    answers.setdefault(spec.architecture, {}).setdefault(weights, answer(spec, features))
    write_json(file, {name: dict(sorted(known.items())) for name, known in sorted(answers.items())})


def _wave(size: int, number: int) -> Tensor:
    phase = torch.arange(size, dtype=torch.float64, device="cpu") * math.sqrt(number + 1) + number
    return math.sqrt(2) * torch.cos(phase)


def _read(file: Path) -> dict[str, dict[str, Answer]]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"cannot read the known answers of backbones in '{file}': {one_line(error)}") from None
