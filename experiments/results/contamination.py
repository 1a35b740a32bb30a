"""The contamination matrix of an experiment: who has learnt from what it is assessed on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...analysis.result_tables import SCHEMAS
from ...iqa.contamination import (
    Overlap,
    Pictures,
    canonical,
    overlap_by_content,
    overlap_by_name,
    pictures_of_dataset,
    pictures_of_items,
)
from ...iqa.datasets import list_datasets
from ...losses import MeasureSpec
from ...mllm.published import trained_on
from ..planning import Plan
from ..schema.datasets import FRPublished, FRSet, LadderSet, RatedPublished, RatedSet
from ..schema.experiment import Experiment
from ..schema.measures import LearntDists
from ..stages.assess_fr import AssessFR

AnySet = FRSet | RatedSet


def contamination(plan: Plan) -> pd.DataFrame:
    """Return one row for each subject and rated data set of an experiment, in the schema of that name.

    Subjects are the measures and judges (of full-reference sets), the multimodal LLMs, and the super-resolvers'
    training images, from which discriminators learn.

    Raises:
        LopsidedError: an image that cannot be read any more.
    """
    experiment = plan.experiment
    training = pictures_of_items(experiment.data.train.items())
    measures = {cell.spec.measure.key: cell.spec.measure for cell in plan.cells if isinstance(cell.spec, AssessFR)}
    scorers = experiment.mllm.scorers if experiment.mllm else []
    rows = []
    for name, dataset in _rated_sets(experiment).items():
        origin = _origin(name, dataset)
        if name in experiment.assessment.datasets:
            for key, measure in measures.items():
                rows.append(_row(key, "measure", name, _of_measure(measure, name, origin, experiment)))
            for judge in experiment.judges:
                if judge.key not in measures:
                    rows.append(_row(judge.key, "judge", name, overlap_by_name(judge.trained_on, origin)))
        for scorer in scorers:
            rows.append(_row(scorer.key, "multimodal LLM", name, overlap_by_name(trained_on(scorer.model), origin)))
        rows.append(_row("training images", "training", name, overlap_by_content(training, _pictures(dataset))))
    return pd.DataFrame(rows, columns=list(SCHEMAS["contamination"])).astype({"n_shared": "Int64", "n": "Int64"})


def _rated_sets(experiment: Experiment) -> dict[str, AnySet]:
    found: dict[str, AnySet] = dict(experiment.assessment.datasets)
    if experiment.assessment.no_reference:
        found |= experiment.assessment.no_reference.datasets
    return found | (experiment.mllm.datasets if experiment.mllm else {})


def _of_measure(measure: MeasureSpec, name: str, origin: str | None, experiment: Experiment) -> Overlap:
    if not isinstance(measure, LearntDists):
        return overlap_by_name(measure.trained_on, origin)
    source = experiment.learn[measure.name].dataset
    if source == name:
        return Overlap("other references of it", detail="assessed on the references that were held out")
    learnt_from = _origin(source, experiment.assessment.datasets[source])
    return overlap_by_name((learnt_from,) if learnt_from else None, origin)


def _origin(name: str, dataset: AnySet) -> str | None:
    """Return which published set it is: as stated, or by what the experiment calls it; None if that is no such set."""
    if isinstance(dataset, FRPublished | RatedPublished):
        return dataset.published
    if isinstance(dataset, LadderSet):
        return "ladder"  # labels that are made here; nothing published has learnt from them
    return canonical(name) if canonical(name) in list_datasets() else None


def _pictures(dataset: AnySet) -> Pictures:
    if isinstance(dataset, LadderSet):
        return pictures_of_items(dataset.ladder.source.items())  # its references are crops of them
    return pictures_of_dataset(dataset.open())


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
