"""One self-contained HTML report of a study: opening it needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from markupsafe import Markup

from ..figures.gallery import GalleryRow
from ..headline import headline
from ..limitations import limitations
from ..result_tables import TABLES
from ..study import Study
from .advice import advice_blocks
from .asymmetry import asymmetry_blocks, at_a_glance
from .blocks import Section, Text
from .claims import claim_blocks
from .data import count_blocks, data_blocks, fact_table
from .disagreement import disagreement_blocks
from .gallery import gallery_blocks
from .metrics import assessment_blocks
from .objectives import gain_blocks
from .raters import rater_blocks
from .render import render
from .reverse import reverse_blocks
from .robustness import robustness_blocks
from .self_preference import self_preference_blocks

QUESTION = "Is the better metric of image quality also the better objective to train with?"
QUESTION_OF_ASSESSMENT = "Which of these ranks images as their labels do?"
REPRODUCE = Markup("""<p>Every number here follows from the result tables ({tables}); no image or network is needed:</p>
<pre>from lopsided.analysis import StudyTables, analyse

study = analyse(StudyTables.load("TABLES"), n_boot={n_boot}, seed={seed}, independence={independence})
study.save("DERIVED")  # every derived table, as Parquet and CSV</pre>""")


class Part(Protocol):
    """A module that shows what was derived from a result table."""

    def section(self, study: Study) -> Section:
        """Return its section of the report."""
        ...


def parts() -> list[Part]:
    """Return the modules that ``ResultTable.part`` names, in the order of the tables."""
    return [cast(Part, import_module(f".{table.part}", __package__)) for table in TABLES.values() if table.part]


def write_report(
    study: Study,
    path: str | Path,
    *,
    title: str,
    description: str = "",
    gallery_rows: Sequence[GalleryRow] = (),
    disagreement_rows: Sequence[GalleryRow] = (),
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the report of a study as one HTML file.

    Args:
        study: Result of ``analyse``.
        path: The file to write; replaced if it exists.
        title: Heading of the report.
        description: What was studied and why, plain text.
        gallery_rows: Crops to show, see ``GalleryRow``; none leaves the gallery out.
        disagreement_rows: Crops of images on which multimodal LLMs and other judges disagree.
        facts: What identifies the run, name → value: versions, machine, commit, hashes, hours. A list holds the
            values of cells that differ; of what changes last digits, the limitations say so.

    Raises:
        AnalysisError: A gallery row that cannot be drawn.
    """
    sections = [
        Section("glance", "At a glance", at_a_glance(study)),
        Section("claims", "Claims", claim_blocks(study)),
        Section("advice", "Advice", advice_blocks(study)),
        Section("asymmetry", "The asymmetry", asymmetry_blocks(study)),
        Section("robustness", "Robustness", robustness_blocks(study)),
        Section("objectives", "Measures as objectives", gain_blocks(study)),
        Section("self-preference", "Self-preference", self_preference_blocks(study)),
        Section("metrics", "Measures as metrics", assessment_blocks(study)),
        *(part.section(study) for part in parts()),
        Section("raters", "Measures, models and LLMs on the same images", rater_blocks(study)),
        Section("disagreement", "LLMs and other judges", disagreement_blocks(study, disagreement_rows)),
        Section("reverse", "Reverse asymmetry", reverse_blocks(study)),
        Section("gallery", "Gallery", gallery_blocks(gallery_rows)),
        Section("data", "Data and judges", data_blocks(study)),
        Section("counts", "What went in, what came out", count_blocks(study)),
        Section("limitations", "Limitations", [Text(text) for text in limitations(study, facts)]),
        Section("facts", "Provenance", [fact_table(study, facts or {})]),
    ]
    tables = Markup(", ").join(Markup("<code>{}</code>").format(table) for table in TABLES)
    render(
        path,
        sections,
        headline(study),
        title=title,
        description=description,
        question=QUESTION if study.trains else QUESTION_OF_ASSESSMENT,
        **({} if study.trains else {"cites": False}),
        code=REPRODUCE.format(tables=tables, n_boot=study.n_boot, seed=study.seed, independence=study.independence),
    )
