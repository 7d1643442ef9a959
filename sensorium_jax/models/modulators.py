"""Modulators: from behaviour to a gain on every neuron's rate.

A modulator is a ``flax.linen`` module ``(behavior [B T 2], neurons, *, train) -> gain [B T N]``
for one mouse, with separate parameters per mouse.
"""

from __future__ import annotations

import flax.linen as nn

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.parts import Modulator
from sensorium_jax.types import Array, Neurons

__all__ = ["MLP"]


class MLP(Modulator):
    """gain_n = ELU(perceptron_n(behavior)) + 1, positive, with ELU between the layers.

    It starts with gain 1 for every neuron: the last weights are zero and ELU(0) + 1 = 1.

    Attributes:
        layers: number of layers.
        hidden: width of all but the last.

    Examples:
        >>> import jax, numpy as np
        >>> neurons = Neurons(np.zeros((5, 3)), np.ones(5), np.ones(5, bool))
        >>> behavior = np.ones((2, 4, 2), np.float32)
        >>> run = MLP(layers=1).init_with_output
        >>> gain, _ = run(jax.random.key(0), behavior, neurons, train=False)
        >>> gain.shape, float(gain.min()), float(gain.max())
        ((2, 4, 5), 1.0, 1.0)
    """

    layers: int = 2
    hidden: int = 8

    def __post_init__(self):
        check_ranges(self, {"layers": (1, 1000), "hidden": (1, 65_536)})
        super().__post_init__()

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
