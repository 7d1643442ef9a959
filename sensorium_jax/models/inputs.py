"""Normalisation of what was recorded, and the units of responses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array, Batch, Moments, Statistics

SIGNALS = "pupil_size", "running", "gaze"


def mute_signals(
    behavior: Array, pupil_center: Array, without: tuple[str, ...]
) -> tuple[Array, Array]:
    """Zeros for the signals that a model does without; [... 2] is pupil size, running speed."""
    if not without:
        return behavior, pupil_center
    kept = np.array([name not in without for name in SIGNALS], np.float32)
    return behavior * kept[:2], pupil_center * kept[2]


def normalise_inputs(batch: Batch, statistics: Statistics) -> tuple[Array, Array, Array]:
    """Video and pupil position standardised; behaviour divided by its std, its mean kept.

    As neuralpredictors' ``NeuroNormalizer`` does. Returns video [S B T H W], behavior [S B T 2],
    pupil_center [S B T 2], all float32.
    """
    video, behavior, pupil = (
        _at_frames(moments, batch)
        for moments in (statistics.video, statistics.behavior, statistics.pupil_center)
    )
    return (
        (batch.video.astype(jnp.float32) - video.mean) / video.std,
        batch.behavior / behavior.std,
        (batch.pupil_center - pupil.mean) / pupil.std,
    )


def normalise_response(batch: Batch, statistics: Statistics) -> Array:
    """Responses in units of their std: [S B T N]."""
    return batch.response / response_std(batch, statistics)


def response_std(batch: Batch, statistics: Statistics) -> Array:
    """The unit of rates at the frames of a batch: [S B T N], or [S 1 1 N] when pooled."""
    return _at_frames(statistics.response, batch).std


def _at_frames(moments: Moments, batch: Batch) -> Moments:
    """Moments [S f ...] of the frames of a batch: [S B T ...], or [S 1 1 ...] when pooled."""
    n = moments.mean.shape[1]
    if n == 1:
        return Moments(*(x[:, None] for x in moments))
    frame = batch.first_frame[..., None] + jnp.arange(batch.video.shape[2])  # [S B T]
    return Moments(*(jax.vmap(lambda x, i: x[i])(x, jnp.minimum(frame, n - 1)) for x in moments))
