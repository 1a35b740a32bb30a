"""Metrics of the same thing shown in several contexts: a model's answer should not depend on what is beside it.

For CultureMix (arXiv 2511.22787) and similar sets. What the authors leave undefined is stated here: entropies have a
base, a number of contexts and a bias; the answer for a dish alone is the most frequent one over its pictures alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import pandas as pd

from ...analysis.statistics import Counts, Floats, draw_resamples, grouped, where
from ..benchmarks.answers import OpenAnswer, fold, parse_open_answer, same_food
from ..benchmarks.countries import continent_of
from ..errors import MllmError
from ..table import BY, NO_GROUP, SCORER, require
from .intervals import Bootstrap, Estimate, ratio

Of = Literal["food", "country"]
ALONE = ("alone", "original")  # what CultureMix and similar sets call a picture without a context
# Where an answer goes, in the order in which this is decided.
KEPT, TO_DISTRACTOR, TO_BACKGROUND = "kept", "distractor's country", "background's country"
NEAR_DISTRACTOR, NEAR_BACKGROUND = "distractor's continent", "background's continent"
ELSEWHERE, NO_ANSWER = "elsewhere", "no answer"
DESTINATIONS = (KEPT, TO_DISTRACTOR, TO_BACKGROUND, NEAR_DISTRACTOR, NEAR_BACKGROUND, ELSEWHERE, NO_ANSWER)
_AROUND = (("distractor", TO_DISTRACTOR, NEAR_DISTRACTOR), ("background", TO_BACKGROUND, NEAR_BACKGROUND))
# Only answers of one scorer to one way of asking (part of the benchmark's name) are compared with each other.
_DISH = (*SCORER, "benchmark", "dish")
BASES = {"nats": math.e, "bits": 2.0, "10": 10.0}


def read_answers(table: pd.DataFrame) -> pd.DataFrame:
    """Read the replies to open questions.

    Args:
        table: see ``join_items``, of items with the groups ``dish``, ``country`` and ``context``, and ``food``
            where its name was asked for; rows of other tasks than ``open`` are left out.

    Returns:
        The rows with ``food_answer`` and ``country_answer`` (None where there is none), ``food_status`` and
        ``country_status``, and ``food_right`` and ``country_right`` (False where there is none).

    Raises:
        MllmError: columns missing.
    """
    require(table, *SCORER, "task", "raw", "status", "dish", "country", "context")
    rows = where(table, task="open")
    replies = zip(rows["raw"], rows["status"], strict=True)
    answers = [_answer(raw, status) for raw, status in replies]
    truths = rows["food"] if "food" in rows.columns else pd.Series("", index=rows.index)
    return rows.assign(
        food_answer=[answer.food for answer in answers],
        country_answer=[answer.country for answer in answers],
        food_status=[answer.food_status for answer in answers],
        country_status=[answer.country_status for answer in answers],
        food_right=[
            answer.food is not None and same_food(answer.food, truth)
            for answer, truth in zip(answers, truths, strict=True)
        ],
        country_right=[answer.country == truth for answer, truth in zip(answers, rows["country"], strict=True)],
    )


def context_accuracy(
    answers: pd.DataFrame,
    of: Of,
    *,
    by: Sequence[str] = BY,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Count right answers about dishes in contexts.

    Args:
        answers: of ``read_answers``.
        of: food or country.
        by: columns to break down by, besides the scorer, e.g. also ``distance`` or ``strategy``.
        bootstrap: how intervals are made; dishes are drawn.

    Returns:
        One row per scorer and group: ``n`` items, ``n_valid`` answers, ``n_right``, ``n_dishes``; ``accuracy``
        with failures counted wrong and ``accuracy_valid`` without them, with ``_low`` and ``_high``. In [0, 1].
    """
    answers = _asked(answers, of)
    rows = []
    for names, group in _groups(answers, by):
        right, valid = _right(group, of), _valid(group, of)
        dishes = np.asarray(group["dish"])
        rows.append(
            {
                **names,
                "of": of,
                "n": len(group),
                "n_valid": int(valid.sum()),
                "n_right": int(right.sum()),
                "n_dishes": len(set(dishes)),
                **ratio(right, np.ones(len(group)), dishes, bootstrap).row("accuracy"),
                **ratio(right, valid, dishes, bootstrap).row("accuracy_valid"),
            }
        )
    return pd.DataFrame(rows)


