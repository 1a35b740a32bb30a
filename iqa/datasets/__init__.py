"""IQA data sets in the layouts that their authors publish, one manifest format for any other, and their checks."""

from . import full_reference, no_reference  # noqa: F401  these register the data sets that they read
from .check import CheckReport, check_dataset
from .importing import Columns, import_csv, write_manifest
from .opening import list_images, open_dataset
from .pairs import PairDataset, PairRow
from .registry import DatasetInfo, dataset_info, list_datasets

__all__ = [
    "CheckReport",
    "Columns",
    "DatasetInfo",
    "PairDataset",
    "PairRow",
    "check_dataset",
    "dataset_info",
    "import_csv",
    "list_datasets",
    "list_images",
    "open_dataset",
    "write_manifest",
]
