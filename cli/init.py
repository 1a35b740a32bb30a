"""``lopsided init``: an experiment to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..common.errors import LopsidedError
from ..common.files import write_text
from . import console

TEMPLATE = Path(__file__).with_name("template.yaml")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment; NAME.yaml is written.")],
) -> None:
    """Write a small experiment to start from, with every line explained. It runs as it is, in about a minute.

    Example: lopsided init study
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not NAME.fullmatch(path.stem):
        raise LopsidedError(
            f"'{path.stem}' cannot name an experiment: use 1 to 64 letters, digits, '_', '-' or '.', and begin with a "
            "letter or digit"
        )
    if path.exists():
        raise LopsidedError(f"'{path}' exists already, and is left as it is; choose another name")
    template = TEMPLATE.read_text(encoding="utf-8")
    write_text(path, template.replace("NAME", path.stem))
    console.say(f"wrote {path}")
    steps = next_steps(path)
    width = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        console.say(f"  {command:{width}}", (f"  # {purpose}", "dim"))


def next_steps(path: Path) -> list[tuple[str, str]]:
    """Return the commands that follow, each with its purpose."""
    schema, file = (shlex.quote(str(p)) for p in (path.with_name("experiment.schema.json"), path))
    return [
        (f"lopsided plan {file}", "what will be computed"),
        (f"lopsided run {file}", "compute it, and write the report"),
        (f"lopsided schema --to {schema}", "lets your editor complete and check the file"),
    ]
