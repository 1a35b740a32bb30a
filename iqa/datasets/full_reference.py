"""Readers of full-reference data sets in the layouts that their authors publish.

A reader lists what the label files say; whether the images are there and right is for the manifest's checks.
"""

from __future__ import annotations

from pathlib import Path

from ...common.errors import SourceError
from .label_files import AnyCase, Listed, one_of, read_column, read_lines, read_mat, read_table, record

LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def read_kadid(folder: Path) -> Listed:
    """Read KADID-10k: ``dmos.csv`` and ``images/I01_01_01.png`` (reference, kind, level).

    Its column ``var`` holds standard deviations: with 30 votes of whole numbers they reproduce 98.5 % of the rows to
    the printed digit, variances 3.4 %.
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


def read_live(folder: Path) -> Listed:
    """Read LIVE release 2: ``refnames_all.mat``, ``dmos_realigned.mat``, ``refimgs/`` and a folder for each kind.

    The arrays list the images ``img1.bmp``, ``img2.bmp``, … of jp2k, jpeg, wn, gblur and fastfading in this order;
    where ``orgs`` is 1 the image is an undistorted copy and has no label. Where a folder has its ``info.txt``, it must
    name the same references.
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


def read_csiq(folder: Path) -> Listed:
    """Read CSIQ: ``src_imgs/1600.png``, ``dst_imgs/awgn/1600.AWGN.1.png`` and one of three label files.

    In this order: ``csiq.DMOS.csv``, the sheet ``all_by_image`` of the published workbook as CSV from its header on;
    ``csiq.DMOS.xlsx`` itself; ``csiq_label.txt``, which circulates (name and DMOS, no deviations). The distorted images
    may lie in folders by kind, as published, or all in ``dst_imgs``.
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


def read_pipal(folder: Path) -> Listed:
    """Read the labelled part of PIPAL: ``Train_Label/*.txt`` (``A0001_00_00.bmp,1520.0648``), ``Train_Ref/A0001.bmp``.

    The distorted images are looked for in ``Distortion_1`` to ``Distortion_4`` (as published), ``Train_Dist`` and
    ``Dist_Imgs``. The middle number of a name is the kind of distortion, the last a running number within it.
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


def _parts(where: str, name: str, separator: str, count: int) -> list[str]:
    """Split a file's name, less its suffix, into its meaningful parts."""
    stem = name.rpartition(".")[0]
    parts = stem.split(separator)
    if len(parts) != count or not all(parts):
        raise SourceError(f"{where}: {name!r} is not a name of this data set ({count} parts joined by {separator!r}).")
    return parts


def _check_info(folder: Path, references: dict[str, str]) -> None:
    """Compare LIVE's ``info.txt`` files, where they are, with the references of the arrays."""
    for kind in LIVE_FOLDERS:
        if not (folder / kind / "info.txt").is_file():
            continue
        for where, (reference, name, _) in read_lines(folder / kind / "info.txt", 3):
            if (stated := references.get(f"{kind}/{name}")) != reference:
                raise SourceError(f"{where}: {name} is of {reference}, by refnames_all.mat of {stated}.")
