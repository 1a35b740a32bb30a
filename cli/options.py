"""Arguments and options that several commands share: declared, explained and checked in one way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..common.errors import LopsidedError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..experiments import Until

    Model = TypeVar("Model", bound=BaseModel)


def flag(*names: str, help: str) -> Any:  # noqa: A002 - as in typer
    """Declare an option that takes no value."""
    return typer.Option(*names, help=help, metavar="")


def each_once(option: str, pairs: Iterable[str]) -> None:
    """Refuse two values for one key of a repeatable option ``KEY=VALUE``.

    Raises:
        LopsidedError: names both.
    """
    given: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if (name := key.strip()) in given:
            raise LopsidedError(f"{option} {name} is given twice, as '{given[name]}' and as '{value}'; keep one")
        given[name] = value


def _overrides(pairs: Any) -> Any:  # not list[str]: Python 3.10 takes that for a class, and typer then fails
    each_once("--set", pairs)
    return pairs


Experiment = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="The experiment file.")]
StoreFolder = Annotated[
    Path,
    typer.Option(
        "--store", metavar="FOLDER", file_okay=False, help="Folder that holds all results; experiments share it."
    ),
]
RUNS = Path("runs")
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--to",
        "--output",
        metavar="FOLDER",
        file_okay=False,
        help="Folder to write to; default: the experiment's, in the store.",
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=_overrides,
        help="Replace a value of the file, e.g. grid.seed=[0,1] (repeatable).",
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        min=1,
        max=10_000,
        help="Processes that share the work; default: what the file says, or one.",
    ),
]
Only = Annotated[
    list[str],
    typer.Option(
        "--only",
        metavar="WHAT",
        help="Compute only this and what it needs: a stage, a cell's ID, or words of its title (repeatable).",
    ),
]
Skip = Annotated[
    list[str],
    typer.Option(
        "--skip", metavar="WHAT", help="Leave this out, and what needs it: a stage, an ID, or words (repeatable)."
    ),
]
UntilWhat = Annotated[
    list[str],
    typer.Option(
        "--until",
        metavar="WHAT",
        help="Add seeds in rounds until this is decided: 'decided' (any trend or inversion), or words of contrasts, "
        "such as 'gain lpips' or 'trend patch' (repeatable). p-values are corrected for the looks (docs/scale.md).",
    ),
]
Looks = Annotated[
    int | None,
    typer.Option("--looks", metavar="N", min=1, max=20, help="With --until: how often to look, 4 by default."),
]
MostSeeds = Annotated[
    int | None,
    typer.Option("--most-seeds", metavar="N", min=1, max=1000, help="With --until: most seeds, 12 by default."),
]
Hours = Annotated[
    float | None,
    typer.Option(
        "--hours",
        metavar="H",
        min=0,
        help="With --until: most hours of work of all cells together, as one worker does it.",
    ),
]
Open = Annotated[bool, flag("--open", help="Show the report in your browser.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=1024, help="CPU threads of torch.")]
Architecture = Annotated[
    str | None,
    typer.Option(
        "--generator-name", metavar="NAME", help="The generator's architecture, if the file does not say which it is."
    ),
]
Scale = Annotated[
    int | None, typer.Option("--scale", metavar="N", help="The generator's scale, if the file does not say it.")
]
CellStore = Annotated[
    Path, typer.Option("--store", metavar="FOLDER", file_okay=False, help="Folder of results, to look cells up in.")
]


def key_values(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read the values of a repeatable option, ``KEY=VALUE`` each, with values as in YAML.

    Raises:
        LopsidedError: one is written in another way, or a key is given twice.
    """
    from ..common.yaml_text import parse_value

    each_once(option, pairs)
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise LopsidedError(f"{option} {pair}: write it as KEY=VALUE")
        found[key.strip()] = parse_value(value, f"{option} {pair}")
    return found


def settings_from(model: type[Model], known: Collection[str] = (), /, **values: Any) -> Model:
    """Return the settings that options describe.

    Args:
        model: what they are settings of.
        known: keys that ``KEY=VALUE`` options can have, to suggest the nearest one.
        values: the values of the options, by the names of the fields.

    Raises:
        LopsidedError: the first thing that is wrong with them, by the name of its option or key.
    """
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        text = str(problem.get("ctx", {}).get("error") or problem["msg"])
        if not problem["loc"]:
            raise LopsidedError(text) from None
        option, key = str(problem["loc"][0]), str(problem["loc"][-1])
        if problem["type"] == "extra_forbidden":
            text = f"unknown; {did_you_mean(key, known)}"
        elif problem["type"] != "value_error":
            text = f"{text}, got {problem['input']!r}"
        by_key = len(problem["loc"]) > 1 or option in known
        where = key if by_key else f"--{option.replace('_', '-')}"
        raise LopsidedError(f"{where}: {text}") from None


def until_of(names: Sequence[str], looks: int | None, most_seeds: int | None, hours: float | None) -> Until | None:
    """Return what seeds are to be added for, if they are.

    Raises:
        LopsidedError: a budget or a number of looks, and nothing to look for.
    """
    from ..experiments import Until

    given = {"looks": looks, "most_seeds": most_seeds, "hours": hours}
    given = {name: value for name, value in given.items() if value is not None}
    if not names:
        if given:
            raise LopsidedError(f"--{next(iter(given)).replace('_', '-')}: give --until too, such as --until decided")
        return None
    return Until(tuple(names), **given)
