"""NIQE without a download: pyiqa's code, with the parameters of good photographs that basicsr has in its package."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from torch import nn

from ..common.basicsr_compat import load_basicsr
from ..losses.through_pyiqa import pyiqa_network


def niqe_network() -> nn.Module:
    """Return pyiqa's NIQE, frozen, on the CPU: images ``(N, 3, H, W)`` in [0, 1] to one score each, lower is better.

    pyiqa would download the parameters; those in basicsr's package are the same numbers (Mittal, Soundararajan and
    Bovik, 2013), as a test against pyiqa's published scores shows.

    Raises:
        BasicsrUnavailableError: basicsr is not installed.
        MeasureError: pyiqa is not installed.
    """
    load_basicsr()
    from scipy.io import savemat

    with (resources.files("basicsr") / "metrics" / "niqe_pris_params.npz").open("rb") as file, np.load(file) as known:
        parameters = {"mu_prisparam": known["mu_pris_param"], "cov_prisparam": known["cov_pris_param"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "niqe.mat"  # the only form that pyiqa reads
        savemat(path, parameters)
        return pyiqa_network("niqe", pretrained_model_path=str(path))
