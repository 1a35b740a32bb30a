"""Full-reference data sets in the layouts that their authors publish: facts about each, and its reader.

A reader lists what the label files say; the manifest's checks look at the images.
"""

from __future__ import annotations

from pathlib import Path

from ...common.errors import SourceError
from ..manifest import Labels
from .label_files import AnyCase, Listed, one_of, read_column, read_lines, read_mat, read_table, record
from .registry import UNSTATED, UT_AUSTIN, DatasetInfo, register

LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def read_kadid(folder: Path) -> Listed:
    """Read KADID-10k: ``dmos.csv`` and ``images/I01_01_01.png`` (reference, kind, level).

    Its column ``var`` holds standard deviations: read as those of 30 votes of whole numbers, it is reproduced to the
    printed digit in 98.5 % of the rows; read as variances, in 3.4 %.
    """
    records = []
    for where, row in read_table(one_of(folder, ["dmos.csv"]), ("dist_img", "ref_img", "dmos", "var")):
        _, kind, level = _parts(where, row["dist_img"], "_", 3)
        image, reference = f"images/{row['dist_img']}", f"images/{row['ref_img']}"
        records.append(
            record(
                where,
                image=image,
                reference=reference,
                distortion=kind,
                level=level,
                label=row["dmos"],
                label_std=row["var"],
            )
        )
    return Listed(records)


register(
    DatasetInfo(
        name="kadid-10k",
        title="KADID-10k",
        task="fr",
        images=10_125,
        references=81,
        # Called DMOS by its authors, but 5 is best.
        labels=Labels("dmos", higher_is_better=True, scale=(1, 5), std_of="votes", licence=UNSTATED),
        votes="30",
        split="",
        source="Lin, Hosu, Saupe, QoMEX 2019",
        layout="dmos.csv, images/",
        unconfirmed="licence",
        read=read_kadid,
    )
)


def read_tid(folder: Path) -> Listed:
    """Read TID2008 or TID2013: ``mos_with_names.txt``, ``mos_std.txt`` and two folders of bitmaps.

    Images are ``distorted_images/i01_01_1.bmp`` (reference, kind, level), references ``reference_images/I01.BMP``; the
    case of letters varies between label file and folders and within them, and is ignored.
    """
    lines = read_lines(one_of(folder, ["mos_with_names.txt"]), 2)
    deviations = read_column(one_of(folder, ["mos_std.txt"]), len(lines))
    images, references = AnyCase(folder, "distorted_images"), AnyCase(folder, "reference_images")
    records = []
    for (where, (mos, name)), deviation in zip(lines, deviations, strict=True):
        reference, kind, level = _parts(where, name, "_", 3)
        records.append(
            record(
                where,
                image=images.find(where, name),
                reference=references.find(where, f"{reference.upper()}.BMP"),
                distortion=kind,
                level=level,
                label=mos,
                label_std=deviation,
            )
        )
    return Listed(records)


register(
    DatasetInfo(
        name="tid2013",
        title="TID2013",
        task="fr",
        images=3_000,
        references=25,
        labels=Labels("mos", higher_is_better=True, scale=(0, 9), std_of="mean", licence=UNSTATED),
        votes="about 37",
        split="",
        source="Ponomarenko et al., Signal Processing: Image Communication 2015",
        layout="mos_with_names.txt, mos_std.txt, reference_images/, distorted_images/",
        unconfirmed="licence; number of votes (deduced from the printed digits)",
        read=read_tid,
    )
)

register(
    DatasetInfo(
        name="tid2008",
        title="TID2008",
        task="fr",
        images=1_700,
        references=25,
        labels=Labels("mos", higher_is_better=True, scale=(0, 9), licence=UNSTATED),
        votes=UNSTATED,
        split="",
        source="Ponomarenko et al., Advances of Modern Radioelectronics 2009",
        layout="mos_with_names.txt, mos_std.txt, reference_images/, distorted_images/",
        unconfirmed="licence, votes, and what the standard deviations are of",
        read=read_tid,
    )
)


