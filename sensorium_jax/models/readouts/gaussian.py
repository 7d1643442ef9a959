"""The Gaussian readout: each neuron reads the feature map at one learned position."""

from __future__ import annotations

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.nn import mesh
from sensorium_jax.models.nn.clipping import clip_forward
from sensorium_jax.models.nn.penalties import magnitude
from sensorium_jax.models.nn.sampling import bilinear_dot
from sensorium_jax.models.parts import Readout
from sensorium_jax.types import Array, Neurons, PyTree

# Initial std of the last weights of the position network. Small: all neurons start near the map's
# centre and spread in training. Positions that start spread out in a wrong orientation, as random
# weights may give, hardly ever turn.
POSITION_STD = 0.01

_RANGES = {
    "hidden": (1, 65_536),
    "hidden_layers": (0, 1000),
    "dimensions": (1, 3),
    "init_sigma": (0, math.inf),
    "init_position": (0, math.inf),
    "gamma": (0, math.inf),
}


class Gaussian(Readout):
    """Gaussian readout (Lurz et al. 2021, "Generalization in data-driven models of primary
    visual cortex", ICLR): ``FullGaussian2d`` in neuralpredictors.

        drive_n = b_n + sum_c w_nc F_c(p_n + shift)
        p_n ~ Normal(mu_n, Sigma_n) in training, p_n = mu_n in evaluation; clipped to the map

    F_c is the feature map, interpolated bilinearly and zero outside. In training every frame has
    its own sample of the position p. The gaze shift is added after the clipping, so it can move the
    position off the map.

    Attributes:
        gauss: "full" learns a 2 x 2 factor of the covariance Sigma, "uncorrelated" a std along x
            and one along y, "isotropic" one std for both.
        cortical: the mean positions mu are the output of a perceptron, the position network, whose
            input is the neurons' cortical coordinates; else they are parameters.
        hidden: width of the hidden layers of the position network.
        hidden_layers: number of its hidden layers; 0 makes it linear.
        dimensions: cortical coordinates in its input: 1 for x, 2 for x and y, 3 with depth.
        final_tanh: apply tanh to its output, which keeps positions on the map.
        init_sigma: largest entry of the covariance's factor at the start, or the std itself, in
            map half-widths.
        init_position: largest |x| and |y| of mean positions that are parameters, at the start.
        bias: one offset b per neuron.
        gamma: weight of the L1 norm of the feature weights in the penalty.

    Raises:
        ValueError: another ``gauss``, or ``dimensions`` beyond 1 to 3.

    Examples:
        >>> import functools
        >>> neurons = Neurons(jnp.eye(5, 3), jnp.ones(5), jnp.ones(5, bool))
        >>> features = jnp.ones((2, 3, 6, 10, 8))  # 2 trials, 3 frames, maps of 6 x 10, 8 features
        >>> init = functools.partial(Gaussian().init, train=False)
        >>> params = jax.eval_shape(init, jax.random.key(0), features, neurons, None)["params"]
        >>> params["features"].shape, params["sigma"].shape
        ((5, 8), (5, 2, 2))
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
        check_ranges(self, _RANGES)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one mouse [N ...], [B T' 2] or None -> [B T' N]."""
        b, t, h, w, f = features.shape
        n = neurons.mask.shape[-1]
        position = self._network_position(neurons) if self.cortical else self._free_position(n)
        self.sow("intermediates", "position", position)  # [N 2]; kept if the caller asks for it
        factor = self._covariance_factor(n)
        mean = jnp.broadcast_to(neurons.mask[:, None] / jnp.float32(f), (n, f))
        weights = self.param("features", lambda _: mean)

        if train:
            noise = jax.random.normal(self.make_rng("position"), (b * t, n, 2))
            position = position + _scale_noise(factor, noise)
        grid = jnp.broadcast_to(jnp.clip(position, -1, 1), (b * t, n, 2))
        if shift is not None:
            grid = grid + shift.reshape(b * t, 1, 2)
        drive = bilinear_dot(features.reshape(b * t, h, w, f), grid, weights)
        if self.bias:
            drive += self.param("bias", nn.initializers.zeros, (n,))
        return drive.reshape(b, t, n)

    def _network_position(self, neurons: Neurons) -> Array:
        """Positions on the map, (x, y) in -1..1, from cortical coordinates: [N 2]."""
        x = cortical_grid(neurons, self.dimensions)
        for layer in range(self.hidden_layers):
            x = nn.elu(nn.Dense(self.hidden, name=f"position{layer}")(x))
        out = nn.Dense(2, kernel_init=nn.initializers.normal(POSITION_STD), name="position_out")(x)
        return jnp.tanh(out) if self.final_tanh else out

    def _free_position(self, n: int) -> Array:
        """Positions that are parameters: [N 2]."""
        position = self.param("position", _symmetric_uniform(self.init_position), (n, 2))
        return clip_forward(position, -1.0, 1.0)

    def _covariance_factor(self, n: int) -> Array:
        """A factor L of the covariance, Sigma = L L^T: [N 2 2], or its diagonal [N 2] or [N 1]."""
        if self.gauss == "full":
            return self.param("sigma", _symmetric_uniform(self.init_sigma), (n, 2, 2))
        columns = 2 if self.gauss == "uncorrelated" else 1
        return self.param("sigma", nn.initializers.constant(self.init_sigma), (n, columns))

    def penalty(self, weights: PyTree) -> Array:
        """gamma sum_nc |w_nc|: -> [].

        Examples:
            >>> float(Gaussian(gamma=0.5).penalty({"features": jnp.full((2, 4), -1.0)}))
            4.0
        """
        return self.gamma * mesh.sum_over_neurons(jnp.sum(magnitude(weights["features"])))


def cortical_grid(neurons: Neurons, dimensions: int = 2) -> Array:
    """(xyz_n - mean) / max_n |xyz_n - mean| of cortical coordinates in um: [N dimensions].

    The maximum is over all neurons and coordinates: one divisor keeps the aspect ratio, as in the
    reference. Padded neurons are left out of mean and maximum; their coordinates are zero.

    Examples:
        >>> um = jnp.array([[0.0, 0.0, 200.0], [400.0, 100.0, 200.0], [0.0, 0.0, 0.0]])
        >>> neurons = Neurons(um, jnp.ones(3), jnp.array([True, True, False]))
        >>> cortical_grid(neurons).tolist()  # the third neuron is padding
        [[-1.0, -0.25], [1.0, 0.25], [0.0, 0.0]]
    """
    is_neuron = neurons.mask[:, None]
    xyz = neurons.position_um[:, :dimensions]
    sums = jnp.sum(jnp.where(is_neuron, xyz, 0), 0), jnp.sum(is_neuron)
    total, count = (mesh.sum_over_neurons(x) for x in sums)
    centred = jnp.where(is_neuron, xyz - total / count, 0)
    return centred / mesh.max_over_neurons(jnp.max(jnp.abs(centred)))


def _scale_noise(factor: Array, noise: Array) -> Array:
    """L z for standard normal noise z [M N 2] and a factor L [N 2 2], [N 2] or [N 1]: [M N 2]."""
    return jnp.einsum("ncd,mnd->mnc", factor, noise) if factor.ndim == 3 else factor * noise


def _symmetric_uniform(limit: float) -> nn.initializers.Initializer:
    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init
