"""The screen that stimuli are drawn on, and what every family of stimuli has in common.

A family is a frozen dataclass of named parameters. ``draw(rng)`` chooses the conditions of a clip,
``segment(condition, rng)`` draws one of them, and ``conditions`` lists what a set of clips shows.
Directions are degrees: 0 is rightwards, 90 upwards. Contrast is -1 (black) to 1 (white).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError

GREY = 127.5  # of blanks and backgrounds: the middle of the range (see ``gabor.py``)
MONITOR_CM = 56.5, 31.8  # width and height (bryanlimy/ViV1T-closed-loop)
MONITOR_DISTANCE_CM = 15.0  # the same
NYQUIST_HZ = protocol.FRAME_RATE_HZ / 2


class Segment(NamedTuple):
    """A stretch of a clip that shows one condition."""

    first_frame: int
    frames: int
    condition: Any  # a NamedTuple of the family, with units in its names


class Stimulus(NamedTuple):
    """A clip, and what it shows when."""

    video: np.ndarray  # uint8 [T H W], grey levels at 30 Hz
    segments: tuple[Segment, ...]


class Family(Protocol):
    """A kind of stimulus."""

    clips: int  # of a set

    @property
    def conditions(self) -> tuple[Any, ...]:
        """What the clips of a set show between them, each once."""

    def draw(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Conditions of one clip, in order."""

    def segment(self, condition: Any, rng: np.random.Generator) -> np.ndarray:
        """Contrast of one condition [T H W]."""


def make_clip(
    family: Family, rng: np.random.Generator, *, conditions: tuple[Any, ...] | None = None
) -> Stimulus:
    """A clip of some conditions, by default of as many as the family's clips have, drawn."""
    shown = family.draw(rng) if conditions is None else conditions
    parts = [family.segment(condition, rng) for condition in shown]
    first = np.cumsum([0, *map(len, parts)])
    segments = (
        Segment(int(start), len(part), condition)
        for start, part, condition in zip(first, parts, shown, strict=False)
    )
    return Stimulus(grey_levels(np.concatenate(parts)), tuple(segments))


def make_set(family: Family, rng: np.random.Generator) -> list[Stimulus]:
    """The clips that between them show every condition of a family once, in random order."""
    conditions = family.conditions
    order = [conditions[i] for i in rng.permutation(len(conditions))]
    return [
        make_clip(family, rng, conditions=tuple(order[i :: family.clips]))
        for i in range(family.clips)
    ]


def grey_levels(contrast: np.ndarray) -> np.ndarray:
    """Contrast -1..1 to uint8 grey levels, same shape."""
    return np.clip(np.rint(GREY + GREY * contrast), 0, 255).astype(np.uint8)


def grid_px() -> tuple[np.ndarray, np.ndarray]:
    """Rows [H 1] and columns [1 W] of the pixels."""
    return np.arange(protocol.HEIGHT)[:, None], np.arange(protocol.WIDTH)[None, :]


def unit_vector(direction_deg: float | np.ndarray) -> tuple[Any, Any]:
    """Components along y (down) and x (right)."""
    angle = np.deg2rad(direction_deg)
    return -np.sin(angle), np.cos(angle)


def degrees_per_px() -> float:
    """Visual angle of a pixel in the middle of the screen, where it is largest: about 3.4."""
    return float(np.rad2deg(np.arctan(MONITOR_CM[0] / protocol.WIDTH / MONITOR_DISTANCE_CM)))


def check_positive(family: Any, *names: str) -> None:
    """Raise a ``UserError`` unless these parameters, or all entries of them, are above 0."""
    for name in names:
        value = getattr(family, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or min(values) <= 0:
            raise UserError(
                f"expected {name} above 0 for {type(family).__name__}, got {value}; change it"
            )


def check_clip(family: Any, segments: int) -> None:
    """Raise a ``UserError`` if a clip has more segments than there are conditions."""
    available = len(family.conditions)
    if segments > available:
        raise UserError(
            f"expected at most {available} segments for {type(family).__name__}, the conditions "
            f"there are, got {segments}; lower segments or add conditions"
        )
