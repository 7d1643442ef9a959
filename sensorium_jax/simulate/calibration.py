"""Neurons and behaviour calibrated to a mouse of the release, as far as its metadata is public.

``calibration.npz`` (made by ``tools/calibration.py``; licence in ``calibration.txt``) holds, for
512 neurons of every mouse, the moments of their responses and their positions, the orientation and
direction selectivity of three mice, and the moments of behaviour. A calibrated population has
neurons at those positions, with those moments, and with the same distribution of selectivity when
it is measured on noisy responses (``measures.py``).

Properties that are not in the metadata are chosen: the reliability of single trials, the extent of
the visual field that the neurons cover, their selectivity without noise.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import norm

from sensorium_jax import protocol, stimuli
from sensorium_jax.simulate.behavior import Temperament, make_behavior
from sensorium_jax.simulate.neurons import behavior_gain, make_rate, smooth
from sensorium_jax.simulate.population import Population, draw_population, retinotopy

RETINOTOPY_PX = (24.0, 17.0)  # of the cortical field: some 45 x 32 degrees; chosen
SCATTER_PX = 1.5  # of receptive field centres about the map; chosen

# Beta distributions, chosen so that the measured selectivity is that of the mice B, C and E.
CROSS_BETA = (0.8, 1.3)  # 0: no response to the orthogonal orientation, 1: an equal response
DIRECTIONALITY_BETA = (0.5, 1.0)

# Correlation of rate and response in single trials: about a third, since the best models of the
# release reach 0.25-0.33; chosen.
RELIABILITY_BETA = (2.5, 5.0)
BASELINE_SHARE = 0.15  # share of events that are spontaneous; chosen
EXPONENT = (0.5, 4.0)  # of the drive, lowest and highest
NOISE_SHARE = 0.09  # lowest share of noise in a response's variance

SCAN_FRAMES = protocol.FRAME_RATE_HZ / 8  # scanned at about 8 Hz, then interpolated
RECORDED_FRAMES = 350 * protocol.CLIP_FRAMES  # over which the release's maxima are, about
EVENT_SPREAD = np.linspace(0.1, 1.6, 31)  # candidates of the std of log event size
OVERLAP = 1.12  # largest response over the largest event: events overlap; measured
POSITION_JITTER_UM = 8.0  # std about a kept neuron that is drawn more than once

_PROBE_CLIPS = 48
_GAIN_TRIALS = 400
_BISECTIONS = 12


@dataclass(frozen=True)
class Target:
    """Published metadata of one mouse: M of its neurons, and the moments of its behaviour."""

    letter: str
    mean: np.ndarray  # [M] of the response over train trials and time, nearly ascending
    std: np.ndarray  # [M]
    max: np.ndarray  # [M]
    median: np.ndarray  # [M]
    osi: np.ndarray  # [m] of this mouse, or of the three mice for which it is published
    dsi: np.ndarray  # [m]
    position_um: np.ndarray  # [M 3]
    temperament: Temperament
    pupil_center_mean: np.ndarray  # [2] x, y
    video: tuple[float, float]  # mean and std of grey levels


@functools.cache
def target(letter: str) -> Target:
    """The published metadata of a mouse, A to J.

    Examples:
        >>> target("A").position_um.shape, target("B").osi.shape
        ((512, 3), (512,))
    """
    with np.load(Path(__file__).parent / "calibration.npz", allow_pickle=False) as file:
        table = dict(file)
    row = table["mouse"].tolist().index(letter)
    measured = np.isfinite(table["osi"][:, 0])  # mice with selectivity
    mice = row if measured[row] else measured
    behavior, pupil_center = table["behavior"][row], table["pupil_center"][row]
    return Target(
        letter=letter,
        **{name: table[name][row] for name in ("mean", "std", "max", "median", "position_um")},
        osi=table["osi"][mice].ravel(),
        dsi=table["dsi"][mice].ravel(),
        temperament=Temperament(
            pupil_size=tuple(behavior[:, 0].tolist()),
            speed=tuple(behavior[:, 1].tolist()),
            pupil_center_std=tuple(pupil_center[1].tolist()),
        ),
        pupil_center_mean=pupil_center[0].astype(np.float64),
        video=tuple(table["video"][row].tolist()),
    )


def make_population_like(
    letter: str, neurons: int, *, seed: int | tuple[int, ...] = 0
) -> Population:
    """Draw neurons with the positions, moments and selectivity of a mouse's neurons.

    Every kept neuron of the mouse is used about equally often, so that small and large populations
    have the same distributions.

    Args:
        letter: of the mouse, A to J.
        neurons: number of neurons.
        seed: of the random numbers.
    """
    rng, like = np.random.default_rng(seed), target(letter)
    rows = ((np.arange(neurons) + rng.random()) * len(like.mean) / neurons).astype(int)
    rows = rng.permutation(rows)
    position_um = _positions(rng, like.position_um, rows)
    middle_um = (like.position_um.min(axis=0) + like.position_um.max(axis=0)) / 2
    center_px = retinotopy(position_um - middle_um, extent_px=RETINOTOPY_PX)
    population = replace(
        draw_population(rng, neurons),
        position_um=position_um,
        center_px=center_px + rng.normal(0, SCATTER_PX, (neurons, 2)),
        directionality=rng.beta(*DIRECTIONALITY_BETA, neurons),
        cross_share=rng.beta(*CROSS_BETA, neurons) / 2,
        pupil_center_mean=like.pupil_center_mean,
        kernel=_kernel(),
    )
    return _calibrate(rng, population, like, rows, rng.beta(*RELIABILITY_BETA, neurons))


def _positions(rng, position_um: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Positions of the kept neurons ``rows``: int64 [N 3], jittered if rows are repeated."""
    positions = position_um[rows].astype(np.float64)
    if len(rows) > len(position_um):
        positions[:, :2] += rng.normal(0, POSITION_JITTER_UM, (len(rows), 2))
        positions = np.clip(positions, position_um.min(axis=0), position_um.max(axis=0))
    return np.rint(positions).astype(np.int64)


