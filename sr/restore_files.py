"""Restore image files of any kind: one array, or a folder of files, without stopping at a broken one.

How each kind of image is handled:

=====================  ============================================================================================
size                   any from 1×1 pixels on, up to the limit that :mod:`lopsided.common.images` names
RGB, palette           RGB
grey, bilevel          grey: the mean of the three channels that the generator makes of three equal ones
transparency           ``keep``: the colours are restored as stored, alpha is resized bicubically and attached;
                       ``drop``: colours only; ``refuse``: an error. Alpha that is opaque everywhere is dropped
everything else        as :mod:`lopsided.common.images` says: EXIF orientation is applied; 16-bit, float, CMYK, animated
                       and damaged images are refused
=====================  ============================================================================================

Results are PNG files of the same name at the same place below the output folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..common.devices import check_device
from ..common.errors import ImageError, LopsidedError
from ..common.files import atomic_path, write_json
from ..common.identity import sha256_file
from ..common.images import EXTENSIONS, as_written, read_layers, to_tensor
from ..common.paths import expanded
from .degradation import bicubic_resize
from .errors import SuperResolutionError
from .export import LoadedGenerator
from .restore import DTYPES, Precision, Tiling, restored_bands

Alpha = Literal["keep", "drop", "refuse"]
INPUT = "lopsided:input"  # text in a result that holds the SHA-256 of its image
RECORD = "restore.json"  # in the output folder: what its images were restored with


@dataclass(frozen=True)
class RestoreSettings:
    """How images are restored.

    Attributes:
        tiling: how images larger than a tile are cut.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: fp32; bf16 takes about half the time on hardware that has it; fp16 for generators whose activations
            stay in its range.
        alpha: how transparency is handled, see the table at the top of this module.
    """

    tiling: Tiling = field(default_factory=Tiling)
    device: str = "cpu"
    precision: Precision = "fp32"
    alpha: Alpha = "keep"

    def check(self, loaded: LoadedGenerator) -> None:
        """Check the settings against a generator.

        Raises:
            SuperResolutionError: an unknown value, or one that does not fit the generator.
            DeviceError: a device that torch cannot compute on.
        """
        for name, value, known in (
            ("precision", self.precision, tuple(DTYPES)),
            ("alpha", self.alpha, get_args(Alpha)),
        ):
            if value not in known:
                raise SuperResolutionError(f"{name} '{value}': must be one of {', '.join(known)}")
        if self.precision == "fp16" and loaded.spec.name.startswith("swinir"):
            raise SuperResolutionError(
                f"'{loaded.spec.name}' cannot run in fp16: activations of SwinIR exceed its range (65504); use bf16"
            )
        self.tiling.fitted(loaded.spec.side_multiple(loaded.scale))
        check_device(self.device)


@dataclass
class RestoreSummary:
    """How restoring a folder went; every image is counted once.

    Attributes:
        restored: number of images restored and written.
        changed: number of those that had a result already, of an earlier image with the same name.
        skipped: number of images whose result existed already.
        failed: images that could not be restored, and why.
        others: number of files without an image's extension, which were left alone.

    Examples:
        >>> print(RestoreSummary(restored=12, skipped=1, failed=[(Path("a.png"), "truncated")], others=2))
        restored 12, skipped 1, failed 1 of 14; other files left alone: 2
    """

    restored: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    others: int = 0
    changed: int = 0

    def __str__(self) -> str:
        total = self.restored + self.skipped + len(self.failed)
        again = f" ({self.changed} again, because the image had changed)" if self.changed else ""
        text = f"restored {self.restored}{again}, skipped {self.skipped}, failed {len(self.failed)} of {total}"
        return text + (f"; other files left alone: {self.others}" if self.others else "")


def restore_image(
    image: NDArray[np.uint8],
    loaded: LoadedGenerator,
    settings: RestoreSettings | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> NDArray[np.uint8]:
    """Restore one image.

    Args:
        image: uint8; (H, W) or (H, W, 1) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA, as
            ``numpy.asarray`` gives them for a Pillow image of mode L, LA, RGB or RGBA.
        loaded: the generator, moved to the settings' device; see :func:`~lopsided.sr.load_exported`.
        settings: default: tiles of 192 with overlap 32, on the CPU, in fp32, alpha kept.
        progress: called with (tiles done, tiles in all).

    Returns:
        The restored image, uint8, scale times as high and wide, with the same axes; without alpha where it is opaque
        or dropped.

    Raises:
        ImageError: another dtype or shape, or transparent pixels with ``alpha="refuse"``.
        SuperResolutionError: settings that do not fit the generator, a result that is not finite, too little memory.

    Examples:
        >>> from lopsided.sr import GeneratorSpec, LoadedGenerator, build_generator
        >>> spec = GeneratorSpec(name="swinir-tiny")
        >>> generator = LoadedGenerator(build_generator(spec, 4), spec, 4)
        >>> restore_image(np.zeros((10, 15, 3), np.uint8), generator).shape
        (40, 60, 3)
    """
    settings = settings or RestoreSettings()
    settings.check(loaded)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0 or image.shape[2:] > (4,):
        raise ImageError(f"Expected a uint8 array (H, W) or (H, W, 1 to 4), got {image.dtype} {image.shape}.")
    layers = image.reshape(*image.shape[:2], -1)
    grey, has_alpha = layers.shape[2] <= 2, layers.shape[2] in (2, 4)
    colours, alpha = (layers[..., :-1], layers[..., -1]) if has_alpha else (layers, None)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    if alpha is not None and settings.alpha == "refuse":
        raise ImageError(f"It has transparent pixels (lowest alpha {alpha.min()} of 255); keep or drop alpha.")
    bands = restored_bands(
        loaded.generator.to(settings.device),
        to_tensor(np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)))),
        loaded.scale,
        multiple=loaded.spec.side_multiple(loaded.scale),
        tiling=settings.tiling,
        precision=settings.precision,
        progress=progress,
    )
    height, width = (side * loaded.scale for side in image.shape[:2])
    restored = np.empty((height, width, 1 if grey else 3), dtype=np.uint8)
    row = 0
    for band in bands:
        restored[row : row + band.shape[-2]] = _as_uint8(band, grey, settings)
        row += band.shape[-2]
    if alpha is not None and settings.alpha == "keep":
        restored = np.dstack([restored, bicubic_resize(np.ascontiguousarray(alpha), loaded.scale)])
    return restored[..., 0] if image.ndim == 2 else restored


def restore_folder(
    source: Path | str,
    target: Path | str,
    loaded: LoadedGenerator,
    settings: RestoreSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[float, int, str], None] = lambda _done, _total, _name: None,
) -> RestoreSummary:
    """Restore every image below a folder, or one file, to PNG files at the same relative paths below another folder.

    A file that cannot be restored is noted, and the work goes on with the next. Results appear under their names only
    when complete; results that exist are skipped, so the same call continues an interrupted one. A result holds the
    SHA-256 of its image (PNG text ``lopsided:input``), and is made anew where the image has changed since.
    ``restore.json`` in the output folder records what results were made with; other settings are refused rather than
    mixed with them.

    Args:
        source: folder, searched with its sub-folders for files with an image's extension (hidden ones are left out),
            or one image file.
        target: folder of the results; it can be inside ``source``, but must be another folder.
        loaded: the generator.
        settings: see :func:`restore_image`.
        overwrite: restore all again, and replace existing results.
        progress: called with (images done and the finished share of the current one, images to do, its path).

    Returns:
        Counts, and what failed.

    Raises:
        SuperResolutionError: no images; two images that would become one file; ``target`` holds results of other
            settings or of another program; settings that do not fit the generator.
        OSError: the results cannot be written.
    """
    source, target = expanded(source), expanded(target)
    settings = settings or RestoreSettings()
    settings.check(loaded)
    folder = source if source.is_dir() else source.parent
    if target.resolve() == folder.resolve():
        raise SuperResolutionError(f"output '{target}' is the folder of the input; give results a folder of their own")
    inputs, others = _inputs(source, target)
    outputs = _outputs(folder, target, inputs)
    _settle(target, outputs, _record(loaded, settings), overwrite)
    pairs = list(zip(inputs, outputs, strict=True))
    changed = {output for path, output in pairs if _of_another(path, output)}
    pending = [pair for pair in pairs if overwrite or pair[1] in changed or not pair[1].exists()]
    summary = RestoreSummary(skipped=len(inputs) - len(pending), others=others)
    for index, (path, output) in enumerate(pending):
        name = path.relative_to(folder).as_posix()
        progress(index, len(pending), name)
        try:
            sha256 = sha256_file(path)
            restored = restore_image(read_layers(path), loaded, settings, _shares(progress, index, len(pending), name))
        except LopsidedError as error:
            output.unlink(missing_ok=True)  # when overwriting: a result of other settings must not stay
            summary.failed.append((path, str(error).removeprefix(f"{path}: ")))
        else:
            _write(output, restored, sha256)
            summary.restored += 1
            summary.changed += output in changed
    progress(len(pending), len(pending), "")
    if overwrite:
        write_json(target / RECORD, _record(loaded, settings))
    return summary


def _as_uint8(band: torch.Tensor, grey: bool, settings: RestoreSettings) -> NDArray[np.uint8]:
    """Round a band ``(1, 3, rows, W)`` to (rows, W, channels)."""
    if not torch.isfinite(band).all():
        hint = "" if settings.precision == "fp32" else " (fp32 has more range)"
        raise SuperResolutionError(f"the generator's result in {settings.precision} is not finite{hint}")
    band = band[0].clamp(0, 1)
    band = band.mean(0, keepdim=True) if grey else band
    return band.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _write(path: Path, array: NDArray[np.uint8], input_sha256: str) -> None:
    """Write a result as PNG, atomically."""
    text = PngInfo()
    text.add_text(INPUT, input_sha256)
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=text)


def _of_another(path: Path, output: Path) -> bool:
    """Tell whether a result says that it was made from another image than the one that is there now."""
    try:
        with as_written(), Image.open(output) as image:
            made_from = image.info.get(INPUT)
    except OSError:  # there is no result, or nothing that says so
        return False
    return made_from is not None and made_from != sha256_file(path)


def _shares(
    progress: Callable[[float, int, str], None], index: int, total: int, name: str
) -> Callable[[int, int], None]:
    """Report progress in tiles of one image as progress in images."""
    return lambda done, tiles: progress(index + done / tiles, total, name)


def _inputs(source: Path, target: Path) -> tuple[list[Path], int]:
    """Return the images to restore, in order of their paths, and the number of other files."""
    if source.is_file():
        return [source], 0
    if not source.is_dir():
        raise SuperResolutionError(f"no image or folder '{source}'")
    inside = target.resolve()
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
        and not path.resolve().is_relative_to(inside)
    ]
    images = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not images:
        raise SuperResolutionError(f"'{source}' holds no image ({', '.join(EXTENSIONS)})")
    return images, len(files) - len(images)


def _outputs(folder: Path, target: Path, inputs: list[Path]) -> list[Path]:
    """Return the file of each result; no two are the same, even on file systems that ignore case."""
    outputs = [target / path.relative_to(folder).with_suffix(".png") for path in inputs]
    taken: dict[str, Path] = {}
    for path, output in zip(inputs, outputs, strict=True):
        twin = taken.setdefault(str(output).casefold(), path)
        if twin is not path:
            raise SuperResolutionError(f"'{twin}' and '{path}' would both become '{output}'; rename one")
    return outputs


def _record(loaded: LoadedGenerator, settings: RestoreSettings) -> dict[str, Any]:
    """Return what determines the pixels of a result."""
    return {
        "generator": loaded.spec.name,
        "scale": loaded.scale,
        "weights_sha256": loaded.digest,
        "tile": settings.tiling.tile,
        "overlap": settings.tiling.overlap,
        "precision": settings.precision,
        "alpha": settings.alpha,
    }


def _settle(target: Path, outputs: list[Path], record: dict[str, Any], overwrite: bool) -> None:
    """Make sure that all results in a folder come from the same settings, even if a run is interrupted."""
    path = target / RECORD
    if overwrite:
        path.unlink(missing_ok=True)  # written at the end: until then the folder can hold results of two settings
        return
    way_out = "; replace it with --overwrite, or choose another folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key in record if found.get(key) != record[key]]
    except FileNotFoundError:
        if existing := next((output for output in outputs if output.exists()), None):
            raise SuperResolutionError(f"'{existing}' exists, and no {RECORD} records its origin{way_out}") from None
        write_json(path, record)
        return
    except (ValueError, AttributeError):
        raise SuperResolutionError(f"'{path}' is damaged{way_out}") from None
    if different:
        key = different[0]
        raise SuperResolutionError(f"'{target}' was made with {key} {found.get(key)}, not {record[key]}{way_out}")
