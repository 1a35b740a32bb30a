"""All speed comparisons of one GPU in at most eight minutes: the programs beside this one share the time.

    python benchmarks/gpu.py [--device cuda] [--minutes 8] [--to gpu.txt] [--quick]

Training steps against BasicSR, SwinIR against BasicSR's in float32 and bfloat16, losses against pyiqa, piq and others,
full-reference evaluation against pyiqa, scoring by a multimodal LLM against published scorers' methods. The output of
each program is shown and written as it ends; one that fails or takes longer than its share is named, and the next one
starts. ``--quick`` is the same on very small inputs, to try the script: ``--device cpu --quick``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# Program, share of the time, arguments, arguments with --quick.
PROGRAMS = (
    (
        "training.py",
        0.3,
        "--parts step sections --rounds 5",
        "--parts step sections --rounds 1 --side 96 --only 'tiny, pixel, 4'",
    ),
    ("swinir.py", 0.15, "--batch 16 --rounds 9", "--presets tiny --side 16 --batch 1 --rounds 1 --types bfloat16"),
    ("losses.py", 0.2, "--sizes 128 256", "--sizes 64 --rounds 1 --parts train"),
    ("assessment.py", 0.2, "", "--references 1 --distortions 2 --width 96 --height 64 --rounds 1 --parts lpips"),
    ("mllm.py", 0.15, "--images 256 --batch 64", "--images 4 --batch 2 --rounds 1 --questions 2"),
)


def main() -> int:
    """Run all programs; return how many did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, help="for all of it (default: 8, with --quick 30)")
    parser.add_argument("--to", type=Path, default=Path("gpu.txt"), help="file that gets all output")
    parser.add_argument("--quick", action="store_true", help="very small inputs")
    options = parser.parse_args()
    minutes = options.minutes or (30 if options.quick else 8)
    end, failed = time.monotonic() + 60 * minutes, 0
    left = 1.0
    with options.to.open("w") as file:
        for name, share, arguments, quick in PROGRAMS:
            # What earlier programs did not use is there for the later ones.
            limit = (end - time.monotonic()) * share / left
            left -= share
            chosen = shlex.split(quick if options.quick else arguments)
            text = _run([name, *chosen, "--device", options.device], limit)
            failed += "\nNOT DONE" in text
            print(text, flush=True)
            file.write(text + "\n")
            file.flush()
    return failed


def _run(command: list[str], limit: float) -> str:
    """Return what a program writes, and why it is not done if it is not."""
    began, why = time.monotonic(), ""
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # what was measured before the time was over is kept
        )
        output = done.stdout
        if done.returncode:
            why = f"\nNOT DONE: exit status {done.returncode}: {done.stderr.strip()[-500:]}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        why = f"\nNOT DONE: it took longer than its {limit:.0f} s"
    return f"## {' '.join(command)} ({time.monotonic() - began:.0f} s)\n{output.strip()}{why}\n"


if __name__ == "__main__":
    sys.exit(main())
