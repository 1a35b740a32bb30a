"""Are pixel values in the range that a measure expects, and in the same range for prediction and reference?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.transforms import bare, transformed
from ..common.value_range import UNIT, range_hint, symmetric
from .errors import MeasureError

TOLERANCE = 1e-4  # how far a value may be outside [0, 1]: rounding of resizing and of half precision
OVERSHOOT = 8  # the same for a network's output: untrained ones leave [0, 1] by units, a wrong scale by hundreds

# A prediction p is taken for one in [-1, 1] beside a reference r in [0, 1] if it is twice as near to 2r - 1 as to r
# (root mean squares) and its contrast is rather twice that of r. How often that is right and wrong was measured, see
# benchmarks/RESULTS.md.
NEARER = 0.25  # of squares
CONTRAST = 1.3


def check_range(
    key: str, name: str, value: Tensor, expected: tuple[float, float], *, as_loss: bool = False
) -> tuple[float, float]:
    """Return the lowest and the highest value, relative to black (0) and white (1).

    Args:
        key: the measure.
        name: what the message calls the images.
        value: the images.
        expected: the values of black and white.
        as_loss: whether they are a network's output, which can overshoot and be not finite.

    Raises:
        MeasureError: values outside the range.
    """
    # One reduction and one transfer; for images this small against any network pass.
    low, high = torch.stack(torch.aminmax(bare(value.detach()))).tolist()
    finite = low > -float("inf") and high < float("inf")  # False for NaN too
    black, white = expected
    seen = (low - black) / (white - black), (high - black) / (white - black)
    slack = OVERSHOOT if as_loss else TOLERANCE
    if (finite or not as_loss) and not (finite and seen[0] >= -slack and seen[1] <= 1 + slack):
        hint = range_hint(low, high) and f"{range_hint(low, high)}, or use the option input_range"
        raise MeasureError(
            f"{key}: {name} must be in [{black:g}, {white:g}], seen [{low:.4g}, {high:.4g}]"
            + (hint if expected == UNIT else "")
        )
    return seen


def check_same_range(
    key: str, prediction: Tensor, reference: Tensor, expected: tuple[float, float], seen: tuple[float, float]
) -> None:
    """Raise MeasureError if the prediction is an image in [-1, 1], while the reference is in [0, 1].

    It costs nothing unless values of the prediction are far below black. Under ``torch.func`` nothing is checked.

    Args:
        key: the measure.
        prediction: the network's output.
        reference: in the measure's range.
        expected: the values of black and white.
        seen: what :func:`check_range` returned for the prediction.
    """
    if transformed() or not symmetric(*seen):
        return
    black, white = expected
    with torch.no_grad():
        image, other = ((tensor.float() - black) / (white - black) for tensor in (prediction, reference))
        contrast = other - other.mean()
        moments = [
            (image - other).square().mean(),
            (image - 2 * other + 1).square().mean(),
            (image * contrast).mean(),
            contrast.square().mean(),
        ]
        to_reference, to_symmetric, covariance, variance = torch.stack(moments).tolist()
    if to_symmetric < NEARER * to_reference and covariance > CONTRAST * variance:
        raise MeasureError(
            f"{key}: the prediction looks like an image in [-1, 1] (seen [{seen[0]:.4g}, {seen[1]:.4g}]), the "
            "reference is in [0, 1]; give (prediction + 1) / 2, or both in [-1, 1] and the option input_range=(-1, 1)"
        )
