"""Drifting Gabors: a grating under a Gaussian window in the middle of the screen.

    contrast(t, r) = contrast exp(-|r|^2 / (2 sigma^2)) cos(2 pi (u . r / wavelength - f t))

r is the position relative to the centre, u the unit vector of the direction of motion.

Sources: [A] trial metadata of the ten mice, anaflom/sensorium; [CL] templates fitted to the frames,
bryanlimy/ViV1T-closed-loop, whose units are half heights of the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.stimuli import screen

HALF_HEIGHT_PX = (protocol.HEIGHT - 1) / 2
SEGMENT_FRAMES = 25  # [A]


class GaborCondition(NamedTuple):
    """The condition of one segment."""

    direction_deg: float
    wavelength_px: float
    frequency_hz: float


@dataclass(frozen=True)
class DriftingGabor:
    """Clips of drifting Gabors.

    Attributes:
        directions_deg: directions of motion; eight [A].
        wavelengths_px: spatial wavelengths; three [A]: 3.2, 6.7, 11.4 [CL].
        frequencies_hz: temporal frequencies; three [A]: 0.64, 1.8, 4.4 [CL].
        sigma_px: std of the Gaussian window [CL].
        center_px: (x, y) of the window's centre; the middle of the screen [CL].
        contrast: contrast of the grating; the full range [CL].
        grey_level: grey level of the background; the middle of the range [CL].
        segments: number of segments in a clip [A].
        segment_frames: length of a segment [A].

    Raises:
        UserError: a parameter that cannot be shown; the message says which and why.
    """

    directions_deg: tuple[float, ...] = tuple(range(0, 360, 45))
    wavelengths_px: tuple[float, ...] = tuple(HALF_HEIGHT_PX * x for x in (0.18, 0.38, 0.65))
    frequencies_hz: tuple[float, ...] = tuple(
        protocol.WIDTH * cycles * protocol.FRAME_RATE_HZ / (SEGMENT_FRAMES - 1)
        for cycles in (0.008, 0.022, 0.055)
    )
    sigma_px: float = 0.3 * HALF_HEIGHT_PX
    center_px: tuple[float, float] = ((protocol.WIDTH - 1) / 2, (protocol.HEIGHT - 1) / 2)
    contrast: float = 1.0
    grey_level: float = screen.GREY
    segments: int = 12
    segment_frames: int = SEGMENT_FRAMES

    def __post_init__(self):
        screen.check_range(self, "directions_deg", low=-360, high=360)
        screen.check_positive(self, "wavelengths_px", "frequencies_hz", "sigma_px")
        screen.check_range(self, "center_px", low=0, high=protocol.WIDTH - 1)
        screen.check_range(self, "contrast", low=0, high=1)
        screen.check_range(self, "grey_level", low=1, high=255)
        screen.check_counts(self, "segments", "segment_frames")
        if min(self.wavelengths_px) <= 2:
            raise UserError(
                f"expected wavelengths of more than 2 pixels, got {min(self.wavelengths_px):g}: "
                "finer gratings cannot be drawn"
            )
        if max(self.frequencies_hz) >= screen.NYQUIST_HZ:
            raise UserError(
                f"expected frequencies below {screen.NYQUIST_HZ:g} Hz, got "
                f"{max(self.frequencies_hz):g}: faster ones seem to drift backwards"
            )
        if len(self.center_px) != 2:
            raise UserError(f"expected center_px as (x, y), got {self.center_px}; change it")
        screen.check_segments(self)

    @property
    def conditions(self) -> tuple[GaborCondition, ...]:
        """Every direction at every wavelength and frequency.

        Examples:
            >>> len(DriftingGabor().conditions)  # 8 directions x 3 wavelengths x 3 frequencies
            72
        """
        axes = product(self.directions_deg, self.wavelengths_px, self.frequencies_hz)
        return tuple(GaborCondition(*condition) for condition in axes)

    def draw(self, rng: np.random.Generator) -> tuple[GaborCondition, ...]:
        """Different conditions for one clip.

        Examples:
            >>> len(set(DriftingGabor().draw(np.random.default_rng(0))))
            12
        """
        return screen.draw_conditions(self, rng)

    def segment(self, condition: GaborCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of one drifting Gabor [T H W]; does not use ``rng``.

        Examples:
            >>> family = DriftingGabor(contrast=0.5, segments=1)
            >>> contrast = family.segment(family.conditions[0], np.random.default_rng(0))
            >>> contrast.shape, bool(abs(contrast).max() <= 0.5)
            ((25, 36, 64), True)
        """
        y, x = screen.grid_px()
        y, x = y - self.center_px[1], x - self.center_px[0]
        unit_y, unit_x = screen.unit_vector(condition.direction_deg)
        space = (y * unit_y + x * unit_x) / condition.wavelength_px  # cycles
        frame = np.arange(self.segment_frames)[:, None, None]
        time = frame * condition.frequency_hz / protocol.FRAME_RATE_HZ  # cycles
        window = np.exp(-(y**2 + x**2) / (2 * self.sigma_px**2))
        return self.contrast * window * np.cos(2 * np.pi * (space - time))