def _kernel() -> np.ndarray:
    """Linear interpolation between scans: a causal triangle of unit sum [K]."""
    lag = np.arange(2 * SCAN_FRAMES)
    weight = np.maximum(1 - np.abs(lag - SCAN_FRAMES) / SCAN_FRAMES, 0)
    return weight / weight.sum()


def _calibrate(rng, population: Population, like: Target, rows, reliability) -> Population:
    """Set exponent, baseline, amplitude and noise for the moments of the kept neurons ``rows``.

        std(signal) = reliability * std,    var(noise) = std^2 - var(signal)

    ``reliability`` [N] is the target correlation of rate and response in single trials. The
    exponent of the drive sets the std of the signal.
    """
    mean, std = like.mean[rows].astype(np.float64), like.std[rows].astype(np.float64)
    drive, gain = _probe(rng, population, like)
    kernel = population.kernel
    assert kernel is not None, "calibrated mice have a kernel of their own"
    spontaneous = smooth(gain, kernel)

    def signal(exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected response [T N] for an amplitude of one, and the baseline [N] in it."""
        driven = smooth(gain * drive ** exponent.astype(np.float32), kernel)
        baseline = BASELINE_SHARE / (1 - BASELINE_SHARE) * driven.mean(axis=0)
        return driven + baseline * spontaneous, baseline

    low, high = (np.full(len(mean), bound) for bound in EXPONENT)
    for _ in range(_BISECTIONS):
        exponent = np.sqrt(low * high)
        expected, _ = signal(exponent)
        too_flat = expected.std(axis=0) / expected.mean(axis=0) < reliability * std / mean
        low, high = np.where(too_flat, exponent, low), np.where(too_flat, high, exponent)
    expected, baseline = signal(exponent)
    amplitude = mean / expected.mean(axis=0)
    signal_variance = (amplitude * expected.std(axis=0)) ** 2
    noise_variance = np.maximum(std**2 - signal_variance, NOISE_SHARE * std**2)
    # An event's variance is scale * rate; smoothing leaves scale * sum(kernel^2) * rate.
    noise_scale = noise_variance / (np.square(kernel).sum() * mean)
    largest_event = like.max[rows] / (OVERLAP * kernel.max())
    return replace(
        population,
        exponent=exponent,
        amplitude=amplitude,
        baseline=amplitude * baseline,
        noise_scale=noise_scale,
        event_spread=_event_spread(mean, noise_scale, largest_event),
    )


def _probe(rng, population: Population, like: Target) -> tuple[np.ndarray, np.ndarray]:
    """Drive and gain [T N] in natural clips, one clip after the other."""

    def draw_behavior(frames: int) -> tuple[np.ndarray, np.ndarray]:
        return make_behavior(rng, frames, like.pupil_center_mean, like=like.temperament)

    zeros = np.zeros_like(population.amplitude)
    predict_drive = make_rate(replace(population, running_gain=zeros, pupil_gain=zeros))
    drive, gain = [], []
    for _ in range(_PROBE_CLIPS):
        video = stimuli.natural_clip(rng)
        behavior, pupil_center = draw_behavior(len(video))
        drive.append(predict_drive(video, behavior, pupil_center))
        gain.append(behavior_gain(population, behavior).astype(np.float32))
    gain = np.concatenate(gain)
    # Running is rare: so few clips can have none of it, or too much. Correct the mean gain.
    trials = [draw_behavior(protocol.CLIP_FRAMES)[0][:, ::10] for _ in range(_GAIN_TRIALS)]
    mean_gain = behavior_gain(population, np.concatenate(trials, axis=1)).mean(axis=0)
    gain *= (mean_gain / gain.mean(axis=0)).astype(np.float32)
    return np.concatenate(drive), gain


def _event_spread(mean: np.ndarray, noise_scale: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Std [N] of log event size for which the largest event of a recording is ``largest`` [N].

    The median of the maximum of n log-normal sizes is their quantile 1 - log(2) / n.
    """
    spread = EVENT_SPREAD[:, None]
    size = noise_scale * np.exp(-(spread**2))  # mean
    events = RECORDED_FRAMES * mean / size
    quantile = norm.isf(np.minimum(np.log(2) / events, 0.5))
    log_maximum = np.log(size) - spread**2 / 2 + spread * quantile
    return EVENT_SPREAD[np.abs(log_maximum - np.log(largest)).argmin(axis=0)]
