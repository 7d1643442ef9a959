"""Simulated neurons: space-time Gabor energy models with divisive normalisation.

    events(video, behavior, pupil_center) = gain * (baseline + amplitude * drive)
    rate = smooth(events)
    response = smooth(random events of this mean)

Running and pupil size set the gain, and gaze shifts the receptive fields. Smoothing is linear, so
that ``rate`` is the expected response: the truth that a perfect model predicts. The neurons use
none of the layers of this package's models. ``make_population`` draws neurons that small models can
learn; those of ``calibration.py`` are fitted to the released mice and use the optional fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter

from sensorium_jax import _moved, protocol, stimuli
from sensorium_jax.simulate.behavior import (
    PUPIL_SIZE_MEAN,
    PUPIL_SIZE_STD,
    SPEED_HALF,
    make_behavior,
)
from sensorium_jax.simulate.population import (
    ENVELOPE_ORDER,
    FILTER_FRAMES,
    HEIGHT,
    PEAK_FRAMES,
    WIDTH,
    Population,
    draw_population,
)

POOL_SIGMAS, SURROUND_SIGMAS = 1.5, 3.5  # sigma of the normalisation pools, over the filter's
POOL_SHARE = 0.1  # weight of local variance in the normalisation, beside the neuron's energy
SEMI_SATURATION = 0.25  # local contrast, in units of VIDEO_STD
BASELINE_SHARE = 0.05  # spontaneous events, as a share of the mean of driven events
VIDEO_MEAN, VIDEO_STD = 80.0, 58.0  # grey levels: of the release, averaged over mice
# Responses; in the release, neurons have means 2.4-4.7 and standard deviations 12-22.
MEAN_RESPONSE = 3.5
CALCIUM_FRAMES = 5.0  # time constant of the exponential smoothing; chosen
RELIABILITY = (0.3, 0.85)  # correlation of rate and response in single trials, lowest and highest
RESIDUE = 5e-8  # the release's deconvolution leaves values down to about -1e-7
GAZE_REACH_PX = 8  # largest shift


def make_population(
    neurons: int, *, seed: int | tuple[int, ...] = 0, modulated: bool = True
) -> Population:
    """Draw neurons, and scale them so that natural films give the release's response moments.

    Args:
        neurons: number of neurons.
        seed: of the random numbers.
        modulated: whether running, pupil size and gaze change the responses.
    """
    rng = np.random.default_rng(seed)
    population = draw_population(rng, neurons)
    if not modulated:
        zeros = np.zeros(neurons)
        population = replace(
            population, running_gain=zeros, pupil_gain=zeros, gaze_px=np.array(0.0)
        )
    mean = MEAN_RESPONSE * rng.lognormal(-0.08, 0.4, neurons)
    low, high = RELIABILITY
    reliability = low + (high - low) * rng.beta(2.2, 1.8, neurons)
    return _calibrate(rng, population, mean, reliability)


_PROBE_CLIPS = 12


def _calibrate(rng, population: Population, mean: np.ndarray, reliability: np.ndarray):
    """Set amplitude and noise [N] for a mean response and a single-trial correlation r [N].

        r^2 = var(signal) / (var(signal) + var(noise)),    var(noise) = scale * sum(k^2) * rate

    where the noise of events has variance scale * rate before smoothing by the kernel k.
    """
    driven, spontaneous = [], []  # [T N] of every probe, for an amplitude and a baseline of one
    expected_events = make_rate(population)
    for _ in range(_PROBE_CLIPS):
        video = stimuli.natural_clip(rng)
        behavior, pupil_center = make_behavior(rng, len(video), population.pupil_center_mean)
        events = expected_events(video, behavior, pupil_center)
        driven.append(smooth(events)[protocol.SKIP_FRAMES :])
        spontaneous.append(smooth(behavior_gain(population, behavior))[protocol.SKIP_FRAMES :])
    driven, spontaneous = np.concatenate(driven), np.concatenate(spontaneous)
    baseline = BASELINE_SHARE * driven.mean(axis=0)
    signal = driven + baseline * spontaneous
    amplitude = mean / signal.mean(axis=0)
    decay = np.exp(-1 / CALCIUM_FRAMES)
    kernel_energy = (1 - decay) / (1 + decay)  # sum of squares of (1 - decay) * decay ** t
    variance = (amplitude * signal.std(axis=0)) ** 2
    scale = variance * (1 / reliability**2 - 1) / (kernel_energy * mean)
    baseline = amplitude * baseline
    return replace(population, baseline=baseline, amplitude=amplitude, noise_scale=scale)


def make_rate(population: Population) -> Callable[..., np.ndarray]:
    """The function from stimulus and behaviour to the expected events of ``population``.

    It takes video uint8 [T H W], behavior [2 T] and pupil_center [2 T], and returns events float32
    [T N], in response units a frame. ``smooth`` turns them into the expected response.
    """
    filters, cross = _spatial_filters(population), None  # [HW 2N]
    if population.cross_share is not None:
        orthogonal = replace(population, direction_deg=population.direction_deg + 90)
        cross = population.cross_share.astype(np.float32), _spatial_filters(orthogonal)
    pools = _pool_weights(population)  # [hw 2N]
    lowpass = _lowpass()
    simple = ~population.is_complex
    directionality = population.directionality.astype(np.float32)
    temporal = (population.temporal / (1 + directionality)).astype(np.float32)

    def rate(video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray) -> np.ndarray:
        shift = population.gaze_px * (pupil_center - population.pupil_center_mean[:, None])
        image = (look(video, shift) - np.float32(VIDEO_MEAN)) / np.float32(VIDEO_STD)
        light = image.reshape(len(image), -1)
        even, odd = np.split(light @ filters, 2, axis=1)  # [T N]
        first = _convolve(even, temporal[0]) - directionality * _convolve(odd, temporal[1])
        second = _convolve(odd, temporal[0]) + directionality * _convolve(even, temporal[1])
        energy = first**2 + second**2
        energy[:, simple] = 2 * np.maximum(first[:, simple], 0) ** 2
        if cross is not None:
            share, orthogonal_filters = cross
            even, odd = np.split(light @ orthogonal_filters, 2, axis=1)
            cross_energy = _convolve(even, temporal[0]) ** 2 + _convolve(odd, temporal[0]) ** 2
            energy += share * (cross_energy - energy)
        center, surround = np.split(_local_variance(image, pools), 2, axis=1)  # [T N]
        pool = _convolve(center + population.surround.astype(np.float32) * surround, lowpass)
        drive = energy / (SEMI_SATURATION**2 + POOL_SHARE * pool + energy)
        if population.exponent is not None:
            drive **= population.exponent.astype(np.float32)
        expected = population.baseline + population.amplitude * drive
        return (behavior_gain(population, behavior) * expected).astype(np.float32)

    return rate


def look(video: np.ndarray, shift_px: np.ndarray) -> np.ndarray:
    """A video [T H W] as seen by receptive fields that gaze shifts by ``shift_px`` [2 T] x, y.

        output[t, y, x] = video[t, y + shift_y, x + shift_x]

    with bilinear interpolation, and edge pixels repeated beyond the edges; float32 [T H W].

    Examples:
        >>> video = np.tile(np.arange(WIDTH, dtype=np.uint8), (1, HEIGHT, 1))  # grey level = x
        >>> look(video, np.array([[2.0], [0.0]]))[0, 0, :4].tolist()
        [2.0, 3.0, 4.0, 5.0]
    """
    reach = GAZE_REACH_PX
    x, y = np.clip(shift_px, -reach, reach - 1e-3)
    padded = np.pad(video, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (HEIGHT + 1, WIDTH + 1), (1, 2))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    image = windows[np.arange(len(video)), top + reach, left + reach].astype(np.float32)
    right_share = (x - left).astype(np.float32)[:, None, None]
    below_share = (y - top).astype(np.float32)[:, None, None]
    image = image[:, :-1] + below_share * (image[:, 1:] - image[:, :-1])
    return image[:, :, :-1] + right_share * (image[:, :, 1:] - image[:, :, :-1])


def smooth(events: np.ndarray, kernel: np.ndarray | None = None) -> np.ndarray:
    """Calcium-like smoothing of events [T N] by a causal kernel of unit sum.

    The kernel is exponential with a time constant of ``CALCIUM_FRAMES``, or ``kernel`` [K].

    Examples:
        >>> impulse = np.eye(100, 1)  # one event in frame 0
        >>> round(float(smooth(impulse).sum()), 6)
        1.0
    """
    if kernel is not None:
        return _convolve(events, kernel.astype(events.dtype)[:, None])
    decay = np.exp(-1 / CALCIUM_FRAMES)
    b, a = (np.array(w).astype(events.dtype) for w in ([1 - decay], [1, -decay]))
    return lfilter(b, a, events, axis=0)  # pyright: ignore[reportReturnType]


def draw_response(
    rng,
    events: np.ndarray,
    noise_scale: np.ndarray,
    *,
    event_spread: np.ndarray | None = None,
    kernel: np.ndarray | None = None,
) -> np.ndarray:
    """Responses of one trial: float32 [T N] whose expectation is ``smooth(events, kernel)``.

    The sum of events in a frame has mean ``events`` [T N] and variance ``noise_scale`` [N] times
    the mean. It is gamma-distributed or, with an ``event_spread`` [N], the sum of a Poisson number
    of events of log-normal size. A residue of mean zero makes some silent frames slightly negative,
    as in the release.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> response = draw_response(rng, np.full((10_000, 1), 2.0), noise_scale=np.ones(1))
        >>> response.shape, round(float(response.mean()), 1)
        ((10000, 1), 2.0)
    """
    if event_spread is None:
        scale = noise_scale.astype(np.float32)
        noisy = rng.standard_gamma(events / scale, dtype=np.float32) * scale
    else:
        noisy = _bursts(rng, events, noise_scale, event_spread)
    residue = np.float32(RESIDUE) * rng.standard_normal(events.shape, np.float32)
    return smooth(noisy, kernel) + residue


def _bursts(rng, events, noise_scale, event_spread) -> np.ndarray:
    """Sums of a Poisson number of events of log-normal sizes s: float32 [T N].

    The variance of a sum over its mean is E[s^2] / E[s] = E[s] * exp(spread^2).
    """
    size = noise_scale * np.exp(-(event_spread**2))  # [N] mean
    counts = rng.poisson(events / size)
    bins = np.repeat(np.arange(counts.size), counts.ravel())  # frame and neuron of every event
    neuron = bins % counts.shape[1]
    spread = event_spread[neuron]
    sizes = size[neuron] * np.exp(spread * rng.standard_normal(len(bins)) - spread**2 / 2)
    sums = np.bincount(bins, weights=sizes, minlength=counts.size)
    return sums.reshape(counts.shape).astype(np.float32)


def behavior_gain(population: Population, behavior: np.ndarray) -> np.ndarray:
    """Multiplicative gain [T N] of pupil size and running speed, behavior [2 T].

        gain = (1 + running_gain * speed / (speed + SPEED_HALF)) * exp(pupil_gain * z)

    of the pupil size z in standard deviations from its mean, clipped to -2..2.
    """
    pupil = np.clip((behavior[0] - PUPIL_SIZE_MEAN) / PUPIL_SIZE_STD, -2, 2)[:, None]
    running = (behavior[1] / (behavior[1] + SPEED_HALF))[:, None]
    return (1 + population.running_gain * running) * np.exp(population.pupil_gain * pupil)


def _spatial_filters(population: Population) -> np.ndarray:
    """Even then odd Gabors, float32 [HW 2N]; a matching grating of amplitude 1 gives about 1."""
    angle = np.deg2rad(population.direction_deg)
    dx, dy, envelope = _gaussians(population, 1.0, 1)
    distance = dx * np.cos(angle) - dy * np.sin(angle)  # y points down
    phase = 2 * np.pi * distance / population.wavelength_px + population.phase_rad
    gabors = np.stack([np.cos(phase), np.sin(phase)]) * envelope  # [2 HW N]
    gabors -= envelope * gabors.sum(axis=1, keepdims=True)  # no response to uniform light
    return (2 * np.concatenate(gabors, axis=1)).astype(np.float32)


def _pool_weights(population: Population) -> np.ndarray:
    """Gaussian pools of centre, then surround, over every second pixel: float32 [hw 2N]."""
    pools = [_gaussians(population, extent, 2)[2] for extent in (POOL_SIGMAS, SURROUND_SIGMAS)]
    return np.concatenate(pools, axis=1).astype(np.float32)


def _gaussians(population: Population, extent: float, step_px: int):
    """Distances x, y from the centre, and Gaussians of unit sum: [hw N] each.

    They are at every ``step_px``-th pixel; the Gaussians' sigma is ``extent`` times the filter's.
    """
    y, x = np.mgrid[:HEIGHT:step_px, :WIDTH:step_px].reshape(2, -1, 1)
    dx, dy = x - population.center_px[:, 0], y - population.center_px[:, 1]
    weight = np.exp(-(dx**2 + dy**2) / (2 * (extent * population.sigma_px) ** 2))
    return dx, dy, weight / weight.sum(axis=0)


def _local_variance(image: np.ndarray, pools: np.ndarray) -> np.ndarray:
    """Variance of ``image`` [T H W] weighted by each pool [hw M]: [T M]."""
    light = image[:, ::2, ::2].reshape(len(image), -1)
    return np.maximum(light**2 @ pools - (light @ pools) ** 2, 0)


def _convolve(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Causal convolution of [T N] with taps [K N] or [K 1]; the signal is zero before frame 0."""
    out = np.zeros_like(signal)
    for lag, tap in enumerate(taps[: len(signal)]):
        out[lag:] += signal[: len(signal) - lag] * tap
    return out


def _lowpass() -> np.ndarray:
    """Temporal filter of the normalisation pool, of unit sum: [K 1]."""
    lag = np.arange(FILTER_FRAMES, dtype=np.float32)[:, None]
    taps = lag**ENVELOPE_ORDER * np.exp(-ENVELOPE_ORDER * lag / np.mean(PEAK_FRAMES))
    return (taps / taps.sum()).astype(np.float32)


def __getattr__(name: str):  # names from before version 0.2
    return _moved.look_up(__name__, name)
