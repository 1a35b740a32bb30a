"""The only module that imports basicsr, which cannot be imported directly if torchvision is a current one."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from types import ModuleType

from .errors import LopsidedError, one_line

_REMOVED = "torchvision.transforms.functional_tensor"  # imported by basicsr 1.4.2, gone since torchvision 0.17
_PRESENT = "torchvision.transforms._functional_tensor"


class BasicsrUnavailableError(LopsidedError):
    """basicsr is not installed or cannot be imported."""


def load_basicsr() -> ModuleType:
    """Import basicsr, quietly and once; afterwards ``from basicsr.… import …`` works anywhere.

    basicsr asks torchvision for a module that was renamed; the old name then works in the whole process. Everything
    that basicsr and the libraries it loads print or warn about at import is hidden.

    Raises:
        BasicsrUnavailableError: basicsr is not installed or cannot be imported.
    """
    if "basicsr" in sys.modules:
        return sys.modules["basicsr"]
    try:
        sys.modules.setdefault(_REMOVED, importlib.import_module(_PRESENT))
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module("basicsr")
    except ImportError as error:
        raise BasicsrUnavailableError(
            f"basicsr cannot be imported ({one_line(error)}): pip install 'lopsided[study]' on Python 3.10 to 3.12."
        ) from error
