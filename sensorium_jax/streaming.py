"""Prediction for films that come in pieces: in real time, or too long to be held at once."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import model as models
from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.types import Batch, Neurons, Params, Statistics


class Stream:
    """One mouse that watches one film, from its first frame on.

    However the film is cut into pieces, the predictions together are those of the whole: what
    recurrences know, and the frames that kernels reach back to, are carried along. Pieces of one
    length share a compiled program.
    """

    def __init__(
        self, model: models.Model, params: Params, neurons: Neurons, statistics: Statistics
    ):
        """Weights, neurons and statistics are those of one session; its axis is kept."""
        self._model, self._params = model, params
        self._neurons, self._statistics = neurons, statistics
        self._memory: models.Memory | None = None
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
            [T' N] expected responses, in the recording's own unit. T' is T but for the first
            frames of the film, of which the model's warm-up has none.

        Raises:
            UserError: arrays of other shapes.
        """
        check_film(video, behavior, pupil_center)
        frames = len(video)
        batch = Batch(
            *(np.asarray(x)[None, None] for x in (video, behavior, pupil_center)),
            response=np.zeros((1, 1, frames, 0), np.float32),
            first_frame=np.full((1, 1), self._frames, np.int32),
            frame_mask=np.ones((1, 1, frames), bool),
        )
        rest = self._params, self._memory, batch, self._neurons, self._statistics
        response, self._memory = _go_on(self._model, *rest)
        self._frames += frames
        return np.asarray(response)[:, np.asarray(self._neurons.mask[0])]


def check_film(video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray) -> None:
    """Raise ``UserError`` unless they are [T H W], [T 2] and [T 2]."""
    frames = len(video)
    for name, x, shape in (
        ("video", video, (frames, protocol.HEIGHT, protocol.WIDTH)),
        ("behavior", behavior, (frames, 2)),
        ("pupil_center", pupil_center, (frames, 2)),
    ):
        if np.shape(x) != shape:
            raise UserError(f"expected {name} of shape {shape}, got {np.shape(x)}")


@functools.partial(jax.jit, static_argnames="model")
def _go_on(model, params, memory, batch, neurons, statistics):
    rate, memory = models.go_on(model, params, memory, batch, neurons, statistics)
    std = models.response_std(batch, statistics)
    std = jnp.broadcast_to(std, (*batch.video.shape[:3], std.shape[-1]))
    return (rate * std[:, :, std.shape[2] - rate.shape[2] :])[0, 0], memory
