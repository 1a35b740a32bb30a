"""Everything the command line shows: text, tables, progress, errors and exit statuses look alike in every command.

Strings are shown as they are: no markup is read from them, and control characters (a file name can hold the escape
sequences of a terminal) are shown, not obeyed. A style is given beside the text: ``say("done ", (path, "dim"))``.
Colours go to terminals only, and not if ``NO_COLOR`` is set.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from ..common.errors import LopsidedError, one_line

FAILED, USAGE, ALARM, INTERRUPTED = 1, 2, 3, 130  # exit statuses besides 0
WIDE = 200  # columns of a file or pipe, where nothing needs to be folded to fit a screen
LOG_SECONDS = 15.0  # between two lines of progress where there is no terminal
BAR = 24  # columns
BAR_FITS = 70  # columns of a terminal from which on there is room for the bar
COLOURS = {
    "done": "green",
    "verified": "green",
    "fetched": "green",
    "on disk": "green",
    "diverged": "magenta",
    "running": "yellow",
    "interrupted": "yellow",
    "note": "yellow",
    "warning": "yellow",
    "failed": "red",
    "wrong": "red",
    "error": "red",
}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Part = str | tuple[str, str]


class _Console(Console):
    """A console that takes strings as they are, and folds nothing that goes to a file."""

    @property
    def size(self) -> ConsoleDimensions:  # pyright: ignore[reportIncompatibleMethodOverride] - never set
        if self.is_terminal or "COLUMNS" in os.environ:
            return super().size
        return ConsoleDimensions(WIDE, 25)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(text(shown) if isinstance(shown, str) else shown for shown in objects), **options)


out = _Console(highlight=False)
err = _Console(highlight=False, stderr=True)


# --- text -----------------------------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """Return ``value`` as text in which control characters are spelt out, as in a Python string."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def text(*parts: Part) -> Text:
    """Join parts, each a string or a string with its style."""
    return Text.assemble(*((plain(p[0]), p[1]) if isinstance(p, tuple) else plain(p) for p in parts))


def state(word: str, shown: str | None = None) -> Text:
    """Return a word such as ``done`` or ``wrong`` in the colour that it has everywhere."""
    return text((shown or word, COLOURS.get(word, "dim")))


def some(word: str, lines: Sequence[str], most: int | None, way_to_all: str, problem: bool = False) -> None:
    """Print lines as :func:`tell` does; of many lines, only the first ones."""
    for line in lines[:most]:
        tell(word, line, problem=problem)
    if most is not None and len(lines) > most:
        (err if problem else out).print(f"… and {len(lines) - most} more; {way_to_all}", soft_wrap=True)


def say(*parts: Part) -> None:
    """Print one line of results."""
    out.print(text(*parts), soft_wrap=True)


def tell(word: str, *parts: Part, problem: bool = False) -> None:
    """Print one line that begins with a word saying what kind of line it is; a problem goes to standard error."""
    console = err if problem else out
    console.print(state(word).append(": ").append_text(text(*parts)), soft_wrap=True)


def page(what: str, path: Path, opened: bool) -> None:
    """Say where a page was written, and open it in the reader's browser if asked to."""
    say(f"{what}: {path}")
    if opened and not webbrowser.open(path.resolve().as_uri()):
        tell("note", f"no browser can be opened here; open '{path}' in one of yours")


# --- tables ---------------------------------------------------------------------------------------------------------


class _Rows(Table):
    """A table whose strings are shown as they are."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def table(*columns: str, numbers: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Return an empty table to fill with ``add_row``, and to give to :func:`show`.

    Args:
        columns: headings. Cells that do not fit are folded.
        numbers: columns to align at the right.
        whole: columns never to be folded.
    """
    rows = _Rows(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        right = name in numbers
        rows.add_column(
            text(name), justify="right" if right else "left", no_wrap=right or name in whole, overflow="fold"
        )
    return rows


def show(rows: Table) -> None:
    """Print a table; a file or pipe gets no spaces at the ends of lines."""
    if out.is_terminal:
        out.print(rows)
        return
    with out.capture() as captured:
        out.print(rows)
    out.print("\n".join(line.rstrip() for line in captured.get().splitlines()), soft_wrap=True)


# --- progress -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress(what: str, units: str, begin: str = "") -> Iterator[Callable[[float, int, str], None]]:
    """Show a bar with speed and time left on a terminal, and a line every 15 seconds in a log.

    Args:
        what: what is being done, such as ``restoring``.
        units: what is counted, such as ``images``.
        begin: what to show until something is counted.

    Yields:
        A function to call with (done so far, all there is to do, what was done last).
    """
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    began = last_line = time.monotonic()
    bar = [BarColumn(BAR)] if out.width >= BAR_FITS else []
    name = TextColumn(what, table_column=Column(no_wrap=True, min_width=len(what)))
    note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = (name, *bar, note)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as shown:
        task = shown.add_task("", total=None, note=begin)

        def show(done: float, total: int, last: str) -> None:
            nonlocal last_line
            now = time.monotonic()
            line = plain(
                "  ".join(filter(None, (f"{int(done)}/{total}", _speed(done, total, now - began, units), last)))
            )
            shown.update(task, completed=done, total=total, note=line)
            if not out.is_terminal and now - last_line >= LOG_SECONDS:
                last_line = now
                say(f"{what} {line}")

        yield show


def _speed(done: float, total: int, seconds: float, units: str) -> str:
    if not done or not seconds:
        return ""
    each = seconds / done
    speed = f"{1 / each:.1f} {units}/s" if each < 1 else f"{each:.1f} s per {units.removesuffix('s')}"
    return f"{speed}  {timedelta(seconds=round(each * (total - done)))} left"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1), ("min", 60)):
        if seconds < 90 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"


# --- the end --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def resumable(advice: str = "the same command continues where it stopped") -> Iterator[None]:
    """Say after Ctrl-C that nothing is lost, and exit with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"interrupted; {advice}")
        raise typer.Exit(INTERRUPTED) from None


def explain(error: BaseException) -> str:
    """Say in a line or two what an exception means to a user; it can come from any library, and can have no text."""
    if isinstance(error, LopsidedError) and str(error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return one_line(error)
    kind = type(error).__name__
    text = one_line(error).removeprefix(f"{kind} ") if str(error).strip() else "no further text"
    return f"{kind}: {text}\nlopsided did not expect this; 'lopsided --debug …' shows where it happened"


def begin(debug: bool) -> None:
    """Take the global options: whether to show tracebacks, and what the library logs besides warnings."""
    _state["debug"] = debug
    logging.basicConfig(level=logging.WARNING, handlers=[_Log(logging.INFO if debug else logging.WARNING)], force=True)
    logging.getLogger("lopsided").setLevel(logging.INFO)


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and exit; an error is shown without a traceback unless ``--debug`` is given."""
    try:
        status = app(prog_name="lopsided", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        err.print("interrupted")
        status = INTERRUPTED
    except _UsageError as error:
        if message := error.format_message():  # none if the help was shown instead
            tell("error", message, problem=True)
            if error.ctx:
                err.print(f"see '{error.ctx.command_path} --help'", soft_wrap=True)
        status = USAGE
    except Exception as error:
        if _state["debug"]:
            raise
        tell("error", explain(error), problem=True)
        status = FAILED
    raise SystemExit(status or 0)


_state = {"debug": False}
_UsageError: Any = typer.BadParameter.__mro__[1]  # its own name depends on typer's version


class _Log(logging.Handler):
    """Shows what the library logs in the way everything else is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.levelname.lower(), record.getMessage(), problem=True)
