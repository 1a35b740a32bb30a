"""``lopsided leaderboard``: several scorers of one benchmark beside one another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .options import Open, flag

if TYPE_CHECKING:
    from ..mllm import Leaderboard

SHOWN = {"srcc": ("srcc", "plcc", "srcc_valid"), "accuracy": ("accuracy", "accuracy_valid")}
VALUES = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "srcc_valid": "SRCC, valid",
    "accuracy": "accuracy",
    "accuracy_valid": "accuracy, valid",
}


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Two folders or more that rate has written.")],
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the numbers.")] = None,
    latex: Annotated[Path | None, typer.Option("--latex", metavar="FILE", help="Write tables for a paper.")] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with figures and the worst misses of each scorer."),
    ] = None,
    link_images: Annotated[
        bool, flag("--link-images", help="Let the page link images instead of holding small copies.")
    ] = False,
    open_: Open = False,
) -> None:
    """Compare the scorers that have rated one benchmark: which agrees best with people, and is that more than noise?

    Differences are tested in pairs on the same items and corrected for the number of pairs. Replies without a value
    count as worst; what is "valid" leaves them out.

    Example: lopsided leaderboard out/qwen out/qwen3 out/numeric --html out/board.html
    """
    from ..analysis.report import board_csv, board_latex, write_leaderboard
    from ..common.files import write_text
    from ..mllm import compare_runs
    from ..mllm.leaderboard import shown_items, without_common_model

    board = compare_runs(runs)
    brief, model = without_common_model(board)
    _print(brief, model)
    for path, content in ((csv, board_csv(board)), (latex, board_latex(brief))):
        if path is not None:
            write_text(path, content)
            console.say(f"written: {path}")
    if html is not None:
        write_leaderboard(brief, html, shown_items(runs), model=model, link=link_images)
        console.page("page", html, open_)


def _print(board: Leaderboard, model: str) -> None:
    """Print one table per benchmark and dimension."""
    from ..analysis.report import findings, place
    from ..analysis.statistics import grouped

    if model:
        console.say("model: ", model)
    for (benchmark, dimension, of), rows in grouped(board.table, "benchmark", "dimension", "of"):
        console.say((f"{benchmark}: {dimension}", "bold"))
        failed = bool((rows["n_valid"] < rows["n"]).any())  # without failures both readings are one
        shown = SHOWN[of] if failed else SHOWN[of][:-1]
        known = rows["items_per_second"].notna().any()
        numbers = ["place", *(VALUES[name] for name in shown), "valid", *(["items/s"] if known else [])]
        marked = [] if (rows["trained_on_it"] == "unknown").all() else ["trained on it"]
        table = console.table("place", "scorer", *numbers[1:], *marked, numbers=numbers)
        for row in rows.to_dict("records"):
            cells = [_cell(row, name) for name in shown]
            speed = [_plain(row["items_per_second"])] if known else []
            ends = [row["trained_on_it"]] if marked else []
            table.add_row(place(row), row["scorer"], *cells, _valid(row), *speed, *ends)
        console.show(table)
    for verdict, sample in findings(board):
        console.say(verdict, " ", (sample, "dim"))


def _cell(row: Mapping[Any, Any], name: str) -> Any:
    """Show a value over its interval."""
    if math.isnan(row[name]):
        return "–"
    return console.text(f"{row[name]:.3f}", (f"\n{row[f'{name}_low']:.2f} … {row[f'{name}_high']:.2f}", "dim"))


def _valid(row: Mapping[Any, Any]) -> str:
    """Show how many replies have a value, and how many of these a judge of replies found."""
    judged = f"\n{row['n_by_judge']} by judge" if row["n_by_judge"] else ""
    return f"{row['n_valid']}/{row['n']}{judged}"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
