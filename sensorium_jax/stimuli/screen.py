"""The screen, and the interface of all families of stimuli.

    contrast = (grey level - background) / background

-1 is black, and 1 is white on the middle grey. Directions are in degrees: 0 is rightwards, 90
upwards.

A family is a frozen dataclass of parameters. ``draw(rng)`` samples the conditions of a clip,
``segment(condition, rng)`` renders one of them, and ``conditions`` lists those of a set of clips.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError

GREY = 127.5  # the middle of the range, as gratings of full contrast need; chosen for the others
MONITOR_CM = 56.5, 31.8  # width and height (bryanlimy/ViV1T-closed-loop)
MONITOR_DISTANCE_CM = 15.0  # the same source
NYQUIST_HZ = protocol.FRAME_RATE_HZ / 2


class Segment(NamedTuple):
    """Consecutive frames of a clip with one condition."""

    first_frame: int
    frames: int
    condition: Any  # a NamedTuple of the family, with units in the names of its fields


class Stimulus(NamedTuple):
    """A clip and its segments."""

    video: np.ndarray  # uint8 [T H W], grey levels at 30 Hz
    segments: tuple[Segment, ...]


class Family(Protocol):
    """Interface of a family of stimuli."""

    @property
    def grey_level(self) -> float:
        """Grey level of the background."""
        ...

    @property
    def segments(self) -> int:
        """Number of segments in a clip."""
        ...

    @property
    def conditions(self) -> tuple[Any, ...]:
        """The conditions of a set of clips; each is shown once in the set."""
        ...

    def draw(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Random conditions of one clip, in order."""
        ...

    def segment(self, condition: Any, rng: np.random.Generator) -> np.ndarray:
        """Contrast of one condition [T H W]."""
        ...


def make_clip(
    family: Family, rng: np.random.Generator, *, conditions: tuple[Any, ...] | None = None
) -> Stimulus:
    """A clip of the given conditions, or of ``family.draw(rng)``.

    Examples:
        >>> from sensorium_jax.stimuli import RandomDots
        >>> video, segments = make_clip(RandomDots(segments=2), np.random.default_rng(0))
        >>> video.shape, [segment.first_frame for segment in segments]
        ((120, 36, 64), [0, 60])
    """
    conditions = family.draw(rng) if conditions is None else conditions
    parts = [family.segment(condition, rng) for condition in conditions]
    first_frames = np.cumsum([0, *map(len, parts)])
    segments = (
        Segment(int(first_frame), len(part), condition)
        for first_frame, part, condition in zip(first_frames, parts, conditions, strict=False)
    )
    return Stimulus(grey_levels(np.concatenate(parts), family.grey_level), tuple(segments))


def make_set(family: Family, rng: np.random.Generator) -> list[Stimulus]:
    """The smallest set of clips that shows every condition once, in random order.

    As published: 8 clips of random dots, 6 of each other family. If the number of conditions is not
    a multiple of the number of clips, some clips have one segment less.

    Examples:
        >>> from sensorium_jax.stimuli import GaussianDots
        >>> family = GaussianDots(x_px=(20.0, 40.0), segments=10)  # 2 x 7 x 2 = 28 conditions
        >>> [len(clip.segments) for clip in make_set(family, np.random.default_rng(0))]
        [10, 9, 9]
    """
    conditions = family.conditions
    order = [conditions[i] for i in rng.permutation(len(conditions))]
    clips = math.ceil(len(order) / family.segments)
    return [make_clip(family, rng, conditions=tuple(order[i::clips])) for i in range(clips)]


def grey_levels(contrast: np.ndarray, grey_level: float = GREY) -> np.ndarray:
    """round(grey_level (1 + contrast)), clipped to 0..255: uint8 of the same shape.

    Examples:
        >>> grey_levels(np.array([-1.0, 0.0, 1.0, 2.0])).tolist()
        [0, 128, 255, 255]
    """
    return np.clip(np.rint(grey_level + grey_level * contrast), 0, 255).astype(np.uint8)


