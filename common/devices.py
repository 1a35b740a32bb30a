"""Whether torch can compute where it is asked to."""

from __future__ import annotations

import torch

from .errors import LopsidedError, one_line


class DeviceError(LopsidedError):
    """A device that does not exist, or not on this machine."""


def check_device(device: str) -> None:
    """Make sure that torch can compute on a device, before anything is loaded or computed.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        DeviceError: it cannot; the message says why.

    Examples:
        >>> check_device("cpu")
        >>> check_device("gpu")
        Traceback (most recent call last):
        lopsided.common.devices.DeviceError: device 'gpu' is unknown; known: cpu, cuda, cuda:N (such as cuda:0), mps
    """
    try:
        known = torch.device(device)
    except RuntimeError:
        raise DeviceError(f"device '{device}' is unknown; known: cpu, cuda, cuda:N (such as cuda:0), mps") from None
    try:
        torch.empty(1, device=known)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error).split(". ")[0]
        raise DeviceError(f"device '{device}' cannot be used: {reason}") from None
