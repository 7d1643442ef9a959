"""Behaviour of simulated mice: running in bouts, a pupil that follows, a gaze that jumps."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from sensorium_jax import protocol

# Behaviour; the release has speed means 0.3-5.6, maxima 19-47, pupil sizes 40-61 (std 12-17), and
# pupil centres 119-180 (std 4-8), all in the units of the cameras and the treadmill.
BOUT_SHARE = 0.4  # of trials with running
BOUT_FRAMES = (75, 300)
SPEED_MAX = 45.0
SPEED_HALF = 8.0  # speed at which running's effects are half of their most
PUPIL_SIZE_MEAN, PUPIL_SIZE_STD = 48.0, 13.0
PUPIL_CENTER_MEAN = (119.0, 180.0)
SACCADES_HZ = 0.4


def make_behavior(rng, frames: int, pupil_center_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Behaviour in one trial: (pupil size, running speed) [2 T] and pupil centre x, y [2 T]."""
    speed = _running(rng, frames)
    arousal = lfilter([0.02], [1, -0.98], speed / (speed + SPEED_HALF))
    size = PUPIL_SIZE_MEAN - 3 + rng.normal(0, 10) + _drift(rng, frames, 5.0, 60) + 25 * arousal
    gaze = [
        rng.normal(0, 4) + _saccades(rng, frames) + _drift(rng, frames, 1.0, 60) for _ in range(2)
    ]
    return np.stack([np.maximum(size, 5), speed]), pupil_center_mean[:, None] + np.stack(gaze)


def _running(rng, frames: int) -> np.ndarray:
    """Speed [T]: still, or one bout with soft flanks."""
    if rng.random() > BOUT_SHARE:
        return np.zeros(frames)
    length = rng.integers(*BOUT_FRAMES)
    start = rng.integers(-length // 2, max(frames - length // 2, 1))
    time = np.arange(frames) - start
    flanks = np.clip(np.minimum(time, length - time) / 20, 0, 1)
    speed = rng.gamma(3, 4) * np.exp(_drift(rng, frames, 0.25, 15))
    return np.minimum(speed * flanks, SPEED_MAX)


def _saccades(rng, frames: int) -> np.ndarray:
    """Gaze that rests and jumps [T]."""
    jumps = rng.random(frames) < SACCADES_HZ / protocol.FRAME_RATE_HZ
    places = rng.normal(0, 2.0, frames + 1)
    return places[np.cumsum(jumps)]


def _drift(rng, frames: int, std: float, time_frames: float) -> np.ndarray:
    """Stationary first-order noise [T] with time constant ``time_frames``."""
    keep = np.exp(-1 / time_frames)
    kicks = rng.normal(0, std * np.sqrt(1 - keep**2), frames)
    kicks[0] = rng.normal(0, std)
    return lfilter([1.0], [1, -keep], kicks)
