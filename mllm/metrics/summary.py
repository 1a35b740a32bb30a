"""All metrics that the items of a benchmark allow, by name."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..item import Item
from ..scoring.preset import Preset
from .choices import choice_accuracy
from .contexts import ALONE, answer_entropy, context_accuracy, drift, read_answers, retention
from .ratings import rating_metrics
from .repeats import repeat_spread
from .statuses import status_shares


def summarise(table: pd.DataFrame, items: Sequence[Item], preset: Preset) -> dict[str, pd.DataFrame]:
    """Compute every metric that the items have targets for.

    Args:
        table: from ``scores_table``.
        items: what was rated.
        preset: how the scorer was asked; errors are computed if its values are on the scale of the targets.

    Returns:
        ``statuses`` always; ``repeats`` of items asked several times; ``ratings`` of numbers; ``choices`` of letters,
        and those by each group of the items; ``answers``, ``entropy``, ``retention`` and ``drift`` of words about
        dishes in contexts.
    """
    known = {task: [item for item in items if item.task == task] for task in ("rate", "answer", "open")}
    found = {"statuses": status_shares(table)}
    if any(item.repeat for item in items):
        found["repeats"] = repeat_spread(table)
    if rated := [item for item in known["rate"] if item.target is not None]:
        same = all(item.scale == preset.scale(item.dimension).range for item in rated)
        found["ratings"] = rating_metrics(table, same_scale=same)
    if any(item.target is not None for item in known["answer"]):
        found["choices"] = choice_accuracy(table)
        for group in sorted({name for item in known["answer"] for name in item.groups}):
            found[f"choices_by_{group}"] = choice_accuracy(table, group)
    if known["open"] and all({"dish", "country", "context"} <= set(item.groups) for item in known["open"]):
        answers = read_answers(table)
        of = ("food", "country") if all(item.groups.get("food") for item in known["open"]) else ("country",)
        found["answers"] = pd.concat([context_accuracy(answers, what) for what in of], ignore_index=True)
        found["entropy"] = pd.concat([answer_entropy(answers, what) for what in of], ignore_index=True)
        if any(item.groups["context"] in ALONE for item in known["open"]):
            found["retention"] = pd.concat([retention(answers, what) for what in of], ignore_index=True)
            found["drift"] = drift(answers)
    return found
