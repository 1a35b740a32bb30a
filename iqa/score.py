"""Scores of image files: two files or folders by full-reference judges, one file or folder by no-reference judges."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError
from torch import Tensor

from ..common.devices import check_device
from ..common.errors import LopsidedError, SourceError, one_line
from ..common.images import read_rgb, to_tensor
from ..common.paths import expanded, why_missing
from ..common.sources import images_below
from .fr import ahead
from .judges import Judge, JudgeError, JudgeSpec

NO_REFERENCE_FOUND = "no reference"  # status of an image that has no partner


@dataclass(frozen=True)
class ImagePair:
    """An image to score.

    Attributes:
        name: path below its folder.
        image: the file.
        reference: the file that it is compared with; None if it is scored alone.
    """

    name: str
    image: Path
    reference: Path | None = None


@dataclass(frozen=True)
class PairedFiles:
    """Images, paired with their references.

    Attributes:
        pairs: what can be scored, in natural order of the names.
        without_reference: images that no reference belongs to.
        without_image: references that no image belongs to.
    """

    pairs: list[ImagePair]
    without_reference: list[Path]
    without_image: list[Path]


def pair_files(images: Path | str, references: Path | str | None = None, *, suffix: str = "") -> PairedFiles:
    """Find the images to score, and the reference of each.

    Two folders are paired by the paths of the files below them, without extensions: ``sub/a.jpg`` belongs to
    ``sub/a.png``.

    Args:
        images: an image, or a folder with its sub-folders.
        references: likewise; left out if images are scored alone.
        suffix: what the names of images have at their end and those of references do not, such as ``_x4``.

    Raises:
        SourceError: a file or folder that is missing or empty, a file beside a folder, or two files of one name.
    """
    images = _existing(images)
    if references is None:
        return PairedFiles([ImagePair(name, path) for name, path in _found(images).items()], [], [])
    references = _existing(references)
    if images.is_dir() != references.is_dir():
        raise SourceError(f"'{images}' and '{references}': give two files, or two folders")
    if not images.is_dir():
        (name,), (reference,) = _found(images), _found(references).values()
        return PairedFiles([ImagePair(name, images, reference)], [], [])
    scored, others = _by_key(images, suffix), _by_key(references, "")
    return PairedFiles(
        [ImagePair(name, path, others[key][1]) for key, (name, path) in scored.items() if key in others],
        [path for key, (_, path) in scored.items() if key not in others],
        [path for key, (_, path) in others.items() if key not in scored],
    )


def build_judges(
    wanted: Sequence[str | Mapping[str, Any]], *, references: bool, crop: int = 0, device: str = "cpu"
) -> list[Judge]:
    """Build the judges of image files.

    Args:
        wanted: keys of measures and no-reference models, or mappings such as ``{measure: dists, backbone: vgg16-r}``.
        references: whether there are references to compare with.
        crop: pixels to cut off each border first.
        device: where they run.

    Raises:
        JudgeError: none, one that is unknown or given twice, or one that does not fit ``references``.
        LopsidedError: weights that are missing or fail verification.
    """
    specs = [_judge_spec(one, crop) for one in wanted]
    keys = [spec.key for spec in specs]
    if not keys or len(set(keys)) < len(keys):
        got = ", ".join(keys) or "none (list_judges() and lopsided score --list show them)"
        raise JudgeError(f"give one or more measures, each once; got {got}")
    comparing = [spec.key for spec in specs if spec.measure]
    if comparing and not references:
        raise JudgeError(f"references are missing, with which {', '.join(comparing)} would compare images")
    if references and not comparing:
        raise JudgeError(f"no reference is looked at by {', '.join(keys)}; leave the references out")
    check_device(device)
    return [Judge(spec, device) for spec in specs]


def score_files(
    found: PairedFiles,
    judges: Sequence[Judge],
    *,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _name: None,
) -> pd.DataFrame:
    """Score every image by every judge, one image at a time and at full size.

    Args:
        found: the images and their references.
        judges: what scores them, each of another key.
        progress: called with (images done, images in all, name) after each.

    Returns:
        One row per image: ``image`` and ``reference`` (paths), one column per judge (its key; NaN without a score),
        ``status`` (``ok``, ``failed``, or ``no reference``) and ``reason`` of a failure.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from lopsided.common.images import write_png
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, grey in (("image", 100), ("reference", 151)):
        ...         write_png(f"{folder}/{name}.png", np.full((16, 16, 3), grey, np.uint8))
        ...     files = pair_files(f"{folder}/image.png", f"{folder}/reference.png")
        ...     score_files(files, build_judges(["l1"], references=True))[["l1", "status"]].round(4).values.tolist()
        [[0.2, 'ok']]
    """
    rows = []
    for count, (pair, decoded, problem) in enumerate(ahead(_decoded(found.pairs)), 1):
        scores, reasons = {}, [problem]
        for judge in judges if decoded else []:
            scores[judge.spec.key], reason = _scored(judge, *decoded)
            reasons.append(reason)
        reasons = [reason for reason in reasons if reason]
        rows.append(_row(pair.image, pair.reference, "; ".join(reasons), "failed" if reasons else "ok", scores))
        progress(count, len(found.pairs), pair.name)
    rows += [_row(path, None, "", NO_REFERENCE_FOUND, {}) for path in found.without_reference]
    keys = [judge.spec.key for judge in judges]
    return pd.DataFrame(rows, columns=["image", "reference", *keys, "status", "reason"]).astype(
        dict.fromkeys(keys, "float64")
    )


def summarise_scores(table: pd.DataFrame, judges: Sequence[Judge]) -> pd.DataFrame:
    """Return one row per judge: mean, standard deviation and standard error over the images with a score, and n.

    Args:
        table: what :func:`score_files` returned.
        judges: those that it was given.
    """
    rows = []
    for judge in judges:
        scores = table[judge.spec.key].dropna()
        rows.append(
            {
                "measure": judge.spec.key,
                "better": "lower" if judge.lower_is_better else "higher",
                "mean": scores.mean(),
                "sd": scores.std(),
                "se": scores.sem(),
                "n": len(scores),
            }
        )
    return pd.DataFrame(rows)


def _existing(path: Path | str) -> Path:
    path = expanded(path)
    if not path.exists():
        raise SourceError(f"no image or folder '{path}'{why_missing(path)}")
    return path


def _found(path: Path) -> dict[str, Path]:
    """Return the images of a folder or one file, by name."""
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file for file in images_below(path)}
    return {path.name: path}


def _by_key(folder: Path, suffix: str) -> dict[str, tuple[str, Path]]:
    """Return names and files by what they are paired by."""
    files: dict[str, tuple[str, Path]] = {}
    for name, path in _found(folder).items():
        key = unicodedata.normalize("NFC", name.removesuffix(path.suffix)).removesuffix(suffix)
        if key in files:
            raise SourceError(f"{folder}: '{files[key][0]}' and '{name}' would have one reference; rename one")
        files[key] = name, path
    return files


def _judge_spec(wanted: str | Mapping[str, Any], crop: int) -> JudgeSpec:
    fields: Any = wanted
    if isinstance(wanted, Mapping):
        options = {str(name): value for name, value in wanted.items()}
        fields = {"judge": options.pop("measure", None), "options": options}
    try:
        spec = JudgeSpec.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        shown = wanted if isinstance(wanted, str) else json.dumps(wanted, default=str)
        raise JudgeError(message if problem["type"] == "value_error" else f"{shown}: write {{measure: …}}") from None
    return spec.model_copy(update={"crop": crop})


def _decoded(pairs: Sequence[ImagePair]) -> Iterator[tuple[ImagePair, list[Tensor], str]]:
    """Decode image and reference of each pair; of those that cannot be used there is only the reason."""
    for pair in pairs:
        try:
            images = [to_tensor(read_rgb(path)) for path in (pair.image, pair.reference or pair.image)]
        except LopsidedError as error:
            yield pair, [], str(error)
            continue
        image, reference = (f"{tensor.shape[-1]}×{tensor.shape[-2]}" for tensor in images)
        if image == reference:
            yield pair, images, ""
        else:
            yield pair, [], f"the image is {image}, its reference {reference}"


def _scored(judge: Judge, image: Tensor, reference: Tensor) -> tuple[float, str]:
    """Return a score and an empty text, or NaN and why there is none."""
    try:
        score = judge.score(image.to(judge.device), reference.to(judge.device)).item()
    except (LopsidedError, RuntimeError) as error:  # torch says by a RuntimeError that memory is short
        return math.nan, str(error) if isinstance(error, LopsidedError) else f"{judge.spec.key}: {one_line(error)}"
    return (score, "") if math.isfinite(score) else (math.nan, f"{judge.spec.key} is not finite")


def _row(image: Path, reference: Path | None, reason: str, status: str, scores: Mapping[str, float]) -> dict[str, Any]:
    reference_text = str(reference) if reference else ""
    return {"image": str(image), "reference": reference_text, **scores, "status": status, "reason": reason}
