"""Normalisation of recordings, and the unit of responses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array, Batch, Moments, Statistics

SIGNALS = "pupil_size", "running", "gaze"


def mute_signals(
    behavior: Array, pupil_center: Array, without: tuple[str, ...]
) -> tuple[Array, Array]:
    """Set the signals named in ``without`` to zero.

    Args:
        behavior: [... 2] pupil size, running speed.
        pupil_center: [... 2] x, y.
        without: names from ``SIGNALS``: "pupil_size", "running", "gaze".

    Examples:
        >>> behavior, gaze = mute_signals(np.ones(2), np.ones(2), ("running", "gaze"))
        >>> behavior.tolist(), gaze.tolist()
        ([1.0, 0.0], [0.0, 0.0])
    """
    if not without:
        return behavior, pupil_center
    gains = np.array([name not in without for name in SIGNALS], np.float32)
    return behavior * gains[:2], pupil_center * gains[2]


def normalise_inputs(batch: Batch, statistics: Statistics) -> tuple[Array, Array, Array]:
    """(video - mean) / std, behavior / std, (pupil_center - mean) / std.

    Behaviour keeps its mean, as in neuralpredictors' ``NeuroNormalizer``.

    Returns:
        video [S B T H W], behavior [S B T 2], pupil_center [S B T 2], all float32.

    Examples:
        >>> x = np.full((1, 1, 4, 2), 8.0, np.float32)
        >>> batch = Batch(x, x, x, None, None, None)
        >>> moments = Moments(mean=np.full((1, 1, 2), 2.0), std=np.full((1, 1, 2), 4.0))
        >>> statistics = Statistics(moments, moments, moments, None, None)
        >>> [float(x.mean()) for x in normalise_inputs(batch, statistics)]  # 6 / 4, 8 / 4, 6 / 4
        [1.5, 2.0, 1.5]
    """
    video, behavior, pupil = (
        _moments_at_frames(moments, batch)
        for moments in (statistics.video, statistics.behavior, statistics.pupil_center)
    )
    return (
        (batch.video.astype(jnp.float32) - video.mean) / video.std,
        batch.behavior / behavior.std,
        (batch.pupil_center - pupil.mean) / pupil.std,
    )


def normalise_response(batch: Batch, statistics: Statistics) -> Array:
    """response / std, in units of each neuron's response std: [S B T N].

    Examples:
        >>> batch = Batch(None, None, None, np.ones((1, 2, 4, 5)), None, None)
        >>> pooled = Moments(mean=np.zeros((1, 1, 5)), std=np.full((1, 1, 5), 2.0))
        >>> y = normalise_response(batch, Statistics(None, None, None, pooled, None))
        >>> y.shape, float(y.max())  # 1 / 2: the mean is kept
        ((1, 2, 4, 5), 0.5)
    """
    return batch.response / response_std(batch, statistics)


def response_std(batch: Batch, statistics: Statistics) -> Array:
    """The response std, the unit of rates, at a batch's frames: [S B T N], or [S 1 1 N] if pooled.

    Examples:
        >>> batch = Batch(None, None, None, np.ones((1, 2, 4, 5)), None, None)
        >>> pooled = Moments(mean=np.zeros((1, 1, 5)), std=np.full((1, 1, 5), 2.0))
        >>> statistics = Statistics(None, None, None, pooled, None)
        >>> response_std(batch, statistics).shape
        (1, 1, 1, 5)
    """
    return _moments_at_frames(statistics.response, batch).std


def _moments_at_frames(moments: Moments, batch: Batch) -> Moments:
    """Moments [S f ...] at the frames of a batch: [S B T ...], or [S 1 1 ...] if pooled (f = 1).

    Frames after the last one with moments take those of the last.
    """
    n = moments.mean.shape[1]
    if n == 1:
        return Moments(*(x[:, None] for x in moments))
    frame = batch.first_frame[..., None] + jnp.arange(batch.video.shape[2])  # [S B T]
    return Moments(*(jax.vmap(lambda x, i: x[i])(x, jnp.minimum(frame, n - 1)) for x in moments))
