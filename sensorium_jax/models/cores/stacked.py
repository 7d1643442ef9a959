"""Stacked convolutions over single frames."""

from __future__ import annotations

import math
from typing import ClassVar

import flax.linen as nn
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
        gamma_hidden: weight of the group sparsity of the other layers' filters; it has no effect
            on depth-separable layers (as in neuralpredictors).
        stack: layers whose maps are the features, concatenated: (-1,) for the last alone. Their
            maps must be of one size.
        depth_separable: all layers but the first are products of a convolution of one pixel over
            channels, one over pixels in each channel, and another over channels.

    Examples:
        >>> from sensorium_jax.models.check import features_shape
        >>> core = Stacked2D(channels=4, layers=2, kernel=(9, 7))  # padding ("valid", "same")
        >>> features_shape(core, frames=3)  # 2 trials; the first layer trims 8 pixels
        (2, 3, 28, 56, 4)
    """

    gamma_input: float = 500.0
    gamma_hidden: float = 500_000.0
    stack: tuple[int, ...] = (-1,)
    depth_separable: bool = False

    ranges: ClassVar = LayeredCore.ranges | {
        "gamma_input": (0, math.inf),
        "gamma_hidden": (0, math.inf),
    }
    warmup_frames = 0

    def __post_init__(self):
        super().__post_init__()
        if not self.stack or not all(-self.layers <= i < self.layers for i in self.stack):
            raise ValueError(
                f"expected a stack of layers {-self.layers} to {self.layers - 1}, got {self.stack}"
            )
        if self.depth_separable and self.basis != "pixels":
            raise ValueError("expected depth-separable layers in the basis of pixels")

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        if self._is_separable(layer):
            ones = jnp.ones((*x.shape[:2], 1), x.dtype)  # inside of the map; its padding is 0
            return self._convolve_frames(x, ones, self._separable_kernel(x.shape[-1], layer), layer)
        kernel = self._space_kernel(f"kernel{layer}", layer, inputs(x, planes))
        return self._convolve_frames(x, planes, kernel, layer)

    def _is_separable(self, layer: int) -> bool:
        return self.depth_separable and layer > 0

    def _separable_kernel(self, c_in: int, layer: int) -> Array:
        """The product of a layer's kernels, and below it that of the first one's bias: [K L C+1 D].

        The biases of the other two are constant, and so are part of the layer's offset.
        """
        channels, normal = self._option("channels", layer), nn.initializers.lecun_normal()
        channels_in = self.param(f"in{layer}", normal, (c_in, channels))
        bias = self.param(f"in_bias{layer}", nn.initializers.zeros, (channels,))
        space = self.param(f"space{layer}", normal, (*self._kernel_size(layer), 1, channels))
        channels_out = self.param(f"out{layer}", normal, (channels, channels))
        return _product(jnp.concatenate([channels_in, bias[None]]), space, channels_out)

    def filters(self, weights: PyTree, layer: int) -> Array:
        """The kernels of a layer: [K L C D].

        Examples:
            >>> core = Stacked2D(basis="hermite", kernel=5)
            >>> core.filters({"kernel1": jnp.ones((15, 8, 8))}, 1).shape  # 15 modes
            (5, 5, 8, 8)
        """
        if self._is_separable(layer):
            return _product(*(weights[f"{name}{layer}"] for name in ("in", "space", "out")))
        return self._pixels(weights[f"kernel{layer}"], layer)

    def spatial_filters(self, weights: PyTree) -> Array:
        """The first layer's kernels on the video: [K L D]."""
        return self.filters(weights, 0)[:, :, 0]

    def penalty(self, weights: PyTree) -> Array:
        """gamma_input roughness(first layer) + gamma_hidden mean sparsity(other layers): -> []."""
        smooth = self.gamma_input * self.smoothness(self.filters(weights, 0))
        layers = () if self.depth_separable else range(1, self.layers)
        hidden = [penalties.group_sparsity(self.filters(weights, i)) for i in layers]
        return smooth + self.gamma_hidden * jnp.mean(jnp.stack(hidden)) if hidden else smooth


def _product(channels_in: Array, space: Array, channels_out: Array) -> Array:
    """The kernel [K L C D] of kernels [C M], [K L 1 M] and [M D], one after the other."""
    return jnp.einsum("cm,klm,md->klcd", channels_in, space[:, :, 0], channels_out)
