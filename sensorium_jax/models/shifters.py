"""Shifters: from gaze to a shift of all receptive fields of a session.

A shifter is a ``flax.linen`` module ``(pupil_center [B T 2], behavior [B T 2], *, train) -> shift
[B T 2]`` in grid units (half-widths of the feature map), with parameters of its own per session.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.models.parts import Shifter
from sensorium_jax.types import Array

__all__ = ["MLP", "StaticAffine"]


class MLP(Shifter):
    """A perceptron with tanh after every layer, the last included (neuralpredictors).

    It starts at no shift: a random one would carry receptive fields far off the map.

    Attributes:
        layers: number of layers.
        hidden: units of all but the last.
    """

    layers: int = 3
    hidden: int = 5

    @nn.compact
    def __call__(self, pupil_center: Array, behavior: Array, *, train: bool) -> Array:
        """[B T 2] normalised pupil positions -> [B T 2]."""
        del behavior, train
        x = pupil_center
        for layer in range(self.layers - 1):
            x = jnp.tanh(nn.Dense(self.hidden, name=f"dense{layer}")(x))
        last = nn.Dense(2, kernel_init=nn.initializers.zeros, name=f"dense{self.layers - 1}")
        return jnp.tanh(last(x))


class StaticAffine(Shifter):
    """tanh of an affine map (``StaticAffine2d`` in neuralpredictors), starting at no shift.

    Attributes:
        bias: the map has an offset.
    """

    bias: bool = True

    @nn.compact
    def __call__(self, pupil_center: Array, behavior: Array, *, train: bool) -> Array:
        """[B T 2] normalised pupil positions -> [B T 2]."""
        del behavior, train
        dense = nn.Dense(2, self.bias, kernel_init=nn.initializers.zeros, name="dense")
        return jnp.tanh(dense(pupil_center))
