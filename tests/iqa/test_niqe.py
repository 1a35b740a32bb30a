"""NIQE as a judge needs no download, and gives the scores that pyiqa publishes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lopsided.common.images import read_rgb, to_tensor
from lopsided.iqa import create_judge

# pyiqa's own scores of the five images in its package (its calibration table, row "niqe(ours)").
PUBLISHED = {"I03": 15.6538, "I04": 3.6549, "I06": 3.2342, "I08": 3.1922, "I19": 9.0722}


def test_niqe_gives_the_published_scores():
    root = Path(pytest.importorskip("pyiqa").__file__).parents[1] / "ResultsCalibra" / "dist_dir"
    judge = create_judge("niqe", scale=0)
    for name, expected in PUBLISHED.items():
        image = to_tensor(read_rgb(root / f"{name}.bmp"))
        assert judge.score(image, image).item() == pytest.approx(expected, rel=0.002), name


def test_niqe_is_built_without_a_network(tmp_path):
    """In a process that may open no connection, with empty caches."""
    code = (
        "import socket\n"
        "def refused(*_, **__): raise AssertionError('a connection was opened')\n"
        "socket.socket.connect = refused\n"
        "from lopsided.iqa import create_judge\n"
        "print(create_judge('niqe', scale=4).lower_is_better)\n"
    )
    env = {**os.environ, "TORCH_HOME": str(tmp_path), "HF_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
