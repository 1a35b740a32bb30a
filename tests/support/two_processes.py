"""A script run as two processes that find each other through a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def outputs_of_two(script: str, folder: Path, timeout: int) -> list[str]:
    """Run ``script`` twice, with its rank and the file to meet in as arguments; return what each printed."""
    (folder / "worker.py").write_text(script, encoding="utf-8")
    workers = [
        subprocess.Popen(
            [sys.executable, str(folder / "worker.py"), str(rank), str(folder / "rendezvous")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    printed = []
    for worker in workers:
        out, err = worker.communicate(timeout=timeout)
        assert worker.returncode == 0, err[-2000:]
        printed.append(out)
    return printed