def draw_conditions(family: Family, rng: np.random.Generator) -> tuple[Any, ...]:
    """Random conditions for one clip, drawn without replacement.

    Examples:
        >>> from sensorium_jax.stimuli import RandomDots
        >>> len(set(draw_conditions(RandomDots(segments=32), np.random.default_rng(0))))
        32
    """
    conditions = family.conditions
    indices = rng.choice(len(conditions), family.segments, replace=False)
    return tuple(conditions[i] for i in indices)


def grid_px() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y [H 1] and x [1 W] of the pixels.

    Examples:
        >>> y, x = grid_px()
        >>> y.shape, x.shape, (y + x).shape
        ((36, 1), (1, 64), (36, 64))
    """
    return np.arange(protocol.HEIGHT)[:, None], np.arange(protocol.WIDTH)[None, :]


def unit_vector(direction_deg: float | np.ndarray) -> tuple[Any, Any]:
    """(-sin, cos) of a direction: components along y, which points down, and x.

    Examples:
        >>> y, x = unit_vector(90.0)  # upwards
        >>> round(float(y)), round(float(x))
        (-1, 0)
    """
    angle = np.deg2rad(direction_deg)
    return -np.sin(angle), np.cos(angle)


def degrees_per_px() -> float:
    """arctan(pixel width / distance), the visual angle of a pixel in the middle of the screen.

    It is largest there. A speed of one pixel per frame is about 100 degrees per second.

    Examples:
        >>> round(degrees_per_px(), 1)
        3.4
    """
    return float(np.rad2deg(np.arctan(MONITOR_CM[0] / protocol.WIDTH / MONITOR_DISTANCE_CM)))


def check_positive(family: Family, *names: str) -> None:
    """Check that parameters, or all entries of tuples, are above 0.

    Raises:
        UserError: one is not; the message names it.

    Examples:
        >>> from sensorium_jax.stimuli import DriftingGabor
        >>> DriftingGabor(sigma_px=0)
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: expected sigma_px above 0 for DriftingGabor, got 0; ...
    """
    for name in names:
        if min(_numbers(family, name)) <= 0:
            raise _error(family, f"{name} above 0", getattr(family, name))


def check_counts(family: Family, *names: str) -> None:
    """Check that parameters, or all entries of tuples, are 1, 2, 3, ...

    Raises:
        UserError: one is not; the message names it.
    """
    for name in names:
        if not all(isinstance(n, Integral) and n > 0 for n in _numbers(family, name)):
            raise _error(family, f"whole {name} above 0", getattr(family, name))


def check_range(family: Family, *names: str, low: float, high: float) -> None:
    """Check that parameters, or all entries of tuples, are from ``low`` to ``high``.

    Raises:
        UserError: one is not; the message names it.
    """
    for name in names:
        values = _numbers(family, name)
        if min(values) < low or max(values) > high:
            raise _error(family, f"{name} from {low:g} to {high:g}", getattr(family, name))


def check_segments(family: Family) -> None:
    """Check that a clip has no more segments than the family has conditions.

    Raises:
        UserError: it has more.

    Examples:
        >>> from sensorium_jax.stimuli import RandomDots
        >>> RandomDots(segments=33)
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: expected at most 32 segments for RandomDots, ...
    """
    available = len(family.conditions)
    if family.segments > available:
        raise UserError(
            f"expected at most {available} segments for {type(family).__name__}, the conditions "
            f"there are, got {family.segments}; lower segments or add conditions"
        )


def _numbers(family: Family, name: str) -> tuple[float, ...]:
    """Entries of a parameter: finite numbers, in a tuple if the parameter's default is a tuple."""
    value = getattr(family, name)
    is_tuple = isinstance(getattr(type(family), name), tuple)
    values = value if is_tuple else (value,)
    if not (isinstance(values, tuple) and values and all(map(_is_number, values))):
        kind = "a tuple of numbers, such as (1.0,)," if is_tuple else "a number"
        raise _error(family, f"{kind} as {name}", value)
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _error(family: Family, requirement: str, value: Any) -> UserError:
    kind = type(family).__name__
    return UserError(f"expected {requirement} for {kind}, got {value!r}; change it")
