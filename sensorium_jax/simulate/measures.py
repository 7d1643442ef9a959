"""Measurements of a simulated mouse that are published for real mice, and their distances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp, wasserstein_distance

from sensorium_jax import protocol, stimuli
from sensorium_jax.simulate.behavior import make_behavior
from sensorium_jax.simulate.calibration import Target
from sensorium_jax.simulate.neurons import draw_response, make_rate
from sensorium_jax.simulate.population import Population

GABORS = stimuli.DriftingGabor()
REPEATS = 10  # of every clip of drifting Gabors (counts over trial metadata, anaflom/sensorium)


class Measured(NamedTuple):
    """Measurements of N simulated neurons; names and units as in ``Target``."""

    mean: np.ndarray
    std: np.ndarray
    max: np.ndarray
    median: np.ndarray
    osi: np.ndarray
    dsi: np.ndarray
    position_um: np.ndarray  # [N 3]
    behavior: np.ndarray  # [4 2] pupil size, speed, pupil centre x, y; mean and std
    video: tuple[float, float]  # mean and std of grey levels


class Distance(NamedTuple):
    """Distances between a simulated and a real distribution."""

    ks: float  # Kolmogorov-Smirnov: the largest difference of the cumulative distributions
    wasserstein: float  # the earth mover's distance, in standard deviations of the real one


def measure(population: Population, like: Target, *, clips: int = 350, seed: int = 0) -> Measured:
    """Simulate responses to natural clips and to drifting Gabors, and measure them.

    Args:
        population: the simulated neurons.
        like: the real mouse, for the moments of behaviour.
        clips: number of natural clips; a real mouse saw about 350 in training.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    expected_events = make_rate(population)
    responses, behaviors, levels = [], [], np.zeros(2)
    for _ in range(clips):
        video = stimuli.natural_clip(rng)
        response, behavior = respond(rng, population, like, expected_events, video)
        responses.append(response)
        behaviors.append(behavior)
        levels += video.mean(), np.square(video, dtype=np.float32).mean()
    response, behavior = np.concatenate(responses), np.concatenate(behaviors, axis=1)
    video_mean, video_square = levels / clips
    osi, dsi = selectivity(direction_tuning(population, like, seed=seed))
    return Measured(
        mean=response.mean(axis=0, dtype=np.float64),
        std=response.std(axis=0, dtype=np.float64),
        max=response.max(axis=0),
        median=np.median(response, axis=0),
        osi=osi,
        dsi=dsi,
        position_um=population.position_um,
        behavior=np.stack([behavior.mean(axis=1), behavior.std(axis=1)], axis=1),
        video=(float(video_mean), float(np.sqrt(video_square - video_mean**2))),
    )


def quantities(mouse: Measured | Target) -> dict[str, np.ndarray]:
    """The distributions that are compared, of a simulated or a real mouse, by name.

    Sparseness has two measures: std over mean of a neuron's response, and its maximum over its std.
    """
    x, y, depth = np.asarray(mouse.position_um, np.float64).T
    return {
        "mean": mouse.mean,
        "std": mouse.std,
        "std / mean": mouse.std / mouse.mean,
        "max / std": mouse.max / mouse.std,
        "OSI": mouse.osi,
        "DSI": mouse.dsi,
        "x": x,
        "y": y,
        "depth": depth,
    }


def distances(simulated: Measured, real: Target) -> dict[str, Distance]:
    """Distances between simulated and real distributions, for each of the ``quantities``."""
    x, y = quantities(simulated), quantities(real)
    return {
        name: Distance(
            ks=float(ks_2samp(x[name], y[name]).statistic),  # pyright: ignore[reportAttributeAccessIssue]
            wasserstein=float(wasserstein_distance(x[name], y[name]) / y[name].std()),
        )
        for name in x
    }


def direction_tuning(population: Population, like: Target, *, seed: int = 0) -> np.ndarray:
    """Mean noisy response [8 N] to the directions of the released drifting Gabors.

    Six clips of twelve Gabors cover all conditions, and each clip is shown ten times. Frames before
    ``protocol.SKIP_FRAMES`` are left out, as for the published tuning curves.
    """
    rng = np.random.default_rng(seed)
    expected_events = make_rate(population)
    responses = {direction: [] for direction in GABORS.directions_deg}
    for video, segments in stimuli.make_set(GABORS, rng):
        for _ in range(REPEATS):
            response, _ = respond(rng, population, like, expected_events, video)
            for first, frames, condition in segments:
                if first >= protocol.SKIP_FRAMES:
                    mean = response[first : first + frames].mean(axis=0)
                    responses[condition.direction_deg].append(mean)
    return np.stack([np.mean(means, axis=0) for means in responses.values()])


def selectivity(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientation and direction selectivity indices [N] of tuning curves [8 N].

        OSI = |sum R exp(2 i a)| / sum R,    DSI = |sum R exp(i a)| / sum R

    of responses R over directions a: these definitions reproduce the published indices from the
    published tuning curves, to 1e-6.

    Examples:
        Neurons that respond to all directions, to one, and to one orientation:

        >>> curve = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1] + 7 * [0], [1, 0, 0, 0, 1, 0, 0, 0]]).T
        >>> osi, dsi = selectivity(curve)
        >>> osi.round(6).tolist(), dsi.round(6).tolist()
        ([0.0, 1.0, 1.0], [0.0, 1.0, 0.0])
    """
    angle = np.deg2rad(GABORS.directions_deg)[:, None]
    osi, dsi = (
        np.abs((curve * np.exp(1j * turns * angle)).sum(axis=0)) / curve.sum(axis=0)
        for turns in (2, 1)
    )
    return osi, dsi


def respond(
    rng, population: Population, like: Target, expected_events, video
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy response [T N] to a video, and behaviour with pupil centre [4 T]."""
    behavior, pupil_center = make_behavior(
        rng, len(video), population.pupil_center_mean, like=like.temperament
    )
    response = draw_response(
        rng,
        expected_events(video, behavior, pupil_center),
        population.noise_scale,
        event_spread=population.event_spread,
        kernel=population.kernel,
    )
    return response, np.concatenate([behavior, pupil_center])
