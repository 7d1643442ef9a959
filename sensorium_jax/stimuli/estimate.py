"""Estimation of a segment's condition from its frames: the inverse of the families.

Each function takes the frames of one segment, grey levels [T H W], and documents its estimator. The
tests bound the errors over all conditions of the default families.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli import screen
from sensorium_jax.stimuli.gabor import GaborCondition

ZOOMS = 12  # halvings of the grid around a spectrum's peak
LAG_FRAMES = 8  # less than half the lifetime of a dot, and a motion of a few pixels
WHITEN_FLOOR = 0.02  # share of the largest amplitude; weaker ones are noise


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

        (f_t, f_y, f_x) = argmax |sum_tyx (video - median) exp(-2 pi i (f_t t + f_y y + f_x x))|

    The maximum of the space-time spectrum, first on the grid of the Fourier transform, then on ever
    finer grids around it.

    Examples:
        >>> from sensorium_jax.stimuli import DriftingGabor
        >>> condition = GaborCondition(direction_deg=90.0, wavelength_px=8.0, frequency_hz=2.0)
        >>> contrast = DriftingGabor().segment(condition, np.random.default_rng(0))
        >>> [round(x) for x in gabor(screen.grey_levels(contrast))]
        [90, 8, 2]
    """
    x = video - np.median(video)  # without the background
    spectrum = np.abs(np.fft.fftn(x))
    spectrum[:, 0, 0] = 0  # changes of the mean luminance
    peak = np.unravel_index(spectrum.argmax(), x.shape)
    frequency = np.array([np.fft.fftfreq(n)[i] for n, i in zip(x.shape, peak, strict=True)])
    step = 0.5 / np.array(x.shape)
    for _ in range(ZOOMS):
        grid = frequency + step * np.linspace(-1, 1, 5)[:, None]  # [5 axes]
        amplitude = x
        for size, frequencies in zip(x.shape, grid.T, strict=True):
            wave = np.exp(-2j * np.pi * np.arange(size)[:, None] * frequencies)  # [size 5]
            amplitude = np.tensordot(amplitude, wave, axes=(0, 0))  # moves this axis to the end
        index = np.unravel_index(np.abs(amplitude).argmax(), amplitude.shape)
        frequency = grid[index, np.arange(3)]
        step = step / 2
    # Of the two conjugate peaks the one with f_t < 0: the pattern moves along its wave vector.
    f_t, f_y, f_x = frequency if frequency[0] < 0 else -frequency
    return GaborCondition(
        direction_deg=_direction_deg(f_y, f_x),
        wavelength_px=float(1 / np.hypot(f_y, f_x)),
        frequency_hz=float(-f_t * protocol.FRAME_RATE_HZ),
    )


def motion(video: np.ndarray, *, lag_frames: int = LAG_FRAMES) -> Motion:
    """Direction and speed of the coherent motion in a segment.

        (dy, dx) = argmax inverse_FFT(C / max(|C|, floor)) / lag,  C = mean_t X_{t + lag} conj(X_t)

    Phase correlation of frames ``lag_frames`` apart, averaged over the segment, and the centre of
    mass of its peak. Dots that move independently spread over the plane and make no peak.

    Examples:
        >>> from sensorium_jax.stimuli import RandomDots
        >>> condition = RandomDots().conditions[3]  # coherence 1
        >>> contrast = RandomDots().segment(condition, np.random.default_rng(0))
        >>> speed = motion(screen.grey_levels(contrast)).speed_px_per_frame
        >>> condition.speed_px_per_frame, round(speed, 1)
        (1.2, 1.2)
    """
    x = video - np.mean(video, axis=(1, 2), keepdims=True)
    window = np.hanning(x.shape[1] + 2)[1:-1, None] * np.hanning(x.shape[2] + 2)[1:-1]
    spectra = np.fft.fft2(x * window, (2 * x.shape[1], 2 * x.shape[2]))
    cross = (spectra[lag_frames:] * spectra[:-lag_frames].conj()).mean(0)
    amplitude = np.abs(cross)
    phase = cross / np.maximum(amplitude, WHITEN_FLOOR * amplitude.max())
    correlation = np.fft.fftshift(np.fft.ifft2(phase).real)
    dy, dx = _peak(correlation) - np.array(correlation.shape) // 2
    return Motion(_direction_deg(dy, dx), float(np.hypot(dy, dx) / lag_frames))


def dot(frame: np.ndarray) -> Dot:
    """Position and contrast of one spot in a frame [H W].

    The position is the centre of mass of |contrast| where it exceeds half of its maximum.

    Examples:
        >>> from sensorium_jax.stimuli import GaussianDots
        >>> condition = GaussianDots().conditions[0]._replace(x_px=30.0, y_px=20.0, contrast=-1.0)
        >>> contrast = GaussianDots().segment(condition, np.random.default_rng(0))
        >>> [round(x) for x in dot(screen.grey_levels(contrast)[0])]
        [30, 20, -1]
    """
    grey = np.median(frame)  # the background
    contrast = (frame - grey) / grey
    weight = np.where(np.abs(contrast) > 0.5 * np.abs(contrast).max(), np.abs(contrast), 0)
    y, x = screen.grid_px()
    centre = np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()
    row, column = np.rint(centre).astype(int)
    return Dot(float(centre[1]), float(centre[0]), float(contrast[row, column]))


def image_onsets(video: np.ndarray) -> np.ndarray:
    """First frame of every image after a blank (frames of one grey level): int [images].

    Examples:
        >>> video = np.full((6, 36, 64), 127, np.uint8)
        >>> video[3:5, :, :32] = 0  # an image in frames 3 and 4
        >>> image_onsets(video).tolist()
        [3]
    """
    blank = video.reshape(len(video), -1).std(1) < 1
    return np.flatnonzero(blank[:-1] & ~blank[1:]) + 1


def _direction_deg(dy: float, dx: float) -> float:
    """Direction of a vector, y down: 0 rightwards, 90 upwards, below 360."""
    return float(np.rad2deg(np.arctan2(-dy, dx)) % 360)


def _peak(correlation: np.ndarray) -> np.ndarray:
    """Row and column of the highest peak [2]: centre of mass of its 5 x 5 neighbourhood."""
    row, column = np.unravel_index(correlation.argmax(), correlation.shape)
    offset = np.arange(-2, 3)
    patch = correlation[np.ix_(row + offset, column + offset)]
    patch = np.maximum(patch - 0.3 * patch.max(), 0)
    return np.array(
        [
            row + (patch.sum(1) * offset).sum() / patch.sum(),
            column + (patch.sum(0) * offset).sum() / patch.sum(),
        ]
    )
