"""Opening a data set by name: from the folder that its authors publish, or from a manifest."""

from __future__ import annotations

from pathlib import Path

from ...common.errors import SourceError
from ...common.paths import expanded
from ..manifest import REFERENCED, FRDataset, Listing, NRDataset, Split, read_manifest
from .pairs import PairDataset
from .registry import DatasetInfo, dataset_info

MANIFEST = "manifest"


def open_dataset(
    name: str, path: Path | str, *, split: Split | None = None, complete: bool = True, verify: bool = True
) -> FRDataset | NRDataset | PairDataset:
    """Open a data set and check its labels, and its images by their headers.

    ``lopsided data check`` decodes every image too, and lists all faults instead of stopping at the first.

    Args:
        name: a name of :func:`list_datasets`, or ``manifest``.
        path: the folder that the authors publish; for ``manifest`` the CSV file.
        split: keep only this part of the authors' own division; it is a data set with its own identity.
        complete: refuse a set that does not list as many images and references as its authors published (for judged
            pairs the exact numbers are not known).
        verify: compare files with the hashes that a manifest states.

    Returns:
        :class:`FRDataset`, :class:`NRDataset` or, for BAPPS, :class:`PairDataset`.

    Raises:
        SourceError: unknown name, a split without images, or the first fault of the set.

    Examples:
        >>> import tempfile
        >>> from lopsided.common.sources import SkimageSource
        >>> from lopsided.iqa import LadderSpec, build_ladder
        >>> spec = LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1, 5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = open_dataset("manifest", build_ladder(spec, folder))
        >>> type(dataset).__name__, len(dataset)
        ('FRDataset', 12)
    """
    path = expanded(path)
    if name != MANIFEST and dataset_info(name).task == "pairs":
        if split:
            raise SourceError(f"{path}: each row of {dataset_info(name).title} states its split; open the whole set.")
        return PairDataset(path)
    listing = list_images(name, path)
    if complete and name != MANIFEST and (wrong := wrong_counts(dataset_info(name), listing)):
        raise SourceError(wrong[0])
    called = path.resolve().parent.name if name == MANIFEST else name
    referenced = "reference" in listing.records[0][1]
    return (FRDataset if referenced else NRDataset).from_listing(listing, called, split=split, verify=verify)


def list_images(name: str, path: Path | str) -> Listing:
    """Read what a data set of rated images lists, without looking at the images.

    Arguments are those of :func:`open_dataset`.

    Raises:
        SourceError: a label file is missing or cannot be read.
    """
    path = expanded(path)
    if name == MANIFEST:
        return read_manifest(path)
    info = dataset_info(name)
    if info.task == "pairs":
        raise SourceError(f"{info.title} holds judged pairs, not the rated images that a manifest lists.")
    if info.read is None or info.labels is None:
        manifest = path / "manifest.csv"
        if not manifest.is_file():
            raise SourceError(
                f"{path}: no manifest.csv; {info.title} has no published layout known here: "
                f"make one with 'lopsided data import'."
            )
        return read_manifest(manifest, REFERENCED)
    listed = info.read(path)
    # These enter the set's identity: what labels mean, and nothing whose wording may change.
    cells = {column: info.labels.cells()[column] for column in ("label_kind", "label_higher_is_better")}
    records = [(where, row | cells) for where, row in listed.records]
    return Listing(path, path, records, info.labels, listed.belonging)


def wrong_counts(info: DatasetInfo, listing: Listing) -> list[str]:
    """Return a message for each number (images, references) that differs from the published one."""
    images = len(listing.records)
    references = len({cells["reference"] for _, cells in listing.records if "reference" in cells})
    wrong = []
    if info.images is not None and images != info.images:
        wrong.append(f"{listing.source}: {images} images are listed; {info.title} has {info.images}.")
    if info.references is not None and references != info.references:
        wrong.append(f"{listing.source}: {references} references are listed; {info.title} has {info.references}.")
    return wrong
