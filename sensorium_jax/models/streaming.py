"""Prediction for videos in pieces: in real time, or longer than memory allows."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.models.check import check_streaming
from sensorium_jax.models.inputs import mute_signals, normalise_inputs, response_std
from sensorium_jax.models.model import Model, compute_features, compute_rate
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics


class Carry(NamedTuple):
    """State between two calls of ``step``."""

    frames: tuple[Array, ...]  # normalised inputs [S B m ...], m at most memory_frames
    core: PyTree  # states of recurrences; empty before the first


def step(
    model: Model,
    params: Params,
    carry: Carry | None,
    batch: Batch,
    neurons: Neurons,
    statistics: Statistics,
) -> tuple[Array, Carry]:
    """``apply`` to the next piece of a video; the rates of all pieces are those of the uncut video.

    Args:
        model: parts and options.
        params: its weights and running statistics.
        carry: from the previous piece; None at the start.
        batch: the next frames of every video, one or more.
        neurons: of the same mice.
        statistics: of the same mice.

    Returns:
        Rate [S B T' N] of the new frames, except warm-up frames; and the carry for the next piece.
    """
    inputs = normalise_inputs(batch, statistics)
    inputs = (inputs[0], *mute_signals(*inputs[1:], model.without))
    if carry is not None:
        inputs = tuple(jnp.concatenate(x, axis=2) for x in zip(carry.frames, inputs, strict=True))
    video, behavior, pupil_center = inputs
    core, frames = model.core, video.shape[2]
    memory = core.warmup_frames if core.memory_frames is None else core.memory_frames
    recent_inputs = tuple(x[:, :, max(0, frames - memory) :] for x in inputs)
    states = {} if carry is None else carry.core
    if frames <= core.warmup_frames:
        no_rate = jnp.zeros((*video.shape[:2], 0, neurons.mask.shape[1]))
        return no_rate, Carry(recent_inputs, states)
    keys = jax.random.split(jax.random.key(0), video.shape[0])
    run = functools.partial(compute_features, model, params, train=False, mutable=["carry"])
    features, states = run(video, behavior, pupil_center, keys, carry=states)
    features = features[:, :, -batch.video.shape[2] :]  # of the new frames
    rate = compute_rate(model, params, features, behavior, pupil_center, neurons, keys, train=False)
    return rate, Carry(recent_inputs, dict(states))


class Stream:
    """Prediction for one mouse and one video, from its first frame.

    The predictions do not depend on how the video is cut into pieces: states of recurrences and the
    last ``memory_frames`` frames are kept between pieces. Pieces of equal length share one compiled
    program.
    """

    def __init__(self, model: Model, params: Params, neurons: Neurons, statistics: Statistics):
        """Weights, neurons and statistics of one mouse, with the session axis of length 1."""
        self._model, self._params = model, params
        self._neurons, self._statistics = neurons, statistics
        self._carry: Carry | None = None
        self._frames = 0

    def predict(
        self, video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray
    ) -> np.ndarray:
        """Predict responses to the next T frames.

        Args:
            video: [T H W] grey levels 0..255.
            behavior: [T 2] pupil size and running speed, as recorded.
            pupil_center: [T 2] x and y, as recorded.

        Returns:
            [T' N] expected responses, in the unit of the recording. T' = T, except in the first
            ``warmup_frames`` frames of the video, which have no prediction.

        Raises:
            UserError: arrays of other shapes, or a second piece for a core that cannot stream.
        """
        check_film(video, behavior, pupil_center, first_frame=self._frames)
        frames = len(video)
        batch = Batch(
            *(np.asarray(x)[None, None] for x in (video, behavior, pupil_center)),
            response=np.zeros((1, 1, frames, 0), np.float32),
            first_frame=np.full((1, 1), self._frames, np.int32),
            frame_mask=np.ones((1, 1, frames), bool),
        )
        if self._carry is not None:
            check_streaming(self._model.core)
        state = self._params, self._carry, batch, self._neurons, self._statistics
        response, self._carry = _step(self._model, *state)
        self._frames += frames
        return np.asarray(response)[:, np.asarray(self._neurons.mask[0])]


def check_film(
    video: np.ndarray,
    behavior: np.ndarray,
    pupil_center: np.ndarray,
    *,
    first_frame: int = 0,
) -> None:
    """Check that shapes are [T H W], [T 2] and [T 2].

    Raises:
        UserError: another shape; the message names the array.

    Examples:
        >>> check_film(np.zeros((10, 36, 64)), np.zeros((10, 2)), np.zeros((9, 2)))
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: expected pupil_center of shape (10, 2), got (9, 2)
    """
    frames = len(video)
    for name, x, shape in (
        ("video", video, (frames, protocol.HEIGHT, protocol.WIDTH)),
        ("behavior", behavior, (frames, 2)),
        ("pupil_center", pupil_center, (frames, 2)),
    ):
        if np.shape(x) != shape:
            raise UserError(f"expected {name} of shape {shape}, got {np.shape(x)}")
        finite = np.isfinite(x).reshape(frames, -1).all(1)
        if not finite.all():  # it would stay in what recurrences carry
            frame = first_frame + int((~finite).argmax())
            raise UserError(
                f"expected numbers in {name}, got NaN or infinity in frame {frame}; predict that "
                "frame with the value before it, or leave it out"
            )


@functools.partial(jax.jit, static_argnames="model")
def _step(model, params, carry, batch, neurons, statistics):
    rate, carry = step(model, params, carry, batch, neurons, statistics)
    std = response_std(batch, statistics)
    std = jnp.broadcast_to(std, (*batch.video.shape[:3], std.shape[-1]))
    return (rate * std[:, :, std.shape[2] - rate.shape[2] :])[0, 0], carry
