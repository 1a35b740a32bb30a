"""Devices: the CPU is always there, and what is not has a name and a reason."""

import pytest
import torch

from lopsided.common.devices import DeviceError, check_device


def test_the_cpu_can_be_used():
    check_device("cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu' is unknown; known: cpu, cuda"),
        ("cuda:99", "device 'cuda:99' cannot be used: "),
        ("mps", "device 'mps' cannot be used: "),
    ],
)
def test_others_are_refused_in_one_line(device, message):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(DeviceError) as caught:
        check_device(device)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