def answer_entropy(
    answers: pd.DataFrame,
    of: Of,
    *,
    base: str = "bits",
    failures: bool = False,
    by: Sequence[str] = BY,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Measure how much the answers about one dish vary over its contexts; 0 is always the same, lower is better.

    Per dish, with p the shares of its different answers over n contexts, H = −Σ p log p; ``normalised`` is H / log n,
    which is 1 if no two contexts agree; ``corrected`` adds Miller's and Madow's (m − 1) / 2n nats for m answers seen,
    because a few contexts show too little of the variety. Then the mean over dishes. Two names of a dish are the same
    if their letters and digits are.

    Args:
        answers: of ``read_answers``.
        of: food or country.
        base: of the logarithm: nats, bits or 10.
        failures: count "no answer" as one more answer; otherwise only valid answers count.
        by: columns to break down by, besides the scorer; contexts are pooled within a group.
        bootstrap: how intervals are made; dishes are drawn.

    Returns:
        One row per scorer and group: ``base``, ``failures`` ("an answer" or "left out"), ``n`` answers counted of
        ``n_items``, ``n_dishes`` with an answer, ``contexts`` (their mean number), ``entropy``, ``corrected`` and
        ``normalised`` with ``_low`` and ``_high``; ``n_normalised``, the dishes with two contexts or more, which
        ``normalised`` needs.

    Raises:
        MllmError: an unknown base.
    """
    if base not in BASES:
        raise MllmError(f"no base {base!r} of entropies; choose {', '.join(BASES)}.")
    answers = _asked(answers, of)
    rows = []
    for names, group in _groups(answers, by):
        dishes = [
            _variety(_named(rows_of_dish, of, failures), BASES[base]) for _, rows_of_dish in grouped(group, "dish")
        ]
        counted = [dish for dish in dishes if dish[0]]
        n, plain, corrected, normalised = (
            (np.array(values) for values in zip(*counted, strict=True)) if counted else (np.zeros(0) for _ in range(4))
        )
        several = n > 1
        each = np.arange(len(n))
        rows.append(
            {
                **names,
                "of": of,
                "base": base,
                "failures": "an answer" if failures else "left out",
                "n_items": len(group),
                "n": int(n.sum()),
                "n_dishes": len(n),
                "contexts": float(n.mean()) if len(n) else float("nan"),
                **ratio(plain, np.ones(len(n)), each, bootstrap, share=False).row("entropy"),
                **ratio(corrected, np.ones(len(n)), each, bootstrap, share=False).row("corrected"),
                "n_normalised": int(several.sum()),
                **ratio(normalised[several], np.ones(several.sum()), each[several], bootstrap, share=False).row(
                    "normalised"
                ),
            }
        )
    return pd.DataFrame(rows)


def retention(
    answers: pd.DataFrame,
    of: Of,
    *,
    by: Sequence[str] = BY,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Measure how often the answer about a thing alone stays the same when something is beside it; higher is better.

    The answer alone is the most frequent one over the pictures of the thing alone; a tie, or none, leaves the thing
    out. A dish's name is kept if it is similar (``same_food``), a country if it is the same.

    Args:
        answers: of ``read_answers``, with the pictures alone among them.
        of: food or country.
        by: columns to break down by, besides the scorer.
        bootstrap: how intervals are made; dishes are drawn.

    Returns:
        One row per scorer and group that has contexts: ``n`` items with an answer alone to compare with,
        ``n_without_base``, ``n_valid``, ``n_kept``, ``n_dishes``; ``retention`` with failures counted as not kept and
        ``retention_valid`` without them, with ``_low`` and ``_high``.

    Raises:
        MllmError: no picture of a thing alone.
    """
    mixed = _with_base(_asked(answers, of), of)
    rows = []
    for names, group in _groups(mixed, by):
        known = group.loc[group["base"].notna()]
        valid = _valid(known, of)
        pairs = zip(known[f"{of}_answer"], known["base"], valid, strict=True)
        kept = np.array([ok and _same(answer, base, of) for answer, base, ok in pairs], dtype=bool)
        dishes = np.asarray(known["dish"])
        rows.append(
            {
                **names,
                "of": of,
                "n": len(known),
                "n_without_base": len(group) - len(known),
                "n_valid": int(valid.sum()),
                "n_kept": int(kept.sum()),
                "n_dishes": len(set(dishes)),
                **ratio(kept, np.ones(len(known)), dishes, bootstrap).row("retention"),
                **ratio(kept, valid, dishes, bootstrap).row("retention_valid"),
            }
        )
    return pd.DataFrame(rows)


def drift(
    answers: pd.DataFrame,
    *,
    by: Sequence[str] = BY,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Count where answers about the country move when something is beside the thing.

    The destinations, decided in this order: ``kept`` (the answer alone), the distractor's country, the background's
    country, another country of the distractor's continent, one of the background's continent, elsewhere, no answer.

    Args:
        answers: of ``read_answers``, with the pictures alone among them.
        by: columns to break down by, besides the scorer.
        bootstrap: how intervals are made; dishes are drawn.

    Returns:
        One row per scorer, group, ``alone`` ("right" or "wrong": the answer about the thing alone; or "all") and
        ``destination``: ``n`` of ``n_items``, ``n_without_base`` left out, ``share`` with ``_low`` and ``_high``. The
        shares of the seven destinations add up to 1.

    Raises:
        MllmError: no picture of a thing alone.
    """
    mixed = _with_base(_asked(answers, "country"), "country")
    rows = []
    for names, group in _groups(mixed, by):
        known = group.loc[group["base"].notna()]
        right = np.asarray(known["base"] == known["country"], dtype=bool)
        for alone, chosen in (("all", np.ones(len(known), dtype=bool)), ("right", right), ("wrong", ~right)):
            part = known.loc[chosen]
            went = np.array([_destination(row) for row in part.to_dict("records")], dtype=object)
            dishes = np.asarray(part["dish"])
            for destination in DESTINATIONS:
                there = went == destination
                rows.append(
                    {
                        **names,
                        "alone": alone,
                        "destination": destination,
                        "n": int(there.sum()),
                        "n_items": len(part),
                        "n_without_base": len(group) - len(known),
                        **ratio(there, np.ones(len(part)), dishes, bootstrap).row("share"),
                    }
                )
    return pd.DataFrame(rows)


def paired_drop(
    first: pd.DataFrame,
    second: pd.DataFrame,
    of: Of,
    *,
    by: Sequence[str] = (),
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    """Compare two accuracies on the same dishes, e.g. alone and before a background, or two ways of asking.

    Args:
        first: rows from ``read_answers``.
        second: other rows, of the same scorers.
        of: food or country.
        by: columns to break down by, besides the scorer; columns that both have.
        bootstrap: how intervals are made; the same dishes are drawn for both.

    Returns:
        One row per scorer and group in both: ``n_dishes`` in both, ``n_dishes_dropped`` in one only, ``n_first``
        and ``n_second`` items; ``accuracy_first``, ``accuracy_second`` (failures wrong) and ``drop``, the first minus
        the second, with ``_low`` and ``_high``; above 0 the first is better.
    """
    first, second = _asked(first, of), _asked(second, of)
    others = {tuple(names.values()): group for names, group in _groups(second, by)}
    rows = []
    for names, ours in _groups(first, by):
        theirs = others.get(tuple(names.values()))
        if theirs is None:
            continue
        both = set(ours["dish"]) & set(theirs["dish"])
        dropped = len(set(ours["dish"]) ^ set(theirs["dish"]))
        parts = [part.loc[part["dish"].isin(list(both))] for part in (ours, theirs)]
        accuracy = [_right(part, of).mean() if len(part) else float("nan") for part in parts]
        drop = _difference(parts, of, sorted(both), bootstrap) if both else Estimate(*[float("nan")] * 3)
        rows.append(
            {
                **names,
                "of": of,
                "n_dishes": len(both),
                "n_dishes_dropped": dropped,
                "n_first": len(parts[0]),
                "n_second": len(parts[1]),
                "accuracy_first": float(accuracy[0]),
                "accuracy_second": float(accuracy[1]),
                **drop.row("drop"),
            }
        )
    return pd.DataFrame(rows)


def entropy(counts: Sequence[int], base: float = math.e) -> float:
    """Return −Σ p log p of shares p = counts / Σ counts, ≥ 0."""
    p = np.array([count for count in counts if count], dtype=np.float64)
    p /= p.sum()
    return float(max(0.0, -(p * np.log(p)).sum() / math.log(base)))


def _answer(raw: object, status: str) -> OpenAnswer:
    if status == "failed" or not isinstance(raw, str):
        return OpenAnswer(None, None, "failed", "failed")
    return parse_open_answer(raw, finished=status != "truncated")


def _asked(answers: pd.DataFrame, of: Of) -> pd.DataFrame:
    require(answers, f"{of}_answer", f"{of}_status", f"{of}_right", "dish", "context", *SCORER)
    if of == "food" and not ("food" in answers.columns and (answers["food"] != "").all()):
        raise MllmError("the name of the food was not asked for in all of these items: use of='country'.")
    return answers


def _groups(table: pd.DataFrame, by: Sequence[str]):
    columns = [*SCORER, *by]
    require(table, *columns)
    named = table.assign(**{name: table[name].fillna("").replace("", NO_GROUP) for name in by})
    for values, group in grouped(cast(pd.DataFrame, named), *columns):
        yield dict(zip(columns, values, strict=True)), group


def _right(rows: pd.DataFrame, of: Of) -> np.ndarray:
    return np.asarray(rows[f"{of}_right"], dtype=bool)


def _valid(rows: pd.DataFrame, of: Of) -> np.ndarray:
    return np.asarray(rows[f"{of}_status"] == "ok", dtype=bool)


def _same(answer: str, base: str, of: Of) -> bool:
    return same_food(answer, base) if of == "food" else answer == base


def _named(rows: pd.DataFrame, of: Of, failures: bool) -> list[str]:
    """Return the answers of some rows under one spelling."""
    valid = _valid(rows, of)
    said = [fold(answer) for answer, ok in zip(rows[f"{of}_answer"], valid, strict=True) if ok]
    return said + [NO_ANSWER] * int((~valid).sum()) * failures


def _variety(said: list[str], base: float) -> tuple[int, float, float, float]:
    """Return the number of answers, their entropy, the corrected and the normalised one."""
    n, counts = len(said), list(Counter(said).values())
    if not n:
        return 0, 0.0, 0.0, 0.0
    h = entropy(counts, base)
    corrected = h + (len(counts) - 1) / (2 * n) / math.log(base)
    return n, h, corrected, h / math.log(n, base) if n > 1 else 0.0


def _with_base(answers: pd.DataFrame, of: Of) -> pd.DataFrame:
    """Return the rows with contexts, each with the answer given about its thing alone in the column ``base``."""
    alone = np.asarray(answers["context"].isin(ALONE), dtype=bool)
    if not alone.any():
        raise MllmError(
            f"none of these items shows a thing alone (context {' or '.join(ALONE)}): nothing to compare with."
        )
    bases = {}
    for key, rows in grouped(answers.loc[alone], *_DISH):
        said = [answer for answer, ok in zip(rows[f"{of}_answer"], _valid(rows, of), strict=True) if ok]
        ranked = Counter(map(fold, said)).most_common(2)
        if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
            bases[key] = next(answer for answer in said if fold(answer) == ranked[0][0])
    mixed = answers.loc[~alone]
    keys = zip(*(mixed[name] for name in _DISH), strict=True)
    return mixed.assign(base=[bases.get(key) for key in keys])


def _destination(row: dict) -> str:
    answer = row["country_answer"]
    if row["country_status"] != "ok":
        return NO_ANSWER
    if answer == row["base"]:
        return KEPT
    around = [(row.get(f"{name}_country") or "", to, near) for name, to, near in _AROUND]
    for country, to, _ in around:
        if answer == country:
            return to
    for country, _, near in around:
        if country and continent_of(answer) == continent_of(country):
            return near
    return ELSEWHERE


def _difference(parts: list[pd.DataFrame], of: Of, dishes: list[str], bootstrap: Bootstrap) -> Estimate:
    """Return the difference of two pooled accuracies, with the same dishes drawn for both."""
    place = {dish: n for n, dish in enumerate(dishes)}
    sums = []
    for part in parts:
        dish = np.array([place[name] for name in part["dish"]])
        sums.append((np.bincount(dish, _right(part, of), len(dishes)), np.bincount(dish, minlength=len(dishes))))
    (right_a, n_a), (right_b, n_b) = sums

    def statistic(counts: Counts) -> Floats:
        return (counts @ right_a) / (counts @ n_a) - (counts @ right_b) / (counts @ n_b)

    resamples = draw_resamples(np.arange(len(dishes)), bootstrap.n_boot, bootstrap.rng())
    interval = bootstrap.interval(statistic(resamples.counts), len(dishes))
    return Estimate(float(right_a.sum() / n_a.sum() - right_b.sum() / n_b.sum()), *interval)
