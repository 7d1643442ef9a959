"""Directional pink noise: oriented 1/f patterns that drift perpendicular to their orientation.

    amplitude(f) = exp(-angle(f, direction)^2 / (2 bandwidth^2)) / |f|

over spatial frequencies f, times the spectrum of white noise.

Source: [A] trial metadata of the ten mice, anaflom/sensorium. Speed, bandwidth and contrast are not
published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen

TILE_PX = 64  # period of the noise; not less than the screen's height and width


class PinkNoiseCondition(NamedTuple):
    """The condition of one segment; every segment has a new random pattern."""

    direction_deg: float


@dataclass(frozen=True)
class PinkNoise:
    """Clips of directional pink noise.

    Attributes:
        directions_deg: directions of motion, each once in a drawn clip: 12 [A], values chosen.
        bandwidth_deg: std of orientation around the perpendicular of motion [A]; value chosen.
        speed_px_per_frame: chosen, about 60 degrees of visual angle per second.
        std_levels: std of the grey levels; chosen.
        grey_level: mean of the grey levels; chosen.
        segment_frames: length of a segment [A].
        clips: number of clips in a set, each with every direction; 72 segments in all [A].

    Raises:
        UserError: a parameter that cannot be shown; the message says which and why.
    """

    directions_deg: tuple[float, ...] = tuple(range(0, 360, 30))
    bandwidth_deg: float = 15.0
    speed_px_per_frame: float = 0.6
    std_levels: float = 50.0
    grey_level: float = screen.GREY
    segment_frames: int = 27
    clips: int = 6

    def __post_init__(self):
        screen.check_range(self, "directions_deg", low=-360, high=360)
        screen.check_range(self, "bandwidth_deg", low=1, high=360)
        screen.check_positive(self, "speed_px_per_frame", "std_levels")
        screen.check_range(self, "grey_level", low=1, high=255)
        screen.check_counts(self, "segment_frames", "clips")

    @property
    def segments(self) -> int:
        """Number of segments in a clip: one per direction.

        Examples:
            >>> PinkNoise(directions_deg=(0, 90)).segments
            2
        """
        return len(self.directions_deg)

    @property
    def conditions(self) -> tuple[PinkNoiseCondition, ...]:
        """Every direction once for every clip of a set.

        Examples:
            >>> len(PinkNoise().conditions)  # 12 directions x 6 clips
            72
        """
        return tuple(PinkNoiseCondition(d) for _ in range(self.clips) for d in self.directions_deg)

    def draw(self, rng: np.random.Generator) -> tuple[PinkNoiseCondition, ...]:
        """All directions in random order.

        Examples:
            >>> order = PinkNoise(directions_deg=(0, 90, 180)).draw(np.random.default_rng(0))
            >>> sorted(condition.direction_deg for condition in order)
            [0.0, 90.0, 180.0]
        """
        return tuple(PinkNoiseCondition(float(d)) for d in rng.permutation(self.directions_deg))

    def segment(self, condition: PinkNoiseCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of a new drifting pattern [T H W]."""
        fy = np.fft.fftfreq(TILE_PX)[:, None]
        fx = np.fft.rfftfreq(TILE_PX)[None, :]
        unit_y, unit_x = screen.unit_vector(condition.direction_deg)
        radius = np.hypot(fy, fx)
        radius[0, 0] = np.inf  # no mean
        # Stripes perpendicular to the motion have wave vectors parallel or antiparallel to it.
        angle = np.arccos(np.clip(np.abs(fy * unit_y + fx * unit_x) / radius, 0, 1))
        amplitude = np.exp(-0.5 * (angle / np.deg2rad(self.bandwidth_deg)) ** 2) / radius
        wave = amplitude * np.fft.rfft2(rng.normal(size=(TILE_PX, TILE_PX)))
        shift_px = self.speed_px_per_frame * np.arange(self.segment_frames)[:, None, None]
        waves = wave * np.exp(-2j * np.pi * shift_px * (fy * unit_y + fx * unit_x))  # [T ...]
        field = np.fft.irfft2(waves, (TILE_PX, TILE_PX))
        field *= self.std_levels / self.grey_level / field.std()
        return field[:, : protocol.HEIGHT, : protocol.WIDTH]
