"""Stacked three-dimensional convolutions, over frames, rows and columns."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax.linen import initializers

from sensorium_jax.models.cores.factorized import Factorized3D
from sensorium_jax.models.cores.layered import inputs
from sensorium_jax.models.nn import conv, hermite, penalties, temporal
from sensorium_jax.types import Array, PyTree


class Full3D(Factorized3D):
    """Layers of 3D convolutions ("Basic3dCore" in neuralpredictors), the 3D model of the starter
    kit's ``models_demo.ipynb``.

    Its options are those of ``Factorized3D``. The penalty sums the spatial roughness over the
    kernel's frames and the temporal roughness over its pixels, as neuralpredictors does.

    Examples:
        >>> core = Full3D(channels=4, layers=2, kernel=5, frames=3)
        >>> core.warmup_frames, core.memory_frames  # 2 x (3 - 1)
        (4, 4)
        >>> from sensorium_jax.models.check import core_variables
        >>> core_variables(core, frames=6)["params"]["kernel0"].shape  # the video and two planes
        (3, 5, 5, 3, 4)
    """

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        frames, dilation = self._option("frames", layer), self._option("frame_dilation", layer)
        space, c = self._space_options(layer), x.shape[-1]
        kernel = self._kernel(layer, inputs(x, planes))
        y = conv.conv3d(x, kernel[..., :c, :], frame_dilation=dilation, **space)
        if planes is None:
            return y
        flat = _frames_as_channels(kernel[..., c:, :])
        stacked = conv.windows(planes, frames, dilation=dilation)  # [B T' frames*P]
        return y + conv.conv2d_constant(stacked, flat, x.shape[2:4], **space)

    def _kernel(self, layer: int, c_in: int) -> Array:
        """A layer's kernel, [F K L c_in D]."""
        name, channels = f"kernel{layer}", self._option("channels", layer)
        size, frames = self._kernel_size(layer), self._option("frames", layer)
        if self.basis == "pixels":
            shape = (frames, *size, c_in, channels)
            return self.param(name, initializers.lecun_normal(), shape)
        modes, functions = len(hermite.modes(size[0])), temporal.count(frames)

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            # Independent coefficients; their std is the product of both bases' stds.
            space = hermite.smooth_std(size[0])[:, None, None]
            time = temporal.smooth_std(frames)[:, None, None, None]
            return jax.random.normal(key, shape) * space * time / math.sqrt(c_in)

        return self._pixels(self.param(name, init, (functions, modes, c_in, channels)), layer)

    def _pixels(self, kernel: Array, layer: int) -> Array:
        """The kernel [F K L C D] of its parameters in the core's basis."""
        if self.basis == "pixels":
            return kernel
        frames = self._frames(kernel, layer)  # [F modes C D]
        return jax.vmap(lambda k: super(Full3D, self)._pixels(k, layer))(frames)

    def spatial_filters(self, weights: PyTree) -> Array:
        """The first layer's kernels on the newest frame of the video: [K L D]."""
        return self._pixels(weights["kernel0"], 0)[-1][:, :, 0]

    def penalty(self, weights: PyTree) -> Array:
        """gamma_space roughness(space) + gamma_time roughness(time) of the first layer: -> []."""
        kernel = self._pixels(weights["kernel0"], 0)  # [F K L C D]
        pixels = kernel.reshape(kernel.shape[0], -1, *kernel.shape[3:])
        space = jnp.sum(jax.vmap(self.smoothness)(kernel))
        time = jax.vmap(lambda k: penalties.laplace_time(k, center=self.time_center), 1)(pixels)
        return self.gamma_space * space + self.gamma_time * jnp.sum(time)


def _frames_as_channels(kernel: Array) -> Array:
    """[F K L C D] -> [K L F*C D], in the channel order of ``conv.windows``."""
    return jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
