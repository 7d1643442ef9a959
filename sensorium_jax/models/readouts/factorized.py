"""The factorised readout: each neuron has a mask over the map and weights over the features."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import mesh
from sensorium_jax.models.nn.clipping import clip_forward
from sensorium_jax.models.nn.penalties import magnitude
from sensorium_jax.models.parts import Readout
from sensorium_jax.types import Array, Neurons, PyTree

EPSILON = 1e-6  # keeps the norm of an empty mask positive (neuralpredictors)


class Factorized(Readout):
    """A neuron's weights are the outer product of a mask [h w] and features [F] (Klindt, Ecker,
    Euler & Bethge 2017, "Neural system identification for large populations separating 'what'
    and 'where'", NeurIPS): ``FullFactorized2d`` in neuralpredictors.

    It has no position, so no shifter can move it.

    Attributes:
        normalize: divide every mask by its Euclidean norm.
        positive: masks and features are clipped at zero.
        init_noise: std of masks and features at the start.
        bias: one offset a neuron.
        gamma: weight of the L1 norm of the weights in the penalty.
        all_pairs: the penalty multiplies the sum of *all* masks by the sum of *all* features, as
            neuralpredictors does through a broadcast of [N, 1] with [N]; else each neuron's mask
            by its own features.
    """

    normalize: bool = True
    positive: bool = False
    init_noise: float = 0.001
    bias: bool = True
    gamma: float = 0.0
    all_pairs: bool = False

    takes_shift = False

    @nn.compact
    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one session [N ...], None -> [B T' N]."""
        del shift, train
        h, w, f = features.shape[2:]
        n = neurons.mask.shape[-1]

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            real = neurons.mask.reshape(n, *(1 for _ in shape[1:]))
            return jnp.where(real, self.init_noise * jax.random.normal(key, shape), 0.0)

        mask = self._mask(self.param("mask", init, (n, h, w)))
        weights = self._weights(self.param("features", init, (n, f)))
        # Smaller than all weights, [n h w f].
        seen = jnp.einsum(
            "bthwf,nhw->btnf",
            features,
            mask.astype(features.dtype),
            preferred_element_type=jnp.float32,
        )
        drive = jnp.einsum("btnf,nf->btn", seen, weights)
        return drive + self.param("bias", nn.initializers.zeros, (n,)) if self.bias else drive

    def _mask(self, mask: Array) -> Array:
        if self.normalize:
            square = jnp.sum(mask**2, (1, 2), keepdims=True)
            tiny = jnp.finfo(mask.dtype).tiny  # keeps the gradient of an empty mask finite
            mask = mask / (jnp.sqrt(square + tiny) + EPSILON)
        return clip_forward(mask, 0.0) if self.positive else mask

    def _weights(self, features: Array) -> Array:
        return clip_forward(features, 0.0) if self.positive else features

    def penalty(self, weights: PyTree) -> Array:
        """Sum over neurons of ||mask||_1 ||features||_1, times gamma: -> []."""
        mask = jnp.sum(magnitude(self._mask(weights["mask"])), (1, 2))  # [N]
        features = jnp.sum(magnitude(self._weights(weights["features"])), 1)  # [N]
        if self.all_pairs:
            sums = (mesh.sum_over_neurons(jnp.sum(x)) for x in (mask, features))
            return self.gamma * math.prod(sums)
        return self.gamma * mesh.sum_over_neurons(jnp.sum(mask * features))
