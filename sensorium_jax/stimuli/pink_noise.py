"""Directional pink noise: oriented 1/f patterns that drift across their orientation.

Source: [A] trial metadata of the ten mice, anaflom/sensorium. Speed, bandwidth and contrast are not
published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen

TILE_PX = 64  # the noise repeats at this distance, which the screen does not exceed


class PinkNoiseCondition(NamedTuple):
    """What one segment shows, with a pattern of its own."""

    direction_deg: float


@dataclass(frozen=True)
class PinkNoise:
    """Clips of directional pink noise.

    Attributes:
        directions_deg: of motion, each once in a drawn clip: 12 segments [A], values chosen.
        bandwidth_deg: std of orientation about the perpendicular of motion [A]; value chosen.
        speed_px_per_frame: chosen, some 60 degrees of visual angle a second.
        std_levels: of the grey levels; chosen.
        grey_level: their mean; chosen.
        segment_frames: of a segment [A].
        clips: of a set, which shows every direction that often; 72 segments in all [A].
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
        """In a clip: one a direction."""
        return len(self.directions_deg)

    @property
    def conditions(self) -> tuple[PinkNoiseCondition, ...]:
        """Every direction once for every clip of a set."""
        return tuple(PinkNoiseCondition(d) for _ in range(self.clips) for d in self.directions_deg)

    def draw(self, rng: np.random.Generator) -> tuple[PinkNoiseCondition, ...]:
        """All directions, shuffled."""
        return tuple(PinkNoiseCondition(float(d)) for d in rng.permutation(self.directions_deg))

    def segment(self, condition: PinkNoiseCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of a new pattern that drifts [T H W]."""
        fy = np.fft.fftfreq(TILE_PX)[:, None]
        fx = np.fft.rfftfreq(TILE_PX)[None, :]
        along_y, along_x = screen.unit_vector(condition.direction_deg)
        radius = np.hypot(fy, fx)
        radius[0, 0] = np.inf  # no mean
        # Stripes across the motion have their wave vectors along it, to either side.
        off_axis = np.arccos(np.clip(np.abs(fy * along_y + fx * along_x) / radius, 0, 1))
        amplitude = np.exp(-0.5 * (off_axis / np.deg2rad(self.bandwidth_deg)) ** 2) / radius
        wave = amplitude * np.fft.rfft2(rng.normal(size=(TILE_PX, TILE_PX)))
        moved_px = self.speed_px_per_frame * np.arange(self.segment_frames)[:, None, None]
        moving = wave * np.exp(-2j * np.pi * moved_px * (fy * along_y + fx * along_x))
        field = np.fft.irfft2(moving, (TILE_PX, TILE_PX))
        field *= self.std_levels / self.grey_level / field.std()
        return field[:, : protocol.HEIGHT, : protocol.WIDTH]
