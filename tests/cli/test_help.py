"""``--help``: grouped by what a person wants to do, with examples that hold, and light."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from types import GenericAlias
from typing import Any, get_type_hints

import pytest
import typer.main
from support.command_line import invoke
from typer.utils import get_params_from_function

from lopsided import __version__
from lopsided.cli.main import COMMANDS, app

HEAVY = {"torch", "pandas", "pydantic", "numpy", "scipy", "matplotlib", "yaml", "PIL", "transformers"}


def commands() -> dict[str, Any]:
    """Return every command that does something, by what is typed to call it."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        within = getattr(command, "commands", None)
        found |= {f"{name} {sub}": one for sub, one in within.items()} if within else {name: command}
    return found


ALL = commands()


def test_no_callback_has_a_generic_annotation() -> None:
    """On Python 3.10 ``isinstance(list[str], type)`` holds, and typer gives such an annotation to ``issubclass``."""
    groups = [app, *(group.typer_instance for group in app.registered_groups)]
    functions = [command.callback for group in groups if group for command in group.registered_commands]
    functions += [group.registered_callback.callback for group in groups if group and group.registered_callback]
    options = [option for each in functions if each for option in get_params_from_function(each).values()]
    checks = {check for option in options if (check := getattr(option.default, "callback", None))}
    assert {check.__name__ for check in checks} >= {"_overrides", "_show_version", "_list"}
    for check in checks:
        assert not [hint for hint in get_type_hints(check).values() if isinstance(hint, GenericAlias)], check


def test_commands_are_grouped_in_the_order_of_use() -> None:
    shown = invoke("--help", COLUMNS=100)
    assert shown.status == 0
    assert re.findall(r"^╭─ ([\w ]+?) ─", shown.out, re.MULTILINE) == ["Options", *COMMANDS]
    order = re.findall(r"^│ ([a-z-]+?)  ", shown.out, re.MULTILINE)
    assert [name for name in order if not name.startswith("-")] == [
        *("init", "schema", "plan", "run", "status", "retry", "worker", "report", "compare", "tables", "diff"),
        *("verify", "gc", "pack", "unpack"),
        *("restore", "export", "score"),
        *("data", "weights", "learn-weights", "rate", "leaderboard", "exchange", "align", "serve-reward", "published"),
    ]
    assert "lopsided init study" in shown.out


def test_without_a_command_the_help_is_shown() -> None:
    assert invoke().out.strip() == invoke("--help").out.strip()
    assert invoke("data").out.strip() == invoke("data", "--help").out.strip()


def test_version() -> None:
    assert invoke("--version").out == f"{__version__}\n"


@pytest.mark.parametrize("width", [40, 80])
def test_help_fits_the_terminal(width: int) -> None:
    for name in ("", *ALL):
        shown = invoke(*name.split(), "--help", COLUMNS=width)
        assert shown.status == 0
        assert max(map(len, shown.out.splitlines())) <= width, name


@pytest.mark.parametrize("name", ALL)
def test_the_example_of_a_command_has_options_that_exist_and_all_that_are_needed(name: str) -> None:
    command = ALL[name]
    (example,) = re.findall(r"^Example: (lopsided .*)$", command.help, re.MULTILINE)
    words = shlex.split(example)
    assert words[1 : 1 + len(name.split())] == name.split()
    given = words[1 + len(name.split()) :]
    command.make_context(name, given)  # raises if an option is unknown or a needed one is missing


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str) -> None:
    for parameter in ALL[name].params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper() or parameter.help.split()[0].strip(",.").islower(), parameter.help
        assert parameter.help.endswith(".") or parameter.name == "help", parameter.help


@pytest.mark.parametrize("start", [["-m", "lopsided"], ["-c", "from lopsided.cli.main import main; main()"]])
def test_help_imports_nothing_heavy(start: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *start, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0 or start[0] == "-c", result.stderr
    imported = {line.split("|")[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
    assert "lopsided" in imported
    assert not imported & HEAVY
