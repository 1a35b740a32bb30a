"""What the simulations of false positives, coverage and power share: rates with limits, and their table."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import TypedDict


class Rate(TypedDict):
    """One simulated rate.

    Attributes:
        procedure: What was asked.
        scenario: What was true.
        kind: "coverage" (of a 95 % interval), "false positives", "power" or "for comparison" (a rule that is not used).
        rate: Share of the studies.
        studies: Their number.
        limit: The least coverage or the most false positives; NaN where none applies.
    """

    procedure: str
    scenario: str
    kind: str
    rate: float
    studies: int
    limit: float


LIMITS = {"coverage": 0.93, "false positives": 0.05, "power": math.nan, "for comparison": math.nan}


def rate_of(procedure: str, scenario: str, kind: str, hits: int, studies: int) -> Rate:
    return Rate(
        procedure=procedure, scenario=scenario, kind=kind, rate=hits / studies, studies=studies, limit=LIMITS[kind]
    )


def broken(rate: Rate) -> bool:
    """Return whether a rate is beyond its limit by more than two standard errors (of a rate at the limit)."""
    limit = rate["limit"]
    slack = 2 * math.sqrt(limit * (1 - limit) / rate["studies"])
    return rate["rate"] < limit - slack if rate["kind"] == "coverage" else rate["rate"] > limit + slack


def main(rates: Callable[[int, int], list[Rate]], doc: str | None) -> int:
    """Print all rates as a table; return 1 if any is beyond its limit."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = rates(arguments.studies, arguments.seed)
    print("| procedure | scenario | kind | rate |\n|---|---|---|---|")
    for rate in found:
        mark = " **beyond its limit**" if broken(rate) else ""
        print(f"| {rate['procedure']} | {rate['scenario']} | {rate['kind']} | {rate['rate']:.3f}{mark} |")
    print(f"\n{arguments.studies} studies per line, seed {arguments.seed}, {time.perf_counter() - start:.0f} s")
    return int(any(map(broken, found)))
