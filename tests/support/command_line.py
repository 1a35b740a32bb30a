"""The command line as tests use it: inside this process, or as processes of their own."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from lopsided.cli.main import main

Found = TypeVar("Found")
SCRIPT = Path(sys.executable).with_name("lopsided")


@dataclass(frozen=True)
class Shown:
    """What a command showed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Errors, then results, on one line with single spaces: for what may be folded."""
        return " ".join((self.err + self.out).split())


def invoke(*arguments: object, **variables: object) -> Shown:
    """Run a command in this process to its end; no traceback may be seen.

    Args:
        arguments: as on the command line.
        variables: environment variables, ``COLUMNS=80`` for one.
    """
    out, err, status = io.StringIO(), io.StringIO(), 0
    environment = {"COLUMNS": "300", **{name: str(value) for name, value in variables.items()}}
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["lopsided", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else 1
    assert "Traceback" not in err.getvalue()
    return Shown(status, out.getvalue(), err.getvalue())


def command(*arguments: object) -> list[str]:
    """Return the command of a process, by the installed script where there is one."""
    start = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "lopsided"]
    return [*start, *map(str, arguments)]


def environment(**changes: object) -> dict[str, str]:
    """Return the environment of a process: one thread, and lines that are not folded."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", **{name: str(v) for name, v in changes.items()}}


def sets(overrides: Iterable[str]) -> list[str]:
    """Return overrides as arguments; of several for one key the last one, as where a fixture's are extended."""
    last = {override.partition("=")[0]: override for override in overrides}
    return [argument for override in last.values() for argument in ("--set", override)]


def lopsided(
    *arguments: object, status: int = 0, overrides: Iterable[str] = (), limit: int | None = None, **changes: object
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; its exit status must be the one given, and no traceback may be seen.

    Args:
        arguments: as on the command line.
        status: the exit status to expect.
        overrides: values for ``--set``.
        limit: largest size of a file it may write, in bytes.
        changes: of the environment.
    """
    limited = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    result = subprocess.run(
        command(*arguments, *sets(overrides)),
        capture_output=True,
        text=True,
        env=environment(**changes),
        preexec_fn=limited,
        timeout=300,
        check=False,
    )
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    return result


def started(*arguments: object, overrides: Iterable[str] = (), **options: Any) -> subprocess.Popen[str]:
    """Start a process."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*arguments, *sets(overrides)), text=True, env=environment(), **{**pipes, **options})


def wait_for(condition: Callable[[], Found], process: subprocess.Popen[str], seconds: float = 60) -> Found:
    """Return what ``condition`` gives once that is true; the process may not end before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        time.sleep(0.002)
    process.kill()
    raise AssertionError("waited in vain")
