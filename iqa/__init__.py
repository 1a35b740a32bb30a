"""Assessment: rated data sets, measures as metrics on them, judges of restored images, and no-reference models.

>>> from lopsided.iqa import create_judge, list_datasets
>>> "kadid-10k" in list_datasets()
True
>>> create_judge("psnr_y", scale=4).lower_is_better
False

Names are imported when they are first used. No-reference models are in :mod:`lopsided.iqa.nr`.
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from .contamination import (
        Overlap,
        Pictures,
        canonical,
        overlap_by_content,
        overlap_by_name,
        pictures_of_dataset,
        pictures_of_items,
    )
    from .datasets import (
        CheckReport,
        Columns,
        DatasetInfo,
        PairDataset,
        PairRow,
        check_dataset,
        dataset_info,
        import_csv,
        list_datasets,
        list_images,
        open_dataset,
        write_manifest,
    )
    from .fr import batch_pixels, evaluate_fr, evaluate_fr_group
    from .judges import (
        NO_REFERENCE,
        Judge,
        JudgeError,
        JudgeSpec,
        NoReferenceEntry,
        create_judge,
        list_judges,
        parse_judge,
    )
    from .ladder import DISTORTIONS, LEVELS, LadderSpec, build_ladder, distort
    from .learn import LearntWeights, learn_from_dataset, needs_textures, split_references, texture_items
    from .manifest import FRDataset, FRRow, LabelKind, Labels, NRDataset, RatedImage, Split, StdOf, read_manifest
    from .pairs import evaluate_pairs
    from .score import ImagePair, PairedFiles, build_judges, pair_files, score_files, summarise_scores

__all__ = [
    "DISTORTIONS",
    "LEVELS",
    "NO_REFERENCE",
    "CheckReport",
    "Columns",
    "DatasetInfo",
    "FRDataset",
    "FRRow",
    "ImagePair",
    "Judge",
    "JudgeError",
    "JudgeSpec",
    "LabelKind",
    "Labels",
    "LadderSpec",
    "LearntWeights",
    "NRDataset",
    "NoReferenceEntry",
    "Overlap",
    "PairDataset",
    "PairRow",
    "PairedFiles",
    "Pictures",
    "RatedImage",
    "Split",
    "StdOf",
    "batch_pixels",
    "build_judges",
    "build_ladder",
    "canonical",
    "check_dataset",
    "create_judge",
    "dataset_info",
    "distort",
    "evaluate_fr",
    "evaluate_fr_group",
    "evaluate_pairs",
    "import_csv",
    "learn_from_dataset",
    "list_datasets",
    "list_images",
    "list_judges",
    "needs_textures",
    "open_dataset",
    "overlap_by_content",
    "overlap_by_name",
    "pair_files",
    "parse_judge",
    "pictures_of_dataset",
    "pictures_of_items",
    "read_manifest",
    "score_files",
    "split_references",
    "summarise_scores",
    "texture_items",
    "write_manifest",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".contamination": [
            *("Overlap", "Pictures", "canonical", "overlap_by_content", "overlap_by_name", "pictures_of_dataset"),
            "pictures_of_items",
        ],
        ".datasets": [
            *("CheckReport", "Columns", "DatasetInfo", "PairDataset", "PairRow", "check_dataset", "dataset_info"),
            *("import_csv", "list_datasets", "list_images", "open_dataset", "write_manifest"),
        ],
        ".fr": ["batch_pixels", "evaluate_fr", "evaluate_fr_group"],
        ".judges": [
            *("NO_REFERENCE", "Judge", "JudgeError", "JudgeSpec", "NoReferenceEntry", "create_judge"),
            *("list_judges", "parse_judge"),
        ],
        ".ladder": ["DISTORTIONS", "LEVELS", "LadderSpec", "build_ladder", "distort"],
        ".learn": ["LearntWeights", "learn_from_dataset", "needs_textures", "split_references", "texture_items"],
        ".manifest": [
            *("FRDataset", "FRRow", "LabelKind", "Labels", "NRDataset", "RatedImage", "Split", "StdOf"),
            "read_manifest",
        ],
        ".pairs": ["evaluate_pairs"],
        ".score": [
            *("ImagePair", "PairedFiles", "build_judges", "pair_files", "score_files", "summarise_scores"),
        ],
    },
)