def read_live(folder: Path) -> Listed:
    """Read LIVE release 2: ``refnames_all.mat``, ``dmos_realigned.mat``, ``refimgs/`` and one folder per kind.

    The arrays list the images ``img1.bmp``, ``img2.bmp``, … of jp2k, jpeg, wn, gblur and fastfading in this order;
    where ``orgs`` is 1 the image is an undistorted copy and has no label. If a folder has an ``info.txt``, it must name
    the same references.
    """
    path = one_of(folder, ["dmos_realigned.mat"])
    labels, deviations, copies = read_mat(path, "dmos_new", "dmos_std", "orgs")
    (references,) = read_mat(one_of(folder, ["refnames_all.mat"]), "refnames_all")
    names = [f"{kind}/img{number}.bmp" for kind, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    arrays = {"dmos_new": labels, "dmos_std": deviations, "orgs": copies, "refnames_all": references}
    for variable, values in arrays.items():
        if len(values) != len(names):
            raise SourceError(f"{path}: {variable} has {len(values)} values, LIVE release 2 {len(names)}.")
    _check_info(folder, dict(zip(names, references, strict=True)))
    records, belonging = [], []
    for index, name in enumerate(names):
        if copies[index]:
            belonging.append(name)
            continue
        records.append(
            record(
                f"{path}, image {index + 1}",
                image=name,
                reference=f"refimgs/{references[index]}",
                distortion=name.split("/")[0],
                label=float(labels[index]),
                label_std=float(deviations[index]),
            )
        )
    return Listed(records, frozenset(belonging))


register(
    DatasetInfo(
        name="live",
        title="LIVE release 2",
        task="fr",
        images=779,
        references=29,
        # The realigned labels exceed the nominal range 0 to 100: the lowest is -2.640, the highest 111.775.
        labels=Labels("dmos", higher_is_better=False, scale=(-3, 112), licence=UT_AUSTIN),
        votes="20 to 29",
        split="",
        source="Sheikh, Sabir, Bovik, IEEE TIP 2006",
        layout="refnames_all.mat, dmos_realigned.mat, refimgs/, jp2k/, jpeg/, wn/, gblur/, fastfading/",
        unconfirmed="what the standard deviations are of (1.1 to 5.4 is the size of a standard error)",
        read=read_live,
    )
)


def read_csiq(folder: Path) -> Listed:
    """Read CSIQ: ``src_imgs/1600.png``, ``dst_imgs/awgn/1600.AWGN.1.png`` and one of three label files.

    The first that exists is read: ``csiq.DMOS.csv``, the sheet ``all_by_image`` of the published workbook as CSV from
    its header on; ``csiq.DMOS.xlsx`` itself; ``csiq_label.txt``, a text file that many copies have (name and DMOS, no
    deviations). The distorted images can be in folders by kind, as published, or all in ``dst_imgs``.
    """
    labels = one_of(folder, ["csiq.DMOS.csv", "csiq.DMOS.xlsx", "csiq_label.txt"])
    rows: list[tuple[str, str, str, str, str, str | None]] = []
    if labels.suffix == ".txt":
        for where, (name, dmos) in read_lines(labels, 2):
            reference, kind, level = _parts(where, name.removesuffix(".png") + ".png", ".", 3)
            rows.append((where, reference, kind, level, dmos, None))
    else:
        for where, row in read_table(labels, ("image", "dst_type", "dst_lev", "dmos_std", "dmos")):
            kind = row["dst_type"].replace(" ", "")
            kind = "awgn" if kind == "noise" else kind
            rows.append((where, row["image"], kind, row["dst_lev"], row["dmos"], row["dmos_std"]))
    references = AnyCase(folder, "src_imgs")
    found: dict[str, AnyCase] = {}
    records = []
    for where, reference, kind, level, dmos, deviation in rows:
        sub = f"dst_imgs/{kind.lower()}"
        sub = sub if (folder / sub).is_dir() else "dst_imgs"
        images = found.setdefault(sub, AnyCase(folder, sub))
        records.append(
            record(
                where,
                image=images.find(where, f"{reference}.{kind}.{level}.png"),
                reference=references.find(where, f"{reference}.png"),
                distortion=kind.lower(),
                level=level,
                label=dmos,
                label_std=deviation,
            )
        )
    return Listed(records)


register(
    DatasetInfo(
        name="csiq",
        title="CSIQ",
        task="fr",
        images=866,
        references=30,
        labels=Labels("dmos", higher_is_better=False, scale=(0, 1), licence=UNSTATED),
        votes="about 6 (5,000 of 35 observers)",
        split="",
        source="Larson, Chandler, Journal of Electronic Imaging 2010",
        layout="csiq.DMOS.csv, csiq.DMOS.xlsx or csiq_label.txt; src_imgs/, dst_imgs/",
        unconfirmed="licence, and what the standard deviations are of",
        read=read_csiq,
    )
)


def read_pipal(folder: Path) -> Listed:
    """Read the labelled part of PIPAL: ``Train_Label/*.txt`` (``A0001_00_00.bmp,1520.0648``), ``Train_Ref/A0001.bmp``.

    The distorted images can be in ``Distortion_1`` to ``Distortion_4`` (as published), ``Train_Dist`` or
    ``Dist_Imgs``. The middle number of a name is the kind of distortion, the last number counts within the kind.
    """
    labels = sorted(one_of(folder, ["Train_Label"]).glob("*.txt"))
    if not labels:
        raise SourceError(f"{folder / 'Train_Label'}: no .txt file.")
    places = ["Train_Dist", "Dist_Imgs", *(f"Distortion_{part}" for part in range(1, 5))]
    present = [place for place in places if (folder / place).is_dir()]
    where_is = {path.name: place for place in present for path in (folder / place).iterdir()}
    default = present[0] if present else "Distortion_1"
    records = []
    for path in labels:
        for where, (name, elo) in read_lines(path, 2):
            reference, kind, _ = _parts(where, name, "_", 3)
            image = f"{where_is.get(name, default)}/{name}"
            records.append(
                record(where, image=image, reference=f"Train_Ref/{reference}.bmp", distortion=kind, label=elo)
            )
    return Listed(records)


register(
    DatasetInfo(
        name="pipal",
        title="PIPAL (training part)",
        task="fr",
        images=23_200,
        references=200,
        # Elo has no ends: these are those of the published labels (916.71 and 1835.99), rounded outwards.
        labels=Labels("mos", higher_is_better=True, scale=(916, 1836), licence=UNSTATED),
        votes=UNSTATED,
        split="",
        source="Gu et al., ECCV 2020",
        layout="Train_Label/, Train_Ref/, Distortion_1/ to Distortion_4/ (or Train_Dist/, Dist_Imgs/)",
        unconfirmed="licence and votes; labels of validation and test are not public",
        read=read_pipal,
    )
)

register(
    DatasetInfo(
        name="tqd",
        title="TQD",
        task="fr",
        images=None,
        references=None,
        labels=None,
        votes=UNSTATED,
        split="",
        source="Ding, Ma, Wang, Simoncelli, IEEE TPAMI 2022",
        layout="manifest.csv, as lopsided data import writes it",
        unconfirmed="published layout, counts, labels, licence",
    )
)


def read_qads(folder: Path) -> Listed:
    """Read QADS: ``mos_with_names.txt``, ``source_images/img01.bmp``, ``super-resolved_images/img01_2_1.bmp``.

    The numbers of a name are the image, the upscaling factor (here the level) and the super-resolution method.
    """
    records = []
    for where, (mos, name) in read_lines(one_of(folder, ["mos_with_names.txt"]), 2):
        reference, factor, method = _parts(where, name, "_", 3)
        records.append(
            record(
                where,
                image=f"super-resolved_images/{name}",
                reference=f"source_images/{reference}.bmp",
                distortion=f"method {method}",
                level=factor,
                label=mos,
            )
        )
    return Listed(records)


register(
    DatasetInfo(
        name="qads",
        title="QADS",
        task="fr",
        images=980,
        references=20,
        labels=Labels("mos", higher_is_better=True, licence=UNSTATED),
        votes=UNSTATED,
        split="",
        source="Zhou, Wang, Chen, Neurocomputing 2019",
        layout="mos_with_names.txt, source_images/, super-resolved_images/",
        unconfirmed="scale (labels seen are between 0 and 1), licence, votes",
        read=read_qads,
    )
)


def read_sriqa(folder: Path) -> Listed:
    """Read SRIQA-Bench: ``MOS/0001.txt`` (``0001_Method.png,score``), ``images/Method/…``, ``images/Original/…``.

    Scores are scaled to 0..100 among the versions of one image: compare them within a reference only.
    """
    labels = sorted(one_of(folder, ["MOS"]).glob("*.txt"))
    if not labels:
        raise SourceError(f"{folder / 'MOS'}: no .txt file.")
    records = []
    for path in labels:
        for where, (name, score) in read_lines(path, 2):
            reference, method = _parts(where, name, "_", 2)
            if method == "Original":
                continue
            image, original = f"images/{method}/{name}", f"images/Original/{reference}_Original.png"
            records.append(record(where, image=image, reference=original, distortion=method, label=score))
    return Listed(records)


register(
    DatasetInfo(
        name="sriqa-bench",
        title="SRIQA-Bench",
        task="fr",
        images=1_000,
        references=100,
        labels=Labels("mos", higher_is_better=True, scale=(0, 100), licence=UNSTATED),
        votes="at least 10 for each of all comparisons",
        split="",
        source="Chen et al., CVPR 2025",
        layout="MOS/, images/Original/, images/<method>/",
        unconfirmed="licence; that images and originals are equal in size",
        read=read_sriqa,
    )
)


def _parts(where: str, name: str, separator: str, count: int) -> list[str]:
    """Split a file's name, without its suffix, into its parts."""
    stem = name.rpartition(".")[0]
    parts = stem.split(separator)
    if len(parts) != count or not all(parts):
        raise SourceError(f"{where}: {name!r} is not a name of this data set ({count} parts joined by {separator!r}).")
    return parts


def _check_info(folder: Path, references: dict[str, str]) -> None:
    """Compare LIVE's ``info.txt`` files, where they exist, with the references of the arrays."""
    for kind in LIVE_FOLDERS:
        if not (folder / kind / "info.txt").is_file():
            continue
        for where, (reference, name, _) in read_lines(folder / kind / "info.txt", 3):
            if (stated := references.get(f"{kind}/{name}")) != reference:
                raise SourceError(
                    f"{where}: the reference of {name} is {reference}, but refnames_all.mat says {stated}."
                )
