"""Stacked three-dimensional convolutions, over space and time at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax.linen import initializers

from sensorium_jax.cores.factorized import Factorized3D
from sensorium_jax.cores.layered import inputs
from sensorium_jax.nn import conv, penalties
from sensorium_jax.types import Array, PyTree


class Full3D(Factorized3D):
    """Layers of 3D convolutions ("Basic3dCore" in neuralpredictors), the 3D model of the starter
    kit's ``models_demo.ipynb``.

    Its options are those of ``Factorized3D``. The penalty sums the roughness in space over the
    kernel's frames, and that in time over its pixels, as neuralpredictors does.
    """

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        frames, dilation = self._of("frames", layer), self._of("frame_dilation", layer)
        space, c = self._space(layer), x.shape[-1]
        size = (frames, *self._kernel_size(layer))
        shape = (*size, inputs(x, planes), self._of("channels", layer))
        kernel = self.param(f"kernel{layer}", initializers.lecun_normal(), shape)
        y = conv.conv3d(x, kernel[..., :c, :], frame_dilation=dilation, **space)
        if planes is None:
            return y
        flat = jnp.moveaxis(kernel[..., c:, :], 0, 2).reshape(*size[1:], -1, shape[-1])
        stacked = conv.windows(planes, frames, dilation=dilation)  # [B T' frames*P]
        return y + conv.conv2d_constant(stacked, flat, x.shape[2:4], **space)

    def penalty(self, weights: PyTree) -> Array:
        """Smooth filters in space and time, of the first layer: -> []."""
        kernel = weights["kernel0"]  # [F K L C D]
        pixels = kernel.reshape(kernel.shape[0], -1, *kernel.shape[3:])
        space = jnp.sum(jax.vmap(self.smoothness)(kernel))
        time = jax.vmap(lambda k: penalties.laplace_time(k, center=self.time_center), 1)(pixels)
        return self.gamma_space * space + self.gamma_time * jnp.sum(time)
