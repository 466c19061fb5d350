"""The number type of losses: never a 16-bit one, whose sums over a batch are rough or infinite."""

from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return float32 or float64 as it is, and shorter floats as float32."""
    return values if values.dtype.itemsize >= 4 else values.float()
