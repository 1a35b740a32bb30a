"""The contamination matrix of an experiment: who has learnt from what it is assessed on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...analysis import SCHEMAS
from ...iqa.contamination import (
    Overlap,
    overlap_by_content,
    overlap_by_name,
    pictures_of_items,
)
from ...losses import MeasureSpec
from ...mllm.published import trained_on
from ..planning import Plan
from ..schema.datasets import LabelledSet
from ..schema.experiment import Experiment
from ..schema.measures import LearntDists
from ..schema.mllm import ScorerSettings
from ..stages.assess_fr import AssessFR
from ..stages.import_fr import imported_name


def contamination(plan: Plan) -> pd.DataFrame:
    """Return one row for each subject and rated data set of an experiment, in the schema of that name.

    Subjects are the measures and judges (of full-reference sets), the multimodal LLMs, the super-resolvers' training
    images, from which discriminators learn, and their test images: where a data set has the same photographs, its side
    and that of optimization are not independent. Of an imported set only names are compared: its images are not here.

    Raises:
        LopsidedError: an image that cannot be read any more.
    """
    experiment = plan.experiment
    own = {}
    if data := experiment.data:
        own["training images", "training"] = pictures_of_items(data.train.items())
        for name, test in data.test.items():
            own[f"test images of {name}", "test images"] = pictures_of_items(test.images.items())
    measures = {cell.spec.measure.key: cell.spec.measure for cell in plan.of(AssessFR)}
    scorers = experiment.mllm.scorers if experiment.mllm else []
    rows = []
    for name, dataset in _rated_sets(experiment).items():
        origin = dataset.origin(name)
        if name in experiment.assessment.datasets:
            for key, measure in measures.items():
                rows.append(_row(key, "measure", name, _of_measure(measure, name, origin, experiment)))
            for judge in experiment.judges or ():
                if judge.key not in measures:
                    rows.append(_row(judge.key, "judge", name, overlap_by_name(judge.trained_on, origin)))
        for scorer in scorers:
            rows.append(_row(scorer.key, "multimodal LLM", name, _of_scorer(scorer, origin)))
        if own:
            pictures = dataset.pictures()
            rows += [_row(*of, name, overlap_by_content(images, pictures)) for of, images in own.items()]
    for name, imported in experiment.assessment.imported.items():
        for measure in imported.measures.values():
            overlap = overlap_by_name(measure.trained_on, imported.known_as(name))
            rows.append(_row(measure.key, "measure", imported_name(name), overlap))
    return pd.DataFrame(rows, columns=list(SCHEMAS["contamination"])).astype({"n_shared": "Int64", "n": "Int64"})


def _rated_sets(experiment: Experiment) -> dict[str, LabelledSet]:
    found: dict[str, LabelledSet] = dict(experiment.assessment.datasets)
    if experiment.assessment.no_reference:
        found |= experiment.assessment.no_reference.datasets
    return found | (experiment.mllm.datasets if experiment.mllm else {})


def _of_measure(measure: MeasureSpec, name: str, origin: str | None, experiment: Experiment) -> Overlap:
    if not isinstance(measure, LearntDists):
        return overlap_by_name(measure.trained_on, origin)
    source = experiment.learn[measure.name].dataset
    if source == name:
        return Overlap("other references of it", detail="assessed on the references that were held out")
    learnt_from = experiment.assessment.datasets[source].origin(source)
    return overlap_by_name((learnt_from,) if learnt_from else None, origin)


def _of_scorer(scorer: ScorerSettings, origin: str | None) -> Overlap:
    """What the experiment teaches a scorer counts as what its published weights were trained on does."""
    taught = overlap_by_name(scorer.taught, origin)
    known = taught if scorer.taught and taught.finding != "none known" else None
    return known or overlap_by_name(trained_on(scorer.started_from), origin)


def _row(subject: str, role: str, dataset: str, overlap: Overlap) -> dict[str, Any]:
    return {
        "subject": subject,
        "role": role,
        "dataset": dataset,
        "finding": overlap.finding,
        "n_shared": overlap.n_shared,
        "n": overlap.n,
        "detail": overlap.detail,
    }
