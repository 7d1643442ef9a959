"""Gaussian dots: one static black or white spot per segment, at a position of a grid.

    contrast(r) = contrast exp(-|r - position|^2 / (2 sigma^2))

Sources: [A] trial metadata of the ten mice, anaflom/sensorium; [CL] measured on the frames,
bryanlimy/ViV1T-closed-loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen


class GaussianDotsCondition(NamedTuple):
    """The condition of one segment."""

    x_px: float
    y_px: float
    contrast: float  # -1 black, 1 white


@dataclass(frozen=True)
class GaussianDots:
    """Clips of Gaussian dots.

    Attributes:
        x_px: columns of the grid [CL].
        y_px: rows of the grid [CL].
        contrasts: contrasts of the spots: black and white [A].
        sigma_px: std of the spots; half maximum at 4.5 to 5 pixels from the centre [CL].
        grey_level: grey level of the background; chosen.
        segments: number of segments in a clip [A].
        segment_frames: length of a segment [A].

    Raises:
        UserError: a parameter that cannot be shown; the message says which and why.
    """

    x_px: tuple[float, ...] = tuple(np.linspace(9, 54, 15).tolist())
    y_px: tuple[float, ...] = tuple(np.linspace(8, 27, 7).tolist())
    contrasts: tuple[float, ...] = (-1.0, 1.0)
    sigma_px: float = float(4.75 / np.sqrt(2 * np.log(2)))
    grey_level: float = screen.GREY
    segments: int = 35
    segment_frames: int = 9

    def __post_init__(self):
        screen.check_range(self, "x_px", low=0, high=protocol.WIDTH - 1)
        screen.check_range(self, "y_px", low=0, high=protocol.HEIGHT - 1)
        screen.check_range(self, "contrasts", low=-1, high=1)
        screen.check_positive(self, "sigma_px")
        screen.check_range(self, "grey_level", low=1, high=255)
        screen.check_counts(self, "segments", "segment_frames")
        screen.check_segments(self)

    @property
    def conditions(self) -> tuple[GaussianDotsCondition, ...]:
        """Every position in every contrast.

        Examples:
            >>> len(GaussianDots().conditions)  # 15 columns x 7 rows x 2 contrasts
            210
        """
        axes = product(self.x_px, self.y_px, self.contrasts)
        return tuple(GaussianDotsCondition(*condition) for condition in axes)

    def draw(self, rng: np.random.Generator) -> tuple[GaussianDotsCondition, ...]:
        """Different conditions for one clip."""
        return screen.draw_conditions(self, rng)

    def segment(self, condition: GaussianDotsCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of one static spot [T H W]; does not use ``rng``.

        Examples:
            >>> spot = GaussianDotsCondition(x_px=30, y_px=20, contrast=-1.0)
            >>> contrast = GaussianDots().segment(spot, np.random.default_rng(0))
            >>> contrast.shape, float(contrast[0, 20, 30])
            ((9, 36, 64), -1.0)
        """
        y, x = screen.grid_px()
        squared = (y - condition.y_px) ** 2 + (x - condition.x_px) ** 2
        frame = condition.contrast * np.exp(-squared / (2 * self.sigma_px**2))
        return np.broadcast_to(frame, (self.segment_frames, protocol.HEIGHT, protocol.WIDTH))
