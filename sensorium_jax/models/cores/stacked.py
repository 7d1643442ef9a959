"""Stacked convolutions over single frames."""

from __future__ import annotations

import math
from typing import ClassVar

import jax.numpy as jnp

from sensorium_jax.models.cores.layered import LayeredCore, inputs
from sensorium_jax.models.nn import penalties
from sensorium_jax.types import Array, PyTree


class Stacked2D(LayeredCore):
    """Layers of 2D convolutions over single frames ("Stacked2dCore" in neuralpredictors).

    With ``recurrence=ConvGRU(kernel=7)`` it is the GRU model of the starter kit's
    ``models_demo.ipynb``; without recurrence features depend on one frame.

    Attributes, besides those of ``LayeredCore``:
        gamma_input: weight of the roughness of the first layer's filters in the penalty.
        gamma_hidden: weight of the group sparsity of the other layers' filters.

    Examples:
        >>> from sensorium_jax.models.check import features_shape
        >>> core = Stacked2D(channels=4, layers=2, kernel=(9, 7))  # padding ("valid", "same")
        >>> features_shape(core, frames=3)  # 2 trials; the first layer trims 8 pixels
        (2, 3, 28, 56, 4)
    """

    gamma_input: float = 500.0
    gamma_hidden: float = 500_000.0

    ranges: ClassVar = LayeredCore.ranges | {
        "gamma_input": (0, math.inf),
        "gamma_hidden": (0, math.inf),
    }
    warmup_frames = 0

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        kernel = self._space_kernel(f"kernel{layer}", layer, inputs(x, planes))
        return self._convolve_frames(x, planes, kernel, layer)

    def filters(self, weights: PyTree, layer: int) -> Array:
        """The kernels of a layer: [K L C D].

        Examples:
            >>> core = Stacked2D(basis="hermite", kernel=5)
            >>> core.filters({"kernel1": jnp.ones((15, 8, 8))}, 1).shape  # 15 modes
            (5, 5, 8, 8)
        """
        return self._pixels(weights[f"kernel{layer}"], layer)

    def spatial_filters(self, weights: PyTree) -> Array:
        """The first layer's kernels on the video: [K L D]."""
        return self.filters(weights, 0)[:, :, 0]

    def penalty(self, weights: PyTree) -> Array:
        """gamma_input roughness(first layer) + gamma_hidden mean sparsity(other layers): -> []."""
        smooth = self.gamma_input * self.smoothness(self.filters(weights, 0))
        hidden = [penalties.group_sparsity(self.filters(weights, i)) for i in range(1, self.layers)]
        return smooth + self.gamma_hidden * jnp.mean(jnp.stack(hidden)) if hidden else smooth
