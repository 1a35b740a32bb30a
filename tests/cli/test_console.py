"""What every command shows, and how: text as it is, colours on terminals only, errors in a line or two."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from support.command_line import invoke

from lopsided.cli import console
from lopsided.common.errors import LopsidedError

EVIL = "a\x1b]0;owned\x07\x1b[31m\r\x9b2J\u202e.png"
SPELT_OUT = r"a\x1b]0;owned\x07\x1b[31m\r\x9b2J\u202e.png"


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """Have both outputs go to a terminal of that many columns."""
    file = io.StringIO()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("out", "err"):
        options: dict[str, Any] = {"force_terminal": True, "highlight": False, "color_system": "standard"}
        monkeypatch.setattr(console, name, type(console.out)(file=file, width=width, **options))
    return file


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return terminal(monkeypatch, 60)


def test_terminal_escapes_of_foreign_text_are_shown_and_not_obeyed(screen: io.StringIO) -> None:
    console.say(EVIL)
    console.out.print(EVIL)
    console.tell("failed", EVIL, problem=True)
    table = console.table("name")
    table.add_row(EVIL)
    console.show(table)
    shown = screen.getvalue()
    assert shown.count(SPELT_OUT) == 4
    for character in "\x07\r\x9b\u202e":
        assert character not in shown
    own = {"\x1b[31m", "\x1b[0m", "\x1b[1m"}  # our own colours
    assert {"\x1b" + part[: part.index("m") + 1] for part in shown.split("\x1b")[1:]} <= own


def test_markup_and_emoji_of_foreign_text_are_text(screen: io.StringIO) -> None:
    console.say("[red]x[/red] :smile: [/nothing]")
    assert screen.getvalue() == "[red]x[/red] :smile: [/nothing]\n"


def test_colours_are_for_terminals_and_not_if_unwanted(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console.tell("failed", "x")
    assert "\x1b[31m" in screen.getvalue()
    monkeypatch.undo()
    console.tell("failed", "x")
    assert capsys.readouterr().out == "failed: x\n"
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    type(console.out)(file=file, force_terminal=True).print(console.state("failed"))
    assert "\x1b[31m" not in file.getvalue()


def test_a_file_or_pipe_gets_tables_unfolded_and_a_narrow_terminal_folds(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = console.table("what", "n", numbers=["n"])
    table.add_row("word " * 30, "12345")
    console.show(table)
    folded = screen.getvalue().splitlines()
    assert len(folded) > 2
    assert "12345" in folded[1]
    monkeypatch.undo()
    monkeypatch.delenv("COLUMNS", raising=False)
    console.show(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line == line.rstrip() for line in lines)


def test_long_lists_are_cut_and_say_how_to_see_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    console.some("wrong", ["a", "b", "c"], 2, "--all shows them", problem=True)
    assert capsys.readouterr().err == "wrong: a\nwrong: b\n… and 1 more; --all shows them\n"
    console.some("wrong", ["a", "b"], 2, "--all shows them")
    assert capsys.readouterr().out == "wrong: a\nwrong: b\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, 90)
    with console.progress("checking", "images", "reading labels") as show:
        show(1, 2, EVIL)
    shown = screen.getvalue()
    assert "checking" in shown
    assert "1/2" in shown
    assert "left" in shown
    assert "\x07" not in shown
    assert "━" in shown
    screen = terminal(monkeypatch, 40)
    with console.progress("checking", "images") as show:
        show(1, 2, "a.png")
    assert "checking 1/2" in screen.getvalue()
    assert "━" not in screen.getvalue()  # no room


def test_progress_is_a_line_now_and_then_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress("restoring", "images") as show:
        for done in range(1, 41):
            now[0] += 1.0
            show(done, 40, f"{done}.png")
    assert capsys.readouterr().out.splitlines() == [
        "restoring 15/40  1.0 s per image  0:00:25 left  15.png",
        "restoring 30/40  1.0 s per image  0:00:10 left  30.png",
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LopsidedError("it is wrong"), "it is wrong"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "No such file or directory: 'a.png'"),
        (OSError("odd"), "OSError: odd\nlopsided did not expect this; 'lopsided --debug …' shows where it happened"),
        (KeyError("group"), "KeyError: 'group'\nlopsided did not"),
        (RuntimeError("first\nsecond\n"), "RuntimeError: first second\nlopsided did not"),
        (AssertionError(), "AssertionError: no further text\nlopsided did not"),
        (LopsidedError(), "LopsidedError: no further text\nlopsided did not"),
    ],
)
def test_every_exception_has_a_line_or_two(error: Exception, text: str) -> None:
    assert console.explain(error).startswith(text)


def test_unexpected_errors_and_interruptions_end_as_all_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("lopsided.mllm.published.list_tables", fail)
    raised: BaseException = ValueError("odd \x1b[2J")
    shown = invoke("published", "list")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith("error: ValueError: odd \\x1b[2J\n")
    raised = KeyboardInterrupt()
    assert invoke("published", "list").status == 130
    raised = LopsidedError("it is wrong")
    assert invoke("published", "list").err == "error: it is wrong\n"
    with pytest.raises(LopsidedError, match="it is wrong"):
        invoke("--debug", "published", "list")
    assert invoke("published", "list").status == 1  # --debug is of one call


def test_what_can_be_resumed_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_, console.resumable():
        raise KeyboardInterrupt
    assert exit_.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted; the same command continues where it stopped\n"


@pytest.mark.parametrize(("debug", "shown"), [(False, ["warning: beware"]), (True, ["info: well", "warning: beware"])])
def test_what_the_library_logs(debug: bool, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    handlers = logging.getLogger().handlers[:]
    try:
        console.begin(debug)
        logging.getLogger("lopsided.x").info("well")
        logging.getLogger("lopsided.x").warning("beware")
        logging.getLogger("other").info("chatter")
    finally:
        logging.getLogger().handlers[:] = handlers
        console.begin(False)
    assert capsys.readouterr().err.splitlines() == shown


def test_escapes_in_the_names_of_files_do_not_reach_the_terminal(tmp_path: Path) -> None:
    absent = tmp_path / EVIL
    shown = invoke("plan", absent)
    assert shown.status == 1
    assert "\x1b" not in shown.err
    assert SPELT_OUT in shown.err


def test_an_error_is_a_line_and_a_traceback_only_with_debug(tmp_path: Path) -> None:
    absent = tmp_path / "[red]absent[/red].yaml"
    shown = invoke("plan", absent)
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == f"error: cannot read experiment '{absent}': No such file or directory\n"
    with pytest.raises(LopsidedError):  # and so Python's own traceback
        invoke("--debug", "plan", absent)


@pytest.mark.parametrize(
    ("arguments", "message", "place"),
    [
        (("run", "e.yaml", "--sett", "a=1"), "No such option: --sett", "lopsided run"),
        (("run", "e.yaml", "--workers", "0"), "'--workers'", "lopsided run"),
        (("run", "e.yaml", "--store", sys.executable), "'--store'", "lopsided run"),
        (("rum", "e.yaml"), "No such command 'rum'. Did you mean 'run'?", "lopsided"),
        (("run",), "Missing argument 'EXPERIMENT.yaml'", "lopsided run"),
        (("weights", "lst"), "No such command 'lst'", "lopsided weights"),
    ],
)
def test_usage_errors_look_like_all_others(arguments: tuple[str, ...], message: str, place: str) -> None:
    shown = invoke(*arguments)
    assert (shown.status, shown.out) == (2, "")
    first, second = shown.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second == f"see '{place} --help'"
