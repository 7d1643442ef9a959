"""What a stimulus shows, measured from its frames: the inverse of the families.

Each function takes the frames of one segment, grey levels [T H W], and says how it measures. How
near the estimates come is held by the tests, over all conditions of the default families.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen
from sensorium_jax.stimuli.gabor import GaborCondition

ZOOMS = 12  # halvings of a spectrum's grid
LAG_FRAMES = 8  # less than half a dot's life, and some pixels of motion
WHITEN_FLOOR = 0.02  # of the largest amplitude: weaker ones are noise


class Motion(NamedTuple):
    """Rigid motion of a pattern."""

    direction_deg: float  # 0 rightwards, 90 upwards
    speed_px_per_frame: float


class Dot(NamedTuple):
    """A spot on a grey screen."""

    x_px: float
    y_px: float
    contrast: float  # at its middle: -1 black, 1 white


def gabor(video: np.ndarray) -> GaborCondition:
    """Direction, wavelength and temporal frequency of a drifting grating.

    The peak of the space-time spectrum: the highest amplitude on the grid of the Fourier transform,
    then on ever finer grids about it.
    """
    x = video - np.median(video)  # the background
    spectrum = np.abs(np.fft.fftn(x))
    spectrum[:, 0, 0] = 0  # flicker without a pattern
    peak = np.unravel_index(spectrum.argmax(), x.shape)
    frequency = np.array([np.fft.fftfreq(n)[i] for n, i in zip(x.shape, peak, strict=True)])
    step = 0.5 / np.array(x.shape)
    for _ in range(ZOOMS):
        near = frequency + step * np.linspace(-1, 1, 5)[:, None]  # [5 axes]
        amplitude = x
        for size, tried in zip(x.shape, near.T, strict=True):
            wave = np.exp(-2j * np.pi * np.arange(size)[:, None] * tried)  # [size 5]
            amplitude = np.tensordot(amplitude, wave, axes=(0, 0))  # this axis is the last now
        best = np.unravel_index(np.abs(amplitude).argmax(), amplitude.shape)
        frequency = near[best, np.arange(3)]
        step = step / 2
    time, down, right = frequency if frequency[0] < 0 else -frequency  # moves along its wave vector
    return GaborCondition(
        direction_deg=_direction_deg(down, right),
        wavelength_px=float(1 / np.hypot(down, right)),
        frequency_hz=float(-time * protocol.FRAME_RATE_HZ),
    )


def motion(video: np.ndarray, *, lag_frames: int = LAG_FRAMES) -> Motion:
    """Direction and speed in which most of a pattern moves.

    Phase correlation of frames ``lag_frames`` apart, averaged over the segment, and the centre of
    its peak. Other patterns that move each their own way spread over the plane, and do not count.
    """
    x = video - np.mean(video, axis=(1, 2), keepdims=True)
    window = np.hanning(x.shape[1] + 2)[1:-1, None] * np.hanning(x.shape[2] + 2)[1:-1]
    spectra = np.fft.fft2(x * window, (2 * x.shape[1], 2 * x.shape[2]))
    cross = (spectra[lag_frames:] * spectra[:-lag_frames].conj()).mean(0)
    strength = np.abs(cross)
    white = cross / np.maximum(strength, WHITEN_FLOOR * strength.max())
    likeness = np.fft.fftshift(np.fft.ifft2(white).real)
    down, right = _peak(likeness) - np.array(likeness.shape) // 2
    return Motion(_direction_deg(down, right), float(np.hypot(down, right) / lag_frames))


def dot(frame: np.ndarray) -> Dot:
    """Place and contrast of one spot in a frame [H W]: the centre of mass of its upper half."""
    grey = np.median(frame)  # the background
    contrast = (frame - grey) / grey
    weight = np.where(np.abs(contrast) > 0.5 * np.abs(contrast).max(), np.abs(contrast), 0)
    y, x = screen.grid_px()
    at = np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()
    row, column = np.rint(at).astype(int)
    return Dot(float(at[1]), float(at[0]), float(contrast[row, column]))


def image_onsets(video: np.ndarray) -> np.ndarray:
    """First frame of every image that follows a blank: frames of one grey, then others."""
    blank = video.reshape(len(video), -1).std(1) < 1
    return np.flatnonzero(blank[:-1] & ~blank[1:]) + 1


def _direction_deg(down: float, right: float) -> float:
    return float(np.rad2deg(np.arctan2(-down, right)) % 360)


def _peak(likeness: np.ndarray) -> np.ndarray:
    """Centre of the highest peak [2], between pixels: of mass in its 5 x 5 neighbourhood."""
    row, column = np.unravel_index(likeness.argmax(), likeness.shape)
    near = np.arange(-2, 3)
    patch = likeness[np.ix_(row + near, column + near)]
    patch = np.maximum(patch - 0.3 * patch.max(), 0)
    return np.array(
        [
            row + (patch.sum(1) * near).sum() / patch.sum(),
            column + (patch.sum(0) * near).sum() / patch.sum(),
        ]
    )
