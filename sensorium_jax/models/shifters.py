"""Shifters: from gaze to a shift of all receptive fields of a mouse.

A shifter is a ``flax.linen`` module ``(pupil_center [B T 2], behavior [B T 2], *, train) -> shift
[B T 2]`` in half-widths of the feature map, with separate parameters per mouse.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.parts import Shifter
from sensorium_jax.types import Array

__all__ = ["MLP", "StaticAffine"]


class MLP(Shifter):
    """A perceptron with tanh after every layer (neuralpredictors).

        shift = tanh(W_L ... tanh(W_1 pupil_center + b_1) ... + b_L),  W_L = 0 and b_L = 0 at first

    It starts with shift zero: a random shift would move receptive fields far off the map.

    Attributes:
        layers: number L of layers.
        hidden: width of all but the last.

    Examples:
        >>> import jax
        >>> gaze = jnp.ones((1, 4, 2))
        >>> shift, _ = MLP(layers=1).init_with_output(jax.random.key(0), gaze, gaze, train=False)
        >>> shift.shape, float(abs(shift).max())
        ((1, 4, 2), 0.0)
    """

    layers: int = 3
    hidden: int = 5

    def __post_init__(self):
        check_ranges(self, {"layers": (1, 1000), "hidden": (1, 65_536)})
        super().__post_init__()

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
    """shift = tanh(W pupil_center + b), zero at first (``StaticAffine2d`` in neuralpredictors).

    Attributes:
        bias: learn the offset b.

    Examples:
        >>> import jax
        >>> gaze = jnp.ones((1, 4, 2))
        >>> params = StaticAffine(bias=False).init(jax.random.key(0), gaze, gaze, train=False)
        >>> jax.tree.map(jnp.shape, params)
        {'params': {'dense': {'kernel': (2, 2)}}}
    """

    bias: bool = True

    @nn.compact
    def __call__(self, pupil_center: Array, behavior: Array, *, train: bool) -> Array:
        """[B T 2] normalised pupil positions -> [B T 2]."""
        del behavior, train
        dense = nn.Dense(2, self.bias, kernel_init=nn.initializers.zeros, name="dense")
        return jnp.tanh(dense(pupil_center))
