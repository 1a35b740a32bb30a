"""Count how the parsers read replies that people have read before: ``python benchmarks/replies.py FILE...``.

A file holds one JSON object per line: ``form`` (number, letter or open), ``reply``, what was asked (``low`` and
``high``, or ``options``), ``expected`` (what a person reads; null where there is no answer; a food and a country for
open answers), and, where a limit on tokens cut the reply off, ``"finished": false``. Our own are in
``tests/mllm/replies.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lopsided.mllm.benchmarks.answers import parse_open_answer
from lopsided.mllm.scoring import parse_letter, parse_number

OUTCOMES = ("same", "wrong or invented", "missed")


def read(row: Mapping[str, Any]) -> Any:
    """Return what the parser of a row's form makes of its reply: the same type as ``expected``."""
    finished = row.get("finished", True)
    if row["form"] == "number":
        return parse_number(row["reply"], row["low"], row["high"], finished=finished).value
    if row["form"] == "letter":
        return parse_letter(row["reply"], row["options"], finished=finished).letter
    answer = parse_open_answer(row["reply"], finished=finished)
    return {"food": answer.food, "country": answer.country}


def outcome(found: Any, expected: Any) -> str:
    """Return whether a reading is a person's, another one, or absent where a person has one."""
    if isinstance(expected, Mapping):  # the worst of its parts
        return max(
            (outcome(found[part], expected[part]) for part in expected), key=(OUTCOMES[0], *OUTCOMES[:0:-1]).index
        )
    if isinstance(expected, int | float) and found is not None:
        return "same" if abs(found - expected) < 1e-6 else "wrong or invented"
    return "same" if found == expected else "missed" if found is None else "wrong or invented"


def rows_of(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument(
        "--show", action="store_true", help="print the replies that are not read as a person reads them"
    )
    arguments = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    for row in rows_of(arguments.files):
        found = read(row)
        kind = outcome(found, row["expected"])
        counts.setdefault(row["form"], Counter())[kind] += 1
        if arguments.show and kind != OUTCOMES[0]:
            print(f"{kind}: {row['reply']!r} → {found!r}, a person reads {row['expected']!r}")
    print(f"| form | replies | {' | '.join(OUTCOMES)} |\n|---|---|---|---|---|")
    for form, found in counts.items():
        total = found.total()
        shares = (f"{found[kind]} ({found[kind] / total:.1%})" for kind in OUTCOMES)
        print(f"| {form} | {total} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
