"""``lopsided schema``: what an editor needs to complete and check experiment files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..common.files import write_text


def schema(
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="File to write; default: print it.")] = None,
) -> None:
    """Write the JSON Schema of experiment files; editors use it to complete keys and mark mistakes.

    Example: lopsided schema --to experiment.schema.json
    """
    from ..experiments import Experiment

    text = json.dumps(Experiment.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    if to is None:
        sys.stdout.write(text)
    else:
        write_text(to, text)
