"""How often does a study that adds seeds until something is decided claim what is not there?

    python benchmarks/null_looks.py [--studies 300] [--seed 0]

Studies without any effect, as in ``null_studies.py``, go through the rule of ``lopsided run --until decided``: look,
stop if a trend or an inversion is established, otherwise add the seeds that the power computation asks for. The rate of
studies that stop with a finding must be .05 at most, whatever the number of looks. Beside it: what stopping in this way
would do without the correction for looks, and the power for one planted inversion, with the seeds that it took.
The program exits with 1 if a corrected rate is above .05 + 2 standard errors.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
from null_rates import Rate, main
from null_studies import Scenario, assessment_of, scores_of, trained_of

from lopsided.analysis import asymmetry
from lopsided.analysis.asymmetry import compare_rankings
from lopsided.analysis.gain import Gains
from lopsided.analysis.looks import DECIDED, list_contrasts, look_at, next_count
from lopsided.analysis.statistics.multiplicity import ALPHA

MOST = 12  # seeds


def study(
    scenario: Scenario, looks: int, rng: np.random.Generator, *, correct: bool = True, first: int = 3
) -> tuple[bool, int]:
    """Return whether a study ends with a finding, and the seeds it took."""
    whole = replace(scenario, seeds=MOST)
    assessment, scores = assessment_of(whole, rng), scores_of(whole, rng)
    now, none = first, pd.DataFrame()
    for look in range(1, looks + 1):
        trained = replace(
            trained_of(replace(whole, seeds=now), scores[:, :, :, :now]), looks=looks if correct else 1, _grids={}
        )
        keys = [key._asdict() for key in trained.keys if not key.is_baseline]
        table = pd.DataFrame(keys).assign(n_lost=0, lost="", fidelity_id=lambda rows: "id-" + rows["fidelity"])
        gained = Gains(table, none, none, none, {"net": trained}, trained.looks)
        compared = compare_rankings(assessment, gained, each_judge=False)
        found = look_at(list_contrasts(replace(gained, table=table.head(0)), compared), [DECIDED])
        if found.settled or look == looks or now == MOST:
            return found.settled, now
        now = next_count(now, found.needed, MOST, last=look + 1 == looks)
    raise AssertionError("the last look returns")


def rates(studies: int, seed: int) -> list[Rate]:
    """Return all rates."""
    # No decision depends on the intervals of ρ, and they take most of the time.
    asymmetry.noise_free_interval = lambda *_: (np.nan, np.nan)
    asymmetry.list_changes = lambda *_: []
    base = Scenario(images=14, own_judges=False)
    cases = [
        (replace(base, seed_sd=sd, unlike=unlike), looks)
        for sd, unlike in ((0.3, ""), (1.0, "cell"))
        for looks in (2, 4)
    ]
    found = []
    for scenario, looks in cases:
        for correct in (True, False):
            ended = [study(scenario, looks, np.random.default_rng([seed, n]), correct=correct) for n in range(studies)]
            kind, limit = ("false positives", ALPHA) if correct else ("for comparison", np.nan)
            found.append(rate(f"{looks} looks{'' if correct else ', not corrected'}", scenario, kind, ended, limit))
    planted = replace(base, planted="one inversion", size=0.6)
    for looks, first in ((1, MOST), (4, 3)):
        ended = [study(planted, looks, np.random.default_rng([seed, n]), first=first) for n in range(studies)]
        found.append(rate(f"{looks} look{'s' * (looks > 1)} from {first} seeds", planted, "power", ended, np.nan))
    return found


def rate(procedure: str, scenario: Scenario, kind: str, ended: list[tuple[bool, int]], limit: float) -> Rate:
    """Return one rate, with the mean number of seeds in its name."""
    share, seeds = np.mean([settled for settled, _ in ended]), np.mean([seeds for _, seeds in ended])
    return {
        "procedure": f"{procedure}; {seeds:.1f} seeds on average",
        "scenario": str(scenario).strip(),
        "kind": kind,
        "rate": float(share),
        "studies": len(ended),
        "limit": limit,
    }


if __name__ == "__main__":
    sys.exit(main(rates, __doc__))
