"""The command line put together; ``lopsided --help`` lists its commands in the order in which they are needed.

Nothing heavy is imported until a command runs: each command imports what it needs.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from . import align, console, data, exchange, published, weights
from .archive import pack, unpack
from .compare import compare
from .diff import diff
from .export import export
from .gc import gc
from .init import init
from .leaderboard import leaderboard
from .learn_weights import learn_weights
from .options import flag
from .plan import plan
from .rate import rate
from .report import report
from .restore import restore
from .retry import retry
from .run import run
from .schema import schema
from .score import score
from .serve_reward import serve_reward
from .status import status
from .tables import tables
from .verify import verify
from .worker import worker

# Model hubs wait most of a minute offline before they say so; lopsided looks for weights on disk first.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Figures are drawn into files: no window is opened, and no display is needed.
os.environ.setdefault("MPLBACKEND", "agg")

COMMANDS: dict[str, list[Any]] = {
    "Start": [init, schema],
    "Run experiments": [plan, run, status, retry, worker],
    "Look at results": [report, compare, tables, diff],
    "Look after a store": [verify, gc, pack, unpack],
    "Use trained networks": [restore, export],
    "Score images": [score],
    "Data and weights": [data.app, weights.app, learn_weights],
    "Multimodal LLMs": [rate, leaderboard, exchange.app, align.app, serve_reward, published.app],
}


class _InOrder(TyperGroup):
    """Lists commands as ``COMMANDS`` does; typer would list those with sub-commands last."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [_name(command) for commands in COMMANDS.values() for command in commands]


app = typer.Typer(
    name="lopsided",
    cls=_InOrder,
    help="Study the asymmetry between perceptual optimization and perceptual assessment: is a good metric of image "
    "quality a good training loss?",
    epilog="First steps: lopsided init study, then lopsided run study.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _name(command: Any) -> str:
    return str(command.info.name) if isinstance(command, typer.Typer) else command.__name__.replace("_", "-")


for panel, commands in COMMANDS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.say(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, flag("--debug", help="Show the traceback of an error, and what the library logs.")] = False,
    _: Annotated[
        bool, typer.Option("--version", metavar="", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    console.begin(debug)


def main() -> None:
    """Run the command line, and exit with its status."""
    console.run(app)


if __name__ == "__main__":
    main()
