"""The Gaussian readout: each neuron reads the feature map at one learned position."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import mesh
from sensorium_jax.models.nn.clipping import clip_forward
from sensorium_jax.models.nn.penalties import magnitude
from sensorium_jax.models.nn.sampling import bilinear_dot
from sensorium_jax.models.parts import Readout
from sensorium_jax.types import Array, Neurons, PyTree

START = 0.01  # std of the last weights towards a position: the map unfolds from its centre, since
# one that starts unfolded the wrong way round, as a random one may, hardly ever turns


class Gaussian(Readout):
    """Gaussian readout (Lurz et al. 2021, "Generalization in data-driven models of primary
    visual cortex", ICLR): ``FullGaussian2d`` in neuralpredictors.

    In training a neuron's position is drawn, for every frame, from a Gaussian around its mean
    with a learned covariance; in evaluation it is the mean. The gaze shift is added after the
    position is clipped to the map, so it may leave it: there, features are zero.

    Attributes:
        gauss: "full" learns a 2 x 2 factor of the covariance, "uncorrelated" a std along x and
            one along y, "isotropic" one for both.
        cortical: positions are a perceptron's output for the neurons' cortical coordinates; else
            each is free.
        hidden: units of a hidden layer of that perceptron.
        hidden_layers: their number; 0 makes it linear.
        dimensions: cortical coordinates that it sees: 1 for x, 2 for y too, 3 for depth too.
        final_tanh: keep its output on the map by tanh.
        init_sigma: largest entry of the covariance's factor at the start, or the std itself, in
            map half-widths.
        init_position: free positions start within this distance from the centre, in x and in y.
        bias: one offset a neuron.
        gamma: weight of the L1 norm of the feature weights in the penalty.
    """

    gauss: Literal["full", "uncorrelated", "isotropic"] = "full"
    cortical: bool = True
    hidden: int = 30
    hidden_layers: int = 1
    dimensions: int = 2
    final_tanh: bool = True
    init_sigma: float = 1.0
    init_position: float = 0.2
    bias: bool = True
    gamma: float = 0.0

    takes_shift = True

    def __post_init__(self):
        if self.gauss not in ("full", "uncorrelated", "isotropic"):
            raise ValueError(f"expected gauss full, uncorrelated or isotropic, got {self.gauss!r}")
        if self.dimensions not in (1, 2, 3):
            raise ValueError(f"expected 1 to 3 dimensions, got {self.dimensions}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one session [N ...], [B T' 2] -> [B T' N]."""
        b, t, h, w, f = features.shape
        n = neurons.mask.shape[-1]
        position = self._predicted(neurons) if self.cortical else self._free(n)  # [N 2]
        self.sow("intermediates", "position", position)  # for those who ask
        factor = self._factor(n)
        mean = jnp.broadcast_to(neurons.mask[:, None] / jnp.float32(f), (n, f))
        weights = self.param("features", lambda _: mean)

        if train:
            noise = jax.random.normal(self.make_rng("position"), (b * t, n, 2))
            position = position + _scaled(factor, noise)
        grid = jnp.broadcast_to(jnp.clip(position, -1, 1), (b * t, n, 2))
        if shift is not None:
            grid = grid + shift.reshape(b * t, 1, 2)
        drive = bilinear_dot(features.reshape(b * t, h, w, f), grid, weights)
        if self.bias:
            drive += self.param("bias", nn.initializers.zeros, (n,))
        return drive.reshape(b, t, n)

    def _predicted(self, neurons: Neurons) -> Array:
        """Positions on the map, (x, y) in -1..1, from cortical ones: [N 2]."""
        x = cortical_grid(neurons, self.dimensions)
        for layer in range(self.hidden_layers):
            x = nn.elu(nn.Dense(self.hidden, name=f"position{layer}")(x))
        out = nn.Dense(2, kernel_init=nn.initializers.normal(START), name="position_out")(x)
        return jnp.tanh(out) if self.final_tanh else out

    def _free(self, n: int) -> Array:
        """Positions that are parameters: [N 2]."""
        position = self.param("position", _symmetric_uniform(self.init_position), (n, 2))
        return clip_forward(position, -1.0, 1.0)

    def _factor(self, n: int) -> Array:
        """What scales the position's noise: [N 2 2], [N 2] or [N 1]."""
        if self.gauss == "full":
            return self.param("sigma", _symmetric_uniform(self.init_sigma), (n, 2, 2))
        columns = 2 if self.gauss == "uncorrelated" else 1
        return self.param("sigma", nn.initializers.constant(self.init_sigma), (n, columns))

    def penalty(self, weights: PyTree) -> Array:
        """L1 norm of the feature weights times gamma: -> []."""
        return self.gamma * mesh.sum_over_neurons(jnp.sum(magnitude(weights["features"])))


def cortical_grid(neurons: Neurons, dimensions: int = 2) -> Array:
    """Cortical coordinates, centred and divided by the largest magnitude of any: [N dimensions].

    One common divisor keeps the aspect ratio, as in the reference; padding does not count.
    """
    real = neurons.mask[:, None]
    xyz = neurons.position_um[:, :dimensions]
    sums = jnp.sum(jnp.where(real, xyz, 0), 0), jnp.sum(real)
    total, count = (mesh.sum_over_neurons(x) for x in sums)
    centred = jnp.where(real, xyz - total / count, 0)
    return centred / mesh.max_over_neurons(jnp.max(jnp.abs(centred)))


def _scaled(factor: Array, noise: Array) -> Array:
    """Standard normal noise [M N 2] with the covariance of a factor [N 2 2], [N 2] or [N 1]."""
    return jnp.einsum("ncd,mnd->mnc", factor, noise) if factor.ndim == 3 else factor * noise


def _symmetric_uniform(limit: float) -> nn.initializers.Initializer:
    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init
