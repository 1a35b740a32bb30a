"""Which human ratings published scorers have learnt from, as far as their papers say."""

from __future__ import annotations

import re

from .tables import published_table

# How the weights of a scorer are called where they are published.
_WEIGHTS = {"onealign": "q-align"}


def trained_on(model: str) -> tuple[str, ...] | None:
    """Return the data sets that a model's published weights were fine-tuned on; None if nothing is known of it.

    Args:
        model: name of the weights, e.g. ``q-future/one-align`` or ``Qwen2.5-VL-7B-Instruct``. General models are
            unknown: their makers do not list their data.
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
