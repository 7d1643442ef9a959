"""Behaviour of simulated mice: running in bouts, pupil size that follows running, saccades."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from sensorium_jax import protocol

# In the release, mean speed is 0.3-5.6, maximal speed 19-47, pupil size 40-61 (std 12-17), pupil
# centre 119-180 (std 4-8), all in the units of the cameras and the treadmill.
BOUT_SHARE = 0.4  # share of trials with running
BOUT_FRAMES = (75, 300)
SPEED_MAX = 45.0
SPEED_HALF = 8.0  # speed at which running has half of its maximal effect
PUPIL_SIZE_MEAN, PUPIL_SIZE_STD = 48.0, 13.0
PUPIL_CENTER_MEAN = (119.0, 180.0)
SACCADES_HZ = 0.4

_PILOT_TRIALS = 1000  # from which the moments of behaviour are computed, for a share of bouts


@dataclass(frozen=True)
class Temperament:
    """Moments of one mouse's behaviour over trials and time, in the release's units."""

    pupil_size: tuple[float, float]  # mean, std
    speed: tuple[float, float]  # mean, std
    pupil_center_std: tuple[float, float]  # x, y; the means are in the population


def make_behavior(
    rng, frames: int, pupil_center_mean: np.ndarray, *, like: Temperament | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Behaviour in one trial: (pupil size, running speed) [2 T] and pupil centre x, y [2 T].

    Args:
        rng: NumPy random generator.
        frames: T, at 30 Hz.
        pupil_center_mean: [2], x and y.
        like: moments of a real mouse; None: the simulator's.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> behavior, pupil_center = make_behavior(rng, 300, np.array([119.0, 180.0]))
        >>> behavior.shape, pupil_center.shape, bool((behavior >= 0).all())
        ((2, 300), (2, 300), True)
    """
    share = BOUT_SHARE if like is None else _bout_share(like.speed)
    size, speed, gaze = _behavior(rng, frames, share)
    if like is not None:
        size_moments, speed_moments, gaze_std = _moments(share)
        size = like.pupil_size[0] + like.pupil_size[1] * (size - size_moments[0]) / size_moments[1]
        speed = np.minimum(like.speed[0] / speed_moments[0] * speed, SPEED_MAX)
        gaze = np.array(like.pupil_center_std)[:, None] / gaze_std * gaze
    return np.stack([np.maximum(size, 5), speed]), pupil_center_mean[:, None] + gaze


def _behavior(rng, frames: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pupil size [T], speed [T], and gaze minus its mean [2 T], with bouts in a share of trials."""
    speed = _running(rng, frames, share)
    arousal = lfilter([0.02], [1, -0.98], speed / (speed + SPEED_HALF))
    size = PUPIL_SIZE_MEAN - 3 + rng.normal(0, 10) + _drift(rng, frames, 5.0, 60) + 25 * arousal
    gaze = [
        rng.normal(0, 4) + _saccades(rng, frames) + _drift(rng, frames, 1.0, 60) for _ in range(2)
    ]
    return size, speed, np.stack(gaze)


def _bout_share(speed: tuple[float, float]) -> float:
    """Share of trials with running for the mean and std of speed.

        share = (1 + (std_1 / mean_1)^2) / (1 + (std / mean)^2),    at most 1

    of the moments over all trials and those over trials with running (1).
    """
    (mean, std), (mean_running, std_running) = speed, _moments(1.0)[1]
    return min((1 + (std_running / mean_running) ** 2) / (1 + (std / mean) ** 2), 1.0)


@functools.cache
def _moments(share: float) -> tuple[tuple[float, float], tuple[float, float], float]:
    """(mean, std) of pupil size, (mean, std) of speed, and std of gaze, over many trials."""
    rng = np.random.default_rng(0)
    trials = [_behavior(rng, protocol.CLIP_FRAMES, share) for _ in range(_PILOT_TRIALS)]
    size, speed, gaze = (np.stack(x) for x in zip(*trials, strict=True))
    return (size.mean(), size.std()), (speed.mean(), speed.std()), gaze.std()


def _running(rng, frames: int, share: float) -> np.ndarray:
    """Speed [T]: zero, or one bout that starts and ends gradually."""
    if rng.random() > share:
        return np.zeros(frames)
    length = rng.integers(*BOUT_FRAMES)
    start = rng.integers(-length // 2, max(frames - length // 2, 1))
    time = np.arange(frames) - start
    flanks = np.clip(np.minimum(time, length - time) / 20, 0, 1)
    speed = rng.gamma(3, 4) * np.exp(_drift(rng, frames, 0.25, 15))
    return np.minimum(speed * flanks, SPEED_MAX)


def _saccades(rng, frames: int) -> np.ndarray:
    """Gaze [T] that is constant between saccades."""
    saccades = rng.random(frames) < SACCADES_HZ / protocol.FRAME_RATE_HZ
    fixations = rng.normal(0, 2.0, frames + 1)
    return fixations[np.cumsum(saccades)]


def _drift(rng, frames: int, std: float, time_frames: float) -> np.ndarray:
    """Stationary first-order autoregressive noise [T] with time constant ``time_frames``."""
    decay = np.exp(-1 / time_frames)
    innovations = rng.normal(0, std * np.sqrt(1 - decay**2), frames)
    innovations[0] = rng.normal(0, std)
    return lfilter([1.0], [1, -decay], innovations)  # pyright: ignore[reportReturnType]
