"""Random dot kinematograms: a share of the dots moves coherently, each other dot randomly.

Source: [A] trial metadata of the ten mice, anaflom/sensorium. Coherences, speeds and the dots'
number, size and lifetime are not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen


class RandomDotsCondition(NamedTuple):
    """The condition of one segment."""

    direction_deg: float
    coherence: float  # share of the dots that move in the direction
    speed_px_per_frame: float


@dataclass(frozen=True)
class RandomDots:
    """Clips of random dot kinematograms, half of the dots black, half white.

    Attributes:
        directions_deg: directions of motion; eight [A].
        coherences: shares of coherent dots; two [A]; values chosen.
        speeds_px_per_frame: two [A]; values chosen, about 50 and 120 degrees per second.
        dots: number of dots on the screen; chosen.
        radius_px: radius of a dot; chosen.
        lifetime_frames: time after which a dot jumps to a random position; chosen.
        contrast: contrast of the dots; chosen.
        grey_level: grey level of the background; chosen.
        segments: number of segments in a clip [A].
        segment_frames: length of a segment [A].

    Raises:
        UserError: a parameter that cannot be shown; the message says which and why.
    """

    directions_deg: tuple[float, ...] = tuple(range(0, 360, 45))
    coherences: tuple[float, ...] = (0.5, 1.0)
    speeds_px_per_frame: tuple[float, ...] = (0.5, 1.2)
    dots: int = 40
    radius_px: float = 1.8
    lifetime_frames: int = 20
    contrast: float = 1.0
    grey_level: float = screen.GREY
    segments: int = 4
    segment_frames: int = 60

    def __post_init__(self):
        screen.check_range(self, "directions_deg", low=-360, high=360)
        screen.check_range(self, "coherences", "contrast", low=0, high=1)
        screen.check_positive(self, "speeds_px_per_frame", "radius_px")
        screen.check_range(self, "grey_level", low=1, high=255)
        screen.check_counts(self, "dots", "lifetime_frames", "segments", "segment_frames")
        screen.check_segments(self)

    @property
    def conditions(self) -> tuple[RandomDotsCondition, ...]:
        """Every direction at every coherence and speed.

        Examples:
            >>> len(RandomDots().conditions)  # 8 directions x 2 coherences x 2 speeds
            32
        """
        axes = product(self.directions_deg, self.coherences, self.speeds_px_per_frame)
        return tuple(RandomDotsCondition(*condition) for condition in axes)

    def draw(self, rng: np.random.Generator) -> tuple[RandomDotsCondition, ...]:
        """Different conditions for one clip."""
        return screen.draw_conditions(self, rng)

    def segment(self, condition: RandomDotsCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of one kinematogram [T H W].

        Examples:
            >>> family = RandomDots(contrast=0.5)
            >>> contrast = family.segment(family.conditions[0], np.random.default_rng(0))
            >>> contrast.shape, np.unique(contrast).tolist()  # black, grey and white
            ((60, 36, 64), [-0.5, 0.0, 0.5])
        """
        angles = np.where(
            rng.random(self.dots) < condition.coherence,
            condition.direction_deg,
            rng.uniform(0, 360, self.dots),
        )
        velocity = condition.speed_px_per_frame * np.stack(
            screen.unit_vector(angles), axis=-1
        )  # [dots 2]
        # Each life of a dot starts at a random position; ages in the first frame are random.
        frame = np.arange(self.segment_frames)[:, None]
        age = rng.integers(0, self.lifetime_frames, self.dots) + frame
        life, age = divmod(age, self.lifetime_frames)  # [T dots]
        size = np.array([protocol.HEIGHT, protocol.WIDTH])
        births = rng.uniform(0, size, (life.max() + 1, self.dots, 2))
        position = births[life, np.arange(self.dots)] + age[..., None] * velocity
        return self.contrast * self._discs(position % size)

    def _discs(self, position: np.ndarray) -> np.ndarray:
        """Black and white discs at ``position`` [T dots 2] y, x -> contrast [T H W]."""
        y, x = screen.grid_px()
        video = np.zeros((len(position), protocol.HEIGHT, protocol.WIDTH), np.float32)
        for dot in range(self.dots):
            dy = y[None] - position[:, dot, 0, None, None]  # [T H 1]
            dx = x[None] - position[:, dot, 1, None, None]  # [T 1 W]
            video[dy**2 + dx**2 < self.radius_px**2] = 1.0 if dot % 2 else -1.0
        return video
