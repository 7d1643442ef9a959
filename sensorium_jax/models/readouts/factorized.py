"""The factorised readout: each neuron has a mask over the map and weights of the features."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.nn import mesh
from sensorium_jax.models.nn.clipping import clip_forward
from sensorium_jax.models.nn.penalties import magnitude
from sensorium_jax.models.parts import Readout
from sensorium_jax.types import Array, Neurons, PyTree

EPSILON = 1e-6  # keeps the norm of an empty mask positive (neuralpredictors)


class Factorized(Readout):
    """Factorised readout (Klindt, Ecker, Euler & Bethge 2017, "Neural system identification for
    large populations separating 'what' and 'where'", NeurIPS): ``FullFactorized2d`` in
    neuralpredictors.

        drive_n = b_n + sum_ijc mask_nij w_nc F_ijc
        penalty = gamma sum_n |mask_n|_1 |w_n|_1

    A neuron has no position, so a shifter has no effect.

    Attributes:
        normalize: divide every mask by its Euclidean norm.
        positive: masks and feature weights are clipped at zero.
        init_noise: std of masks and feature weights at the start.
        bias: one offset b per neuron.
        gamma: weight of the penalty.
        all_pairs: the penalty is gamma (sum_n |mask_n|_1) (sum_n |w_n|_1), as in neuralpredictors,
            which broadcasts [N, 1] with [N].

    Examples:
        >>> import functools
        >>> neurons = Neurons(jnp.zeros((5, 3)), jnp.ones(5), jnp.ones(5, bool))
        >>> features = jnp.zeros((2, 3, 6, 10, 8))  # 2 trials, 3 frames, maps of 6 x 10, 8 features
        >>> init = functools.partial(Factorized().init, train=False)
        >>> params = jax.eval_shape(init, jax.random.key(0), features, neurons, None)["params"]
        >>> params["mask"].shape, params["features"].shape
        ((5, 6, 10), (5, 8))
    """

    normalize: bool = True
    positive: bool = False
    init_noise: float = 0.001
    bias: bool = True
    gamma: float = 0.0
    all_pairs: bool = False

    takes_shift = False

    def __post_init__(self):
        check_ranges(self, {"init_noise": (0, math.inf), "gamma": (0, math.inf)})
        super().__post_init__()

    @nn.compact
    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one mouse [N ...], None -> [B T' N]."""
        del shift, train
        h, w, f = features.shape[2:]
        n = neurons.mask.shape[-1]

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            is_neuron = neurons.mask.reshape(n, *(1 for _ in shape[1:]))
            return jnp.where(is_neuron, self.init_noise * jax.random.normal(key, shape), 0.0)

        mask = self._mask(self.param("mask", init, (n, h, w)))
        weights = self._weights(self.param("features", init, (n, f)))
        # Masks first: the product of masks and weights, [N h w F], would be larger.
        mask_sums = jnp.einsum(
            "bthwf,nhw->btnf",
            features,
            mask.astype(features.dtype),
            preferred_element_type=jnp.float32,
        )
        drive = jnp.einsum("btnf,nf->btn", mask_sums, weights)
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
        """gamma sum_n |mask_n|_1 |w_n|_1, or the product of sums with ``all_pairs``: -> [].

        Examples:
            >>> readout = Factorized(normalize=False, gamma=0.5)
            >>> weights = {"mask": jnp.ones((2, 3, 3)), "features": jnp.ones((2, 4))}
            >>> float(readout.penalty(weights))  # 0.5 x 2 neurons x 9 pixels x 4 features
            36.0
        """
        mask = jnp.sum(magnitude(self._mask(weights["mask"])), (1, 2))  # [N]
        features = jnp.sum(magnitude(self._weights(weights["features"])), 1)  # [N]
        if self.all_pairs:
            sums = (mesh.sum_over_neurons(jnp.sum(x)) for x in (mask, features))
            return self.gamma * math.prod(sums)
        return self.gamma * mesh.sum_over_neurons(jnp.sum(mask * features))
