"""Readers of no-reference data sets in the layouts that their authors publish."""

from __future__ import annotations

from pathlib import Path

from ...common.errors import SourceError
from ..manifest import Record
from .label_files import Listed, one_of, read_mat, read_table, record

LIVE_CHALLENGE_TRAINING = 7  # the first images of the arrays trained the observers and are not rated like the others


def read_koniq(folder: Path) -> Listed:
    """Read KonIQ-10k: ``1024x768/`` (or, without it, ``512x384/``) and one of its two label files.

    ``koniq10k_distributions_sets.csv`` comes first, because only it has the official split. Its ``MOS`` is what
    ``koniq10k_scores_and_distributions.csv`` calls ``MOS_zscore``, on a scale of 100; the standard deviations are of
    votes on a scale of 5, so they are not the label's and are left out.
    """
    labels = one_of(folder, ["koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"])
    images = one_of(folder, ["1024x768", "512x384"]).name
    official = labels.name == "koniq10k_distributions_sets.csv"
    column = "MOS" if official else "MOS_zscore"
    splits = {"training": "train"}
    records = []
    for where, row in read_table(labels, ("image_name", column, "c_total", *(["set"] if official else []))):
        split = splits.get(row["set"], row["set"]) if official else None
        records.append(
            record(where, image=f"{images}/{row['image_name']}", label=row[column], votes=row["c_total"], split=split)
        )
    return Listed(records)


def read_live_challenge(folder: Path) -> Listed:
    """Read the LIVE Challenge: ``Data/AllImages_release.mat``, ``AllMOS_…``, ``AllStdDev_…``; ``Images/``.

    The first seven names are of training images, in ``Images/trainingImages``; they are left out.
    """
    data = one_of(folder, ["Data"])
    (names,) = read_mat(data / "AllImages_release.mat", "AllImages_release")
    (labels,) = read_mat(data / "AllMOS_release.mat", "AllMOS_release")
    (deviations,) = read_mat(data / "AllStdDev_release.mat", "AllStdDev_release")
    if not len(names) == len(labels) == len(deviations):
        raise SourceError(f"{data}: {len(names)} names, {len(labels)} labels and {len(deviations)} deviations.")
    records = [
        record(
            f"{data / 'AllMOS_release.mat'}, image {index + 1}",
            image=f"Images/{names[index]}",
            label=float(labels[index]),
            label_std=float(deviations[index]),
        )
        for index in range(LIVE_CHALLENGE_TRAINING, len(names))
    ]
    return Listed(records)


def read_spaq(folder: Path) -> Listed:
    """Read SPAQ: ``Annotations/MOS and Image attribute scores.xlsx`` (or the same as CSV) and ``TestImage/``."""
    stem = "Annotations/MOS and Image attribute scores"
    labels = one_of(folder, [f"{stem}.csv", f"{stem}.xlsx"])
    rows = read_table(labels, ("Image name", "MOS"))
    return Listed([record(where, image=f"TestImage/{row['Image name']}", label=row["MOS"]) for where, row in rows])


def read_flive(folder: Path) -> Listed:
    """Read the whole pictures of FLIVE (PaQ-2-PiQ): ``labels_image.csv``, and ``database/`` with the pictures.

    The label file lies beside ``database`` or in it. The official split is read where both of its files lie beside the
    label file: ``labels>640.csv`` lists the test pictures, ``labels<=640_padded.csv`` marks those of validation
    (``is_valid``); on some systems these names lose their signs.
    """
    labels = one_of(folder, ["labels_image.csv", "database/labels_image.csv"])
    images = "database/" if (folder / "database").is_dir() else ""
    parts = _flive_split(labels.parent)
    records = []
    for where, row in read_table(labels, ("name", "mos")):
        split = parts.get(row["name"], "train") if parts else None
        records.append(record(where, image=f"{images}{row['name']}", label=row["mos"], split=split))
    return Listed(records)


def read_bid(folder: Path) -> Listed:
    """Read BID: ``DatabaseGrades`` as CSV or Excel (number, mean grade, …), ``DatabaseImage0001.JPG``, ….

    The images lie in the folder itself or in ``ImageDatabase``.
    """
    labels = one_of(folder, ["DatabaseGrades.csv", "DatabaseGrades.xlsx", "DatabaseGrades.xls"])
    images = "ImageDatabase/" if (folder / "ImageDatabase").is_dir() else ""
    records: list[Record] = []
    for where, row in read_table(labels, ()):
        number, grade = [*row.values(), "", ""][:2]
        if not number.removesuffix(".0").isdecimal():
            raise SourceError(f"{where}: the first column is {number!r}, not the number of an image.")
        name = f"{images}DatabaseImage{int(number.removesuffix('.0')):04}.JPG"
        records.append(record(where, image=name, label=grade))
    return Listed(records)


def read_agiqa(folder: Path) -> Listed:
    """Read AGIQA-3K: ``data.csv`` and the images beside it, or in ``images``; the label is perceptual quality."""
    labels = one_of(folder, ["data.csv"])
    images = "images/" if (folder / "images").is_dir() else ""
    records = []
    for where, row in read_table(labels, ("name", "mos_quality", "std_quality")):
        image = f"{images}{row['name']}"
        records.append(record(where, image=image, label=row["mos_quality"], label_std=row["std_quality"]))
    return Listed(records)


def _flive_split(folder: Path) -> dict[str, str]:
    """Return the part of each picture that is not of training, or nothing where the split's files are absent."""
    test = next((path for name in ("labels>640.csv", "labels640.csv") if (path := folder / name).is_file()), None)
    names = ("labels<=640_padded.csv", "labels=640_padded.csv")
    rest = next((path for name in names if (path := folder / name).is_file()), None)
    if test is None or rest is None:
        return {}
    parts = {
        row["name_image"]: "validation"
        for _, row in read_table(rest, ("name_image", "is_valid"))
        if row["is_valid"].lower() == "true"
    }
    return parts | {row["name_image"]: "test" for _, row in read_table(test, ("name_image",))}
