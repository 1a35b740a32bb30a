"""No-reference data sets in the layouts that their authors publish: facts about each, and its reader."""

from __future__ import annotations

from pathlib import Path

from ...common.errors import SourceError
from ..manifest import Labels, Record
from .label_files import Listed, one_of, read_mat, read_table, record
from .registry import UNSTATED, UT_AUSTIN, DatasetInfo, register

LIVE_CHALLENGE_TRAINING = 7  # the first images of the arrays trained the observers; they were not rated like the others


def read_koniq(folder: Path) -> Listed:
    """Read KonIQ-10k: ``1024x768/`` (or, without it, ``512x384/``) and one of its two label files.

    ``koniq10k_distributions_sets.csv`` is preferred, because only it has the official split. Its ``MOS`` is what
    ``koniq10k_scores_and_distributions.csv`` calls ``MOS_zscore``, on a scale of 100; the standard deviations are those
    of votes on a scale of 5, not of the label, and are left out.
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


register(
    DatasetInfo(
        name="koniq-10k",
        title="KonIQ-10k",
        task="nr",
        images=10_073,
        references=None,
        labels=Labels(
            "mos",
            higher_is_better=True,
            scale=(0, 100),
            licence="MIT (label files); photographs: their own Creative Commons licences",
        ),
        votes="given for each image",
        split="train 7,058, validation 1,000, test 2,015",
        source="Hosu, Lin, Sziranyi, Saupe, IEEE TIP 2020",
        layout="koniq10k_distributions_sets.csv or koniq10k_scores_and_distributions.csv; 1024x768/ or 512x384/",
        unconfirmed="licence of the photographs",
        read=read_koniq,
    )
)


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


register(
    DatasetInfo(
        name="live-challenge",
        title="LIVE In the Wild Challenge",
        task="nr",
        images=1_162,
        references=None,
        labels=Labels("mos", higher_is_better=True, scale=(0, 100), std_of="votes", licence=UT_AUSTIN),
        votes="about 175 on average",
        split="",
        source="Ghadiyaram, Bovik, IEEE TIP 2016",
        layout="Data/All{Images,MOS,StdDev}_release.mat, Images/",
        unconfirmed="number of votes",
        read=read_live_challenge,
    )
)


def read_spaq(folder: Path) -> Listed:
    """Read SPAQ: ``Annotations/MOS and Image attribute scores.xlsx`` (or the same as CSV) and ``TestImage/``."""
    stem = "Annotations/MOS and Image attribute scores"
    labels = one_of(folder, [f"{stem}.csv", f"{stem}.xlsx"])
    rows = read_table(labels, ("Image name", "MOS"))
    return Listed([record(where, image=f"TestImage/{row['Image name']}", label=row["MOS"]) for where, row in rows])


register(
    DatasetInfo(
        name="spaq",
        title="SPAQ",
        task="nr",
        images=11_125,
        references=None,
        labels=Labels(
            "mos", higher_is_better=True, scale=(0, 100), licence="education and research, no commercial use"
        ),
        votes="at least 15",
        split="",
        source="Fang et al., CVPR 2020",
        layout="Annotations/MOS and Image attribute scores.csv or .xlsx, TestImage/",
        unconfirmed="number of votes",
        read=read_spaq,
    )
)


def read_flive(folder: Path) -> Listed:
    """Read the whole pictures of FLIVE (PaQ-2-PiQ): ``labels_image.csv``, and ``database/`` with the pictures.

    The label file is beside ``database`` or in it. The official split is read if both of its files are beside the
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


register(
    DatasetInfo(
        name="flive",
        title="FLIVE (PaQ-2-PiQ), whole pictures",
        task="nr",
        images=39_810,
        references=None,
        labels=Labels("mos", higher_is_better=True, scale=(0, 100), licence=UNSTATED),
        votes=UNSTATED,
        split="train 30,253, validation 7,737, test 1,820",
        source="Ying et al., CVPR 2020",
        layout="labels_image.csv, database/, labels>640.csv and labels<=640_padded.csv for the split",
        unconfirmed="licence, votes, counts of images and split",
        read=read_flive,
    )
)


def read_bid(folder: Path) -> Listed:
    """Read BID: ``DatabaseGrades`` as CSV or Excel (number, mean grade, …), ``DatabaseImage0001.JPG``, ….

    The images are in the folder itself or in ``ImageDatabase``.
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


register(
    DatasetInfo(
        name="bid",
        title="BID",
        task="nr",
        images=586,
        references=None,
        labels=Labels("mos", higher_is_better=True, scale=(0, 5), licence=UNSTATED),
        votes=UNSTATED,
        split="",
        source="Ciancio et al., IEEE TIP 2011",
        layout="DatabaseGrades.csv or .xlsx, DatabaseImage*.JPG",
        unconfirmed="column names (number and mean grade are taken as the first two columns), licence, votes",
        read=read_bid,
    )
)


def read_agiqa(folder: Path) -> Listed:
    """Read AGIQA-3K: ``data.csv`` and the images beside it, or in ``images``; the label is perceptual quality."""
    labels = one_of(folder, ["data.csv"])
    images = "images/" if (folder / "images").is_dir() else ""
    records = []
    for where, row in read_table(labels, ("name", "mos_quality", "std_quality")):
        image = f"{images}{row['name']}"
        records.append(record(where, image=image, label=row["mos_quality"], label_std=row["std_quality"]))
    return Listed(records)


register(
    DatasetInfo(
        name="agiqa-3k",
        title="AGIQA-3K",
        task="nr",
        images=2_982,
        references=None,
        labels=Labels("mos", higher_is_better=True, scale=(0, 5), licence=UNSTATED),
        votes="21",
        split="",
        source="Li et al., IEEE TCSVT 2023",
        layout="data.csv and the images beside it or in images/",
        unconfirmed="licence, and what the standard deviations are of",
        read=read_agiqa,
    )
)


def _flive_split(folder: Path) -> dict[str, str]:
    """Return the part of each picture outside the training part; an empty dict if the files of the split are absent."""
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
