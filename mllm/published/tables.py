"""Published tables of multimodal LLMs as perceptual scorers: numbers as printed, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...common.errors import did_you_mean
from ...common.registry import Registry
from ..errors import MllmError

UNIPERCEPT = "UniPercept and UniPercept-Bench, arXiv 2512.21675"


@dataclass(frozen=True)
class PublishedTable:
    """One table.

    Attributes:
        name: its name here; the file is ``<name>.csv``.
        title: what it shows.
        source: paper and place in it.
        unit: of the numbers.
        notes: what to know before using it; empty if there is nothing.
    """

    name: str
    title: str
    source: str
    unit: str
    notes: str = ""

    def read(self) -> pd.DataFrame:
        """Return the table; values printed as refused or invalid are NaN."""
        return pd.read_csv(Path(__file__).parent / f"{self.name}.csv")


_TABLES = Registry["PublishedTable"]("published table")


def register_table(table: PublishedTable) -> None:
    """Make a table known to ``published_table`` in this process.

    Raises:
        LopsidedError: the name is taken.
    """
    _TABLES.register(table.name, table)


def list_tables() -> list[str]:
    """Return the name of every published table."""
    return list(_TABLES)


def published_table(name: str) -> PublishedTable:
    """Return the table called ``name``.

    Raises:
        MllmError: no such table; the message names the nearest one.

    Examples:
        >>> table = published_table("unipercept_vr")
        >>> table.unit, list(table.read().columns)
        ('SRCC and PLCC', ['model', 'domain', 'dataset', 'srcc', 'plcc'])
    """
    if name not in _TABLES:
        raise MllmError(f"no published table '{name}'; {did_you_mean(name, _TABLES)}")
    return _TABLES[name]


for _table in (
    PublishedTable(
        "unipercept_vr",
        "Visual rating: agreement with human scores by model and data set, and the printed averages",
        f"{UNIPERCEPT}, table 1",
        "SRCC and PLCC",
        "models marked * were retrained by the authors on ArtiMuse-10K, KonIQ-10K and ISTA-10K",
    ),
    PublishedTable(
        "unipercept_vqa_iaa",
        "Questions on aesthetics: accuracy by category and template",
        f"{UNIPERCEPT}, table 2",
        "%",
    ),
    PublishedTable(
        "unipercept_vqa_iqa",
        "Questions on quality: accuracy by category and template",
        f"{UNIPERCEPT}, table 3",
        "%",
    ),
    PublishedTable(
        "unipercept_vqa_ista",
        "Questions on structure and texture: accuracy by category and template, headings as printed",
        f"{UNIPERCEPT}, table 4",
        "%",
        "its category headings are permuted, see audit_accuracies",
    ),
    PublishedTable(
        "unipercept_vqa_sizes",
        "Number of questions by domain, category and template",
        f"{UNIPERCEPT}, sunburst of the project page",
        "items",
    ),
    PublishedTable(
        "unipercept_ablations",
        "Ablations of the training of UniPercept",
        f"{UNIPERCEPT}, tables 16 and 17",
        "SRCC, PLCC; accuracy in %",
    ),
    PublishedTable(
        "unipercept_rewards",
        "FLUX.1-dev after reinforcement with UniPercept rewards",
        f"{UNIPERCEPT}, section on rewards",
        "each metric's own",
    ),
    PublishedTable(
        "unipercept_means",
        "Mean UniPercept scores of generated images and of data sets",
        f"{UNIPERCEPT}, section on metrics",
        "0 to 100",
        "the GPT-Image-1 row on GenEval equals the Nano-Banana means of the project page's per-image data",
    ),
    PublishedTable(
        "training_sets",
        "Data sets that scorers were fine-tuned on",
        "the papers named in its column source (arXiv)",
        "names",
        "general models are not in it: their makers do not list their data",
    ),
    PublishedTable(
        "culturemix_strategies",
        "CultureMix: entropy and accuracy under robustness strategies",
        "World in a Frame, arXiv 2511.22787, by way of published notes on the paper",
        "entropy (base not stated); accuracy in %",
        "second-hand; another review gives 13.89 for the entropy of Ovis2.5-9B before fine-tuning",
    ),
):
    register_table(_table)
