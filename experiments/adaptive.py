"""Adding seeds to an experiment, in rounds, until what was asked is decided or a budget is spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import one_line
from ..common.files import write_json
from .explain import cost
from .planning import Plan, make_plan
from .schema.errors import ExperimentError
from .schema.experiment import Experiment
from .store import Store

if TYPE_CHECKING:
    from ..analysis import Study

HOUR = 3600.0
MOST_LOOKS, MOST_SEEDS = 20, 1000
FIRST_LOOK = 3  # seeds: with fewer, nothing counts as established
SHOWN = 5  # contrasts that a look names


@dataclass(frozen=True)
class Until:
    """What seeds are added for.

    Attributes:
        names: "decided" (any trend or inversion), or words of contrasts, all of which are to be decided.
        looks: how often the results may be looked at; p-values are this many times as large.
        most_seeds: the largest number of seeds.
        hours: the most work of all cells together, as one worker does it; None: any.

    Raises:
        ExperimentError: a number is out of its range.
    """

    names: tuple[str, ...]
    looks: int = 4
    most_seeds: int = 12
    hours: float | None = None

    def __post_init__(self) -> None:
        for name, value, most in (("looks", self.looks, MOST_LOOKS), ("most seeds", self.most_seeds, MOST_SEEDS)):
            if not 1 <= value <= most:
                raise ExperimentError(f"the number of {name} must be between 1 and {most}, got {value}")


@dataclass(frozen=True)
class Record:
    """What is kept in the store of the looks at an experiment.

    Attributes:
        names: what was asked for, see ``Until``.
        planned: how many looks were planned.
        first: the seeds of the file.
        seeds: the seeds now.
        looks: one entry per look: its seeds, level, contrasts and whether all was decided.
        end: why no more seeds are added; "": they are.
    """

    names: tuple[str, ...]
    planned: int
    first: tuple[int, ...]
    seeds: tuple[int, ...]
    looks: tuple[dict[str, Any], ...] = field(default=())
    end: str = ""


def read_record(store: Store, name: str) -> Record | None:
    """Return what is kept of the looks at an experiment, if it was run until something was decided.

    Raises:
        ExperimentError: the file is damaged; without it, p-values would be too small.
    """
    path = record_path(store, name)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error) from None
    return parse_record(text, path)


def parse_record(text: bytes, path: Path) -> Record:
    """Return the record that a file holds; the path is for the message.

    Raises:
        ExperimentError: it is damaged.
    """
    try:
        found = json.loads(text)
        names, first, seeds, looks = (tuple(found[key]) for key in ("names", "first", "seeds", "looks"))
        numbers = [found["planned"], *first, *seeds]
        for one in looks:
            numbers += [*one["seeds"], one["needed"] or 0]
            if not isinstance(one["level"], float) or not isinstance(one["settled"], bool):
                raise TypeError("a level or a verdict is of another kind")
        if not all(isinstance(name, str) for name in names) or not all(type(number) is int for number in numbers):
            raise TypeError("a name or a number is of another kind")
        if len(looks) > found["planned"]:
            raise ValueError("more looks than were planned")
        return Record(names, found["planned"], first, seeds, looks, str(found["end"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ExperimentError:
    return ExperimentError(
        f"'{path}', which says how often these results were looked at, is damaged ({one_line(error)}); "
        "restore it, or give the experiment another name"
    )


def recorded_names(store: Store) -> list[str]:
    """Return the experiments of whose looks the store has a record."""
    return sorted(path.stem for path in (store.root / "looks").glob("[!.]*.json"))


def adopt(store: Store, name: str, record: Record) -> None:
    """Keep a record of looks that comes from another store, unless the one that is there goes on from it.

    Raises:
        ExperimentError: neither goes on from the other. With either alone, looks would be forgotten.
    """
    own = read_record(store, name)
    if own is None:
        save(store, name, record)
        return
    later = max((own, record), key=lambda one: (len(one.looks), len(one.seeds)))
    earlier = own if later is record else record
    if (
        (own.names, own.planned, own.first) != (record.names, record.planned, record.first)
        or later.looks[: len(earlier.looks)] != earlier.looks
        or later.seeds[: len(earlier.seeds)] != earlier.seeds
    ):
        raise ExperimentError(
            f"the results of '{name}' were looked at in another way in '{record_path(store, name)}'; "
            "looks cannot be joined: take another store"
        )
    if later is record:
        save(store, name, record)


def with_added_seeds(experiment: Experiment, store: Store) -> Experiment:
    """Return the experiment with the seeds that were added to those of its file; other seeds stay as they are."""
    record = read_record(store, experiment.name)
    if record is None or experiment.grid is None or tuple(experiment.grid.seed) != record.first:
        return experiment
    return _with_seeds(experiment, record.seeds)


def planned_looks(experiment: Experiment, store: Store) -> int:
    """Return by how many looks p-values are corrected."""
    record = read_record(store, experiment.name)
    return record.planned if record else 1


def begin(experiment: Experiment, store: Store, until: Until) -> Record:
    """Return the record of the looks, a new one with three seeds or more if there is none.

    Args:
        experiment: as its file says.
        store: where the record is.
        until: what is asked for; the names and the number of looks stay those of the first time.

    Raises:
        ExperimentError: something else was asked for before, or a rule of the grid names seeds.
    """
    if (grid := experiment.grid) is None:
        raise ExperimentError(f"--until adds seeds to trainings, and '{experiment.name}' trains nothing; drop --until")
    for kind in ("include", "exclude"):
        for index, rule in enumerate(getattr(grid, kind)):
            if rule.seed is not None:
                raise experiment.error(("grid", kind, index, "seed"), "seeds cannot be added to a rule with its own")
    record = read_record(store, experiment.name)
    if record is None:
        first = tuple(grid.seed)
        return Record(until.names, until.looks, first, _more(first, FIRST_LOOK))
    asked = " ".join(f"--until '{name}'" for name in record.names) + f" --looks {record.planned}"
    if (record.names, record.planned) != (until.names, until.looks):
        raise ExperimentError(
            f"'{experiment.name}' was begun with {asked}; what is asked for is fixed before the first look. Keep to "
            "it, or give the experiment another name"
        )
    if tuple(grid.seed) != record.first:
        raise ExperimentError(
            f"'{experiment.name}' was begun {asked} from grid.seed {list(record.first)}, and the file now says "
            f"{list(grid.seed)}; put them back (seeds that were added are kept), or give it another name"
        )
    return record


def look(
    experiment: Experiment, store: Store, record: Record, until: Until, analyse: Callable[[], Study]
) -> tuple[Record, list[str]]:
    """Look at the finished results, and decide whether to add seeds.

    The same seeds are never looked at twice: a second time, the record says what was seen.

    Args:
        experiment: as its file says.
        store: where the results are.
        record: of the looks so far; its seeds are computed.
        until: what is asked for, and the budget.
        analyse: returns the study of the results, corrected for the looks.

    Returns:
        The record with this look and the seeds of the next, and what to tell, as lines.
    """
    from ..analysis.looks import list_contrasts, look_at
    from ..analysis.statistics.frames import records
    from ..analysis.statistics.multiplicity import ALPHA

    lines: list[str] = []
    if not record.looks or tuple(record.looks[-1]["seeds"]) != record.seeds:
        study = analyse()
        found = look_at(list_contrasts(study.gains, study.asymmetry), record.names)
        entry = {
            "seeds": list(record.seeds),
            "level": ALPHA / record.planned,
            "settled": found.settled,
            "needed": found.needed,
            "contrasts": [
                {name: None if row[name] != row[name] else row[name] for name in ("contrast", "value", "p", "verdict")}
                for row in records(found.asked)
            ],
        }
        record = replace(record, looks=(*record.looks, entry))
        tested = sorted((row for row in entry["contrasts"] if row["p"] is not None), key=lambda row: row["p"])
        lines = [
            f"  {row['contrast']}: {row['value']:+.3g}, p = {min(row['p'], 1):.2g}, {row['verdict']}" for row in tested
        ]
        lines = [*lines[:SHOWN], *([f"  … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])]
    record = _next(experiment, store, record, until)
    seen = record.looks[-1]
    heading = f"look {len(record.looks)} of {record.planned}, {len(seen['seeds'])} seeds, level {seen['level']:.3g}"
    wanted = (
        f"{seen['needed']} seeds would settle it" if seen["needed"] else "no number of seeds up to 50 would settle it"
    )
    what = "decided" if seen["settled"] else f"undecided; as seen now, {wanted} (power 80 %)"
    added = record.seeds[len(seen["seeds"]) :]
    then = record.end or f"seeds {', '.join(map(str, added))} are added"
    return record, [f"{heading}: {what}", *lines, then]


def save(store: Store, name: str, record: Record) -> None:
    """Keep the record of an experiment in the store."""
    path = record_path(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(record))


def _next(experiment: Experiment, store: Store, record: Record, until: Until) -> Record:
    """Return the record with the seeds of the next look, or with the reason why there is none."""
    from ..analysis.looks import next_count

    seen, number = record.looks[-1], len(record.looks)
    if seen["settled"]:
        return replace(record, end=f"decided after look {number} of {record.planned} at level {seen['level']:.3g}")
    if number == record.planned:
        return replace(record, end=f"not decided: all {number} looks are made")
    now = len(record.seeds)
    if now >= until.most_seeds:
        return replace(record, end=f"budget: {now} seeds, and --most-seeds is {until.most_seeds}")
    count = next_count(now, seen["needed"], until.most_seeds, last=number + 1 == record.planned)
    while (
        count > now and until.hours is not None and _hours(experiment, store, _more(record.seeds, count)) > until.hours
    ):
        count -= 1
    if count == now:
        return replace(record, end=f"budget: one more seed would exceed --hours {until.hours:g}")
    return replace(record, seeds=_more(record.seeds, count), end="")


def _hours(experiment: Experiment, store: Store, seeds: tuple[int, ...]) -> float:
    """Return the hours of work of all cells with these seeds: those spent, and those that finished cells foretell."""
    statuses = make_plan(_with_seeds(experiment, seeds)).with_status(store)
    done = sum(status.seconds or 0.0 for _, status in statuses if status.state in ("done", "diverged"))
    return (done + cost(statuses, store).seconds) / HOUR


def _more(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the seeds, and the smallest unused ones, ``count`` in all."""
    unused = (seed for seed in range(len(seeds) + count) if seed not in seeds)
    return (*seeds, *(seed for _, seed in zip(range(count - len(seeds)), unused, strict=False)))


def _with_seeds(experiment: Experiment, seeds: Sequence[int]) -> Experiment:
    grid = experiment.optimized.grid.model_copy(update={"seed": list(seeds)})
    return experiment.model_copy(update={"grid": grid})


def record_path(store: Store, name: str) -> Path:
    """Return the file of the looks at an experiment."""
    return store.root / "looks" / f"{name}.json"


def plan_of(experiment: Experiment, record: Record) -> Plan:
    """Plan the experiment with the seeds of the record."""
    return make_plan(_with_seeds(experiment, record.seeds))
