"""Modulators: from behaviour to a gain on every neuron's rate.

A modulator is a ``flax.linen`` module ``(behavior [B T 2], neurons, *, train) -> gain [B T N]``
for one session, with parameters of its own.
"""

from __future__ import annotations

import flax.linen as nn

from sensorium_jax.models.parts import Modulator
from sensorium_jax.types import Array, Neurons

__all__ = ["MLP"]


class MLP(Modulator):
    """A perceptron with ELU between its layers; the gain is ELU(x) + 1, positive.

    It starts at a gain of one for everybody.

    Attributes:
        layers: number of layers.
        hidden: units of all but the last.
    """

    layers: int = 2
    hidden: int = 8

    @nn.compact
    def __call__(self, behavior: Array, neurons: Neurons, *, train: bool) -> Array:
        """[B T 2] normalised pupil size and running speed -> [B T N]."""
        del train
        x = behavior
        for layer in range(self.layers - 1):
            x = nn.elu(nn.Dense(self.hidden, name=f"dense{layer}")(x))
        n = neurons.mask.shape[-1]
        last = nn.Dense(n, kernel_init=nn.initializers.zeros, name=f"dense{self.layers - 1}")
        return nn.elu(last(x)) + 1
