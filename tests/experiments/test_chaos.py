"""A small grid that is killed, damaged and starved; ``benchmarks/chaos.py`` does the same for longer."""

import subprocess
import sys

import pytest
from support.paths import ROOT
from support.smoke import PART

SMALL = [*PART, "grid.discriminator=none"]


@pytest.mark.slow
def test_a_store_survives_chaos():
    faults = ["--kills", "3", "--signals", "1", "--corruptions", "1", "--lease-faults", "1", "--full-disks", "1"]
    sets = [part for override in SMALL for part in ("--set", override)]
    command = [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), *faults, *sets]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tables are equal" in done.stdout
