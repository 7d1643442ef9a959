"""The Gaussian readout: each neuron reads the feature map at one learned position."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.nn.sampling import bilinear_dot
from sensorium_jax.types import Array, Neurons, PyTree

START = 0.01  # std of the last weights towards a position: the map unfolds from its centre, since
# one that starts unfolded the wrong way round, as a random one may, hardly ever turns


class Gaussian(nn.Module):
    """Full Gaussian readout (Lurz et al. 2021, "Generalization in data-driven models of primary
    visual cortex", ICLR) whose positions are predicted from the neurons' cortical coordinates.

    In training a neuron's position is drawn, for every frame, from a Gaussian around its mean
    with a learned covariance; in evaluation it is the mean. The gaze shift is added after the
    position is clipped to the map, so it may leave it: there, features are zero.

    Attributes:
        hidden: units of the perceptron from cortical (x, y) to a position on the map.
        init_sigma: largest entry of the covariance's factor at the start, in map half-widths.
        gamma: weight of the L1 norm of the feature weights in the penalty.
    """

    hidden: int = 30
    init_sigma: float = 1.0
    gamma: float = 0.0

    @nn.compact
    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one session [N ...], [B T' 2] -> [B T' N]."""
        b, t, h, w, f = features.shape
        n = neurons.mask.shape[-1]
        position = self._positions(neurons)  # [N 2]
        sigma = self.param("sigma", _symmetric_uniform(self.init_sigma), (n, 2, 2))
        weights = self.param("features", nn.initializers.constant(1 / f), (n, f))
        bias = self.param("bias", nn.initializers.zeros, (n,))

        if train:
            noise = jax.random.normal(self.make_rng("position"), (b * t, n, 2))
            position = position + jnp.einsum("ncd,mnd->mnc", sigma, noise)
        grid = jnp.broadcast_to(jnp.clip(position, -1, 1), (b * t, n, 2))
        if shift is not None:
            grid = grid + shift.reshape(b * t, 1, 2)
        drive = bilinear_dot(features.reshape(b * t, h, w, f), grid, weights) + bias
        return drive.reshape(b, t, n)

    def _positions(self, neurons: Neurons) -> Array:
        """Positions on the map in -1..1, (x, y): [N 2]."""
        hidden = nn.elu(nn.Dense(self.hidden, name="position_hidden")(cortical_grid(neurons)))
        out = nn.Dense(2, kernel_init=nn.initializers.normal(START), name="position_out")
        return jnp.tanh(out(hidden))

    def penalty(self, weights: PyTree) -> Array:
        """L1 norm of the feature weights times gamma: -> []."""
        return self.gamma * jnp.sum(jnp.abs(weights["features"]))


def cortical_grid(neurons: Neurons) -> Array:
    """Cortical x and y, centred and divided by the largest magnitude of either: [N 2].

    One common divisor keeps the aspect ratio, as in the reference; padding does not count.
    """
    real = neurons.mask[:, None]
    xy = neurons.position_um[:, :2]
    centred = jnp.where(real, xy - jnp.sum(jnp.where(real, xy, 0), 0) / jnp.sum(real), 0)
    return centred / jnp.max(jnp.abs(centred))


def _symmetric_uniform(limit: float) -> nn.initializers.Initializer:
    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init
