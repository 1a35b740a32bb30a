"""The human ratings that published scorers were trained on, according to their papers."""

from __future__ import annotations

import re

from .tables import published_table

# Names of scorers in the names of their published weights.
_WEIGHTS = {"onealign": "q-align"}


def trained_on(model: str) -> tuple[str, ...] | None:
    """Return the data sets that a model's published weights were fine-tuned on; None if unknown.

    Args:
        model: name of the weights, e.g. ``q-future/one-align`` or ``Qwen2.5-VL-7B-Instruct``. General models are
            unknown: their makers do not list their data.

    Examples:
        >>> "KonIQ-10k" in trained_on("q-future/one-align"), trained_on("Qwen2.5-VL-7B-Instruct")
        (True, None)
    """
    table = published_table("training_sets").read()
    plain = _plain(model)
    known = {_plain(scorer): scorer for scorer in table["scorer"]} | _WEIGHTS
    for spelling, scorer in known.items():
        if spelling in plain:
            return tuple(table.loc[table["scorer"] == scorer, "dataset"])
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
