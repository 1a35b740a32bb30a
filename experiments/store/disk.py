"""What errors of the operating system mean for a store, and what to do about them."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...common.errors import one_line
from ..schema.errors import ExperimentError


def disk_reason(error: OSError, root: Path) -> str:
    """Return what an error of the operating system means and what to do.

    Args:
        error: the error.
        root: the store in whose use it came up.
    """
    what = one_line(error)
    # The words are for errors of safetensors, which have no number.
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in what:
        free = shutil.disk_usage(root).free / 2**20
        return f"the disk is full ({free:.0f} MiB free under '{root}'): {what}; free some space and run again"
    if error.errno == errno.EFBIG or "too large" in what:
        return f"a file would exceed the limit on file sizes (ulimit -f): {what}; raise it and run again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and str(root) in str(error):
        return (
            f"the store '{root}' cannot be written to or read: {what}; change its permissions, or name "
            "another folder (--store; reports and tables can go elsewhere with --to)"
        )
    return what


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn errors of the operating system in the block into ExperimentError; see :func:`disk_reason`."""
    try:
        yield
    except OSError as error:
        raise ExperimentError(disk_reason(error, root)) from None
