"""Parameters of simulated neurons, and the distributions that they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.simulate.behavior import PUPIL_CENTER_MEAN

HEIGHT, WIDTH = protocol.HEIGHT, protocol.WIDTH
# Anatomy of a session, after the release's metadata.
FIELD_UM = 615.0  # extent of the cortical field, in x and in y
DEPTHS_UM = np.arange(200, 426, 25)  # ten imaging planes
UNITS_SEGMENTED = 1.1  # range of unit ids over the number of neurons: ids have gaps
RETINOTOPY_PX = (38.0, 22.0)  # extent in the visual field of the cortical field, x and y; chosen
SCATTER_PX = 0.5  # std of receptive field centres about the smooth map; chosen
# Filters; all chosen, for pixels of about two degrees and latencies as in mouse V1. The ranges are
# narrow enough for a small model to come close to the truth in minutes.
SIGMA_PX = (4.0, 6.0)
SIGMA_PER_WAVELENGTH = (0.35, 0.45)
FILTER_FRAMES = 12
PEAK_FRAMES = (3.0, 5.0)  # 100-170 ms after the stimulus
FREQUENCY_HZ = (1.0, 4.0)
ENVELOPE_ORDER = 3  # of the gamma envelope in time
TRANSIENCE = 0.5  # share of the temporal filter's mean that is removed
GAZE_PX = 0.3  # receptive field shift for one unit of pupil centre


@dataclass(frozen=True)
class Population:
    """Parameters of N simulated neurons, which determine their expected response."""

    unit_ids: np.ndarray  # [N] ascending, with gaps
    position_um: np.ndarray  # [N 3] cortical x, y, z
    center_px: np.ndarray  # [N 2] x, y of the receptive field at the mean gaze
    sigma_px: np.ndarray  # [N]
    wavelength_px: np.ndarray  # [N]
    direction_deg: np.ndarray  # [N] preferred direction of motion; 0 right, 90 up
    phase_rad: np.ndarray  # [N]
    frequency_hz: np.ndarray  # [N] preferred temporal frequency
    temporal: np.ndarray  # [2 K N] even and odd filter in time; index 0 is the current frame
    directionality: np.ndarray  # [N] 0: none, 1: no response to the opposite direction
    is_complex: np.ndarray  # [N] bool
    surround: np.ndarray  # [N] weight of the suppressive surround
    running_gain: np.ndarray  # [N] relative increase at high speed
    pupil_gain: np.ndarray  # [N] relative increase per standard deviation of pupil size
    gaze_px: np.ndarray  # [] pixels for one unit of pupil centre
    pupil_center_mean: np.ndarray  # [2]
    baseline: np.ndarray  # [N] spontaneous events, response units
    amplitude: np.ndarray  # [N] response units
    noise_scale: np.ndarray  # [N] variance over mean of an event, response units

    # Of calibrated neurons only.
    exponent: np.ndarray | None = None  # [N] of the drive; None: 1
    cross_share: np.ndarray | None = None  # [N] share of energy at the orthogonal orientation
    event_spread: np.ndarray | None = None  # [N] std of log event size; None: gamma events
    kernel: np.ndarray | None = None  # [K] calcium smoothing, unit sum; None: exponential


def draw_population(rng, neurons: int) -> Population:
    """Draw neurons with filters and positions; amplitude and noise are one, the baseline zero.

    Examples:
        >>> population = draw_population(np.random.default_rng(0), neurons=5)
        >>> population.position_um.shape, population.temporal.shape  # [N 3], [2 K N]
        ((5, 3), (2, 12, 5))
    """
    position_um = _positions(rng, neurons)
    sigma_px = rng.uniform(*SIGMA_PX, neurons)
    frequency_hz = rng.uniform(*FREQUENCY_HZ, neurons)
    return Population(
        unit_ids=1 + np.sort(rng.permutation(int(UNITS_SEGMENTED * neurons) + 2)[:neurons]),
        position_um=position_um,
        center_px=retinotopy(position_um) + rng.normal(0, SCATTER_PX, (neurons, 2)),
        sigma_px=sigma_px,
        wavelength_px=sigma_px / rng.uniform(*SIGMA_PER_WAVELENGTH, neurons),
        direction_deg=rng.uniform(0, 360, neurons),
        phase_rad=rng.uniform(0, 2 * np.pi, neurons),
        frequency_hz=frequency_hz,
        temporal=_temporal_filters(rng.uniform(*PEAK_FRAMES, neurons), frequency_hz),
        directionality=rng.beta(1.0, 4.0, neurons),
        is_complex=rng.random(neurons) < 0.8,
        surround=rng.uniform(0.5, 3.0, neurons),
        running_gain=np.maximum(rng.normal(0.8, 0.4, neurons), 0),
        pupil_gain=np.maximum(rng.normal(0.15, 0.1, neurons), 0),
        gaze_px=np.array(GAZE_PX),
        pupil_center_mean=rng.uniform(*PUPIL_CENTER_MEAN, 2),
        baseline=np.zeros(neurons),
        amplitude=np.ones(neurons),
        noise_scale=np.ones(neurons),
    )


def retinotopy(
    position_um: np.ndarray, *, extent_px: tuple[float, float] = RETINOTOPY_PX
) -> np.ndarray:
    """Smooth map from cortical x, y [N 3] to receptive field centres [N 2] x, y in pixels.

    The origin of ``position_um`` is the centre of the cortical field, which covers ``extent_px`` of
    the visual field.

    Examples:
        >>> retinotopy(np.zeros((1, 3))).tolist()  # the centre of the screen of 64 x 36 pixels
        [[32.0, 18.0]]
    """
    x, y = (position_um[:, :2] / FIELD_UM).T  # -0.5 .. 0.5
    center_x = WIDTH / 2 + extent_px[0] * (0.95 * x + 0.2 * y + 0.15 * x * y)
    center_y = HEIGHT / 2 + extent_px[1] * (0.95 * y - 0.2 * x + 0.15 * x**2)
    return np.stack([center_x, center_y], axis=-1)


def _positions(rng, neurons: int) -> np.ndarray:
    """Cortical x, y, z in micrometres: int64 [N 3]."""
    plane = rng.uniform(-FIELD_UM / 2, FIELD_UM / 2, (neurons, 2))
    depth = rng.choice(DEPTHS_UM, (neurons, 1))
    return np.rint(np.concatenate([plane, depth], axis=1)).astype(np.int64)


def _temporal_filters(peak_frames: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """A causal quadrature pair: a gamma envelope [K N] times cosine and sine; [2 K N]."""
    lag = np.arange(FILTER_FRAMES)[:, None]
    envelope = (lag / peak_frames) ** ENVELOPE_ORDER
    envelope = envelope * np.exp(ENVELOPE_ORDER * (1 - lag / peak_frames))
    angle = 2 * np.pi * frequency_hz / protocol.FRAME_RATE_HZ * (lag - peak_frames)
    pair = envelope * np.stack([np.cos(angle), np.sin(angle)])
    total = envelope.sum(axis=0)
    pair -= TRANSIENCE * envelope * pair.sum(axis=1, keepdims=True) / total
    return pair / (total / 2)  # about 1 for the preferred frequency
