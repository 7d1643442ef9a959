"""The screen that stimuli are drawn on, and what every family of stimuli has in common.

A family is a frozen dataclass of named parameters. ``draw(rng)`` chooses the conditions of a clip,
``segment(condition, rng)`` draws one of them, and ``conditions`` lists what a set of clips shows.
Directions are degrees: 0 is rightwards, 90 upwards. Contrast is the difference from the background
as a share of it: -1 is black, and 1 white on the middle grey.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError

GREY = 127.5  # the middle of the range, which a grating of full contrast needs; else chosen
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

    grey_level: float  # of the background

    @property
    def segments(self) -> int:
        """Conditions that a clip shows."""

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
    """A clip of ``conditions``; by default the family draws them."""
    shown = family.draw(rng) if conditions is None else conditions
    parts = [family.segment(condition, rng) for condition in shown]
    first = np.cumsum([0, *map(len, parts)])
    segments = (
        Segment(int(start), len(part), condition)
        for start, part, condition in zip(first, parts, shown, strict=False)
    )
    return Stimulus(grey_levels(np.concatenate(parts), family.grey_level), tuple(segments))


def make_set(family: Family, rng: np.random.Generator) -> list[Stimulus]:
    """The fewest clips that between them show every condition once, in random order.

    As published: 8 clips of random dots, 6 of each other family. Where the conditions do not fill
    them, some clips show a segment less.
    """
    conditions = family.conditions
    order = [conditions[i] for i in rng.permutation(len(conditions))]
    clips = math.ceil(len(order) / family.segments)
    return [make_clip(family, rng, conditions=tuple(order[i::clips])) for i in range(clips)]


def grey_levels(contrast: np.ndarray, grey_level: float = GREY) -> np.ndarray:
    """Contrast on a background to uint8 grey levels, same shape; what exceeds them is cut off."""
    return np.clip(np.rint(grey_level + grey_level * contrast), 0, 255).astype(np.uint8)


def draw_some(family: Family, rng: np.random.Generator) -> tuple[Any, ...]:
    """Different conditions for one clip."""
    conditions = family.conditions
    shown = rng.choice(len(conditions), family.segments, replace=False)
    return tuple(conditions[i] for i in shown)


def grid_px() -> tuple[np.ndarray, np.ndarray]:
    """Rows [H 1] and columns [1 W] of the pixels."""
    return np.arange(protocol.HEIGHT)[:, None], np.arange(protocol.WIDTH)[None, :]


def unit_vector(direction_deg: float | np.ndarray) -> tuple[Any, Any]:
    """Components along y (down) and x (right)."""
    angle = np.deg2rad(direction_deg)
    return -np.sin(angle), np.cos(angle)


def degrees_per_px() -> float:
    """Visual angle of a pixel in the middle of the screen, where it is largest: about 3.4.

    There a pixel a frame is a speed of about 100 degrees a second.
    """
    return float(np.rad2deg(np.arctan(MONITOR_CM[0] / protocol.WIDTH / MONITOR_DISTANCE_CM)))


def check_positive(family: Family, *names: str) -> None:
    """Raise a ``UserError`` unless these parameters, or all entries of them, are above 0."""
    for name in names:
        if min(_numbers(family, name)) <= 0:
            raise _refusal(family, f"{name} above 0", getattr(family, name))


def check_counts(family: Family, *names: str) -> None:
    """Raise a ``UserError`` unless these parameters, or all entries of them, are 1, 2, 3, ..."""
    for name in names:
        if not all(isinstance(n, Integral) and n > 0 for n in _numbers(family, name)):
            raise _refusal(family, f"whole {name} above 0", getattr(family, name))


def check_range(family: Family, *names: str, low: float, high: float) -> None:
    """Raise a ``UserError`` unless these parameters, or all entries, are from low to high."""
    for name in names:
        values = _numbers(family, name)
        if min(values) < low or max(values) > high:
            raise _refusal(family, f"{name} from {low:g} to {high:g}", getattr(family, name))


def check_segments(family: Family) -> None:
    """Raise a ``UserError`` if a clip has more segments than there are conditions."""
    available = len(family.conditions)
    if family.segments > available:
        raise UserError(
            f"expected at most {available} segments for {type(family).__name__}, the conditions "
            f"there are, got {family.segments}; lower segments or add conditions"
        )


def _numbers(family: Family, name: str) -> tuple[float, ...]:
    """Entries of a parameter, which have to be finite; in a tuple where its default is one."""
    value = getattr(family, name)
    many = isinstance(getattr(type(family), name), tuple)
    values = value if many else (value,)
    if not (isinstance(values, tuple) and values and all(map(_is_number, values))):
        wanted = "a tuple of numbers, such as (1.0,)," if many else "a number"
        raise _refusal(family, f"{wanted} as {name}", value)
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _refusal(family: Family, wanted: str, value: Any) -> UserError:
    return UserError(f"expected {wanted} for {type(family).__name__}, got {value!r}; change it")
