"""What is known of each data set: layout, counts, labels, licence. Facts only; nothing of a data set is shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...common.errors import SourceError, did_you_mean
from ..manifest import Labels
from . import full_reference as fr
from . import no_reference as nr
from .label_files import Listed

UNSTATED = "not confirmed"
UT_AUSTIN = "free use with copyright notice and acknowledgement (UT Austin)"


@dataclass(frozen=True)
class DatasetInfo:
    """One data set.

    Attributes:
        name: what commands and experiments call it.
        title: what papers call it.
        task: ``fr`` (images with references), ``nr`` (images alone) or ``pairs`` (judged pairs of patches).
        images, references: how many the complete set has; None where no number is certain, or nothing has references.
        labels: what labels mean; None where a manifest states it (no published layout is known) and for pairs.
        votes: votes behind each label, in words.
        split: the authors' own division, in words; empty where there is none.
        source: paper or page.
        layout: the files and folders that are read.
        unconfirmed: what of the above is not certain.
        read: reader of the layout; None for pairs and where the set must be imported.
    """

    name: str
    title: str
    task: Literal["fr", "nr", "pairs"]
    images: int | None
    references: int | None
    labels: Labels | None
    votes: str
    split: str
    source: str
    layout: str
    unconfirmed: str = ""
    read: Callable[[Path], Listed] | None = None


_ALL = (
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
        read=fr.read_kadid,
    ),
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
        read=fr.read_tid,
    ),
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
        read=fr.read_tid,
    ),
    DatasetInfo(
        name="live",
        title="LIVE release 2",
        task="fr",
        images=779,
        references=29,
        # The realigned labels leave the nominal 0 to 100: their least is -2.640, their greatest 111.775.
        labels=Labels("dmos", higher_is_better=False, scale=(-3, 112), licence=UT_AUSTIN),
        votes="20 to 29",
        split="",
        source="Sheikh, Sabir, Bovik, IEEE TIP 2006",
        layout="refnames_all.mat, dmos_realigned.mat, refimgs/, jp2k/, jpeg/, wn/, gblur/, fastfading/",
        unconfirmed="what the standard deviations are of (1.1 to 5.4 is the size of a standard error)",
        read=fr.read_live,
    ),
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
        read=fr.read_csiq,
    ),
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
        read=fr.read_pipal,
    ),
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
    ),
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
        read=fr.read_qads,
    ),
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
        read=fr.read_sriqa,
    ),
    DatasetInfo(
        name="bapps",
        title="BAPPS",
        task="pairs",
        images=None,
        references=None,
        labels=None,
        votes="2 (2AFC train), 5 (2AFC val), 3 (JND)",
        split="train, validation",
        source="Zhang et al., CVPR 2018",
        layout="2afc/{train,val}/<subset>/{ref,p0,p1,judge}/, jnd/val/<subset>/{p0,p1,same}/",
        unconfirmed="exact counts (about 151,300 triplets of train, 36,300 of val, 9,600 pairs of JND) and licence",
    ),
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
        read=nr.read_koniq,
    ),
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
        read=nr.read_live_challenge,
    ),
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
        read=nr.read_spaq,
    ),
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
        read=nr.read_flive,
    ),
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
        read=nr.read_bid,
    ),
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
        read=nr.read_agiqa,
    ),
)
DATASETS = {info.name: info for info in _ALL}


def list_datasets() -> list[str]:
    """Return the names of all data sets."""
    return list(DATASETS)


def dataset_info(name: str) -> DatasetInfo:
    """Return what is known of a data set.

    Raises:
        SourceError: unknown name; the message suggests the nearest.
    """
    if name not in DATASETS:
        raise SourceError(f"No data set called {name!r}; {did_you_mean(name.lower(), DATASETS)}")
    return DATASETS[name]
