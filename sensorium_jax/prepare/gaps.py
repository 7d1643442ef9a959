"""Short gaps in behaviour, such as blinks, interpolated where the user asks for it."""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError


class Gaps:
    """Interpolation over gaps up to a stated length.

    Attributes:
        seconds: the longest gap that is filled; None: none is.
        frames: number of frames filled in every trial so far.
    """

    def __init__(self, seconds: float | None = None):
        """Raises ``UserError`` unless ``seconds`` is None or above 0."""
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UserError(f"expected --fill-gaps above 0 seconds, got {seconds:g}")
        self.seconds = seconds
        self.frames: list[int] = []

    @property
    def choices(self) -> dict[str, str]:
        """The choice, for the identity of a conversion; {} if there is none."""
        return {} if self.seconds is None else {"fill_gaps": f"{self.seconds:g} s"}

    def fill(self, x: np.ndarray) -> np.ndarray:
        """Behaviour [T values] at 30 Hz without its short gaps."""
        if self.seconds is None:
            return x
        filled = interpolate(x, most=int(self.seconds * protocol.FRAME_RATE_HZ + 1e-6))
        self.frames.append(int((np.isnan(x) & ~np.isnan(filled)).any(1).sum()))
        return filled

    def notes(self) -> list[str]:
        """How much was filled, for people."""
        if not sum(self.frames):
            return []
        return [
            f"{sum(self.frames)} frames of behaviour are interpolated, in gaps of at most "
            f"{self.seconds:g} s"
        ]


def interpolate(x: np.ndarray, *, most: int) -> np.ndarray:
    """Linear interpolation over NaN, in gaps of at most ``most`` frames with numbers on both sides.

    Args:
        x: [T values], where every column has gaps of its own.
        most: length of the longest gap that is filled, in frames.

    Examples:
        >>> interpolate(np.array([[0.0], [np.nan], [2.0], [np.nan]]), most=1)[:, 0]
        array([ 0.,  1.,  2., nan])
    """
    filled = x.copy()
    for column in range(x.shape[1]):
        valid = np.flatnonzero(~np.isnan(x[:, column]))
        for left, right in zip(valid[:-1], valid[1:], strict=True):
            if 1 < right - left <= most + 1:
                share = np.arange(1, right - left) / (right - left)
                first, last = x[left, column], x[right, column]
                filled[left + 1 : right, column] = first + share * (last - first)
    return filled
