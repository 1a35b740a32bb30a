"""The content-addressed store: cells whole or absent, their bytes known, one writer each."""

from .disk import disk_errors, disk_reason
from .lease import Lease, LeasedError, LostLeaseError
from .outputs import DamagedError, Output, checked
from .status import End, Status
from .store import Store

__all__ = [
    "DamagedError",
    "End",
    "Lease",
    "LeasedError",
    "LostLeaseError",
    "Output",
    "Status",
    "Store",
    "checked",
    "disk_errors",
    "disk_reason",
]
