"""The core of the factorised baseline: convolutions in space, then over frames."""

from __future__ import annotations

from flax.linen import initializers

from sensorium_jax.cores.layered import LayeredCore, Paddings, inputs
from sensorium_jax.nn import conv, penalties
from sensorium_jax.types import Array, PyTree


class Factorized3D(LayeredCore):
    """Layers of a 2D convolution followed by one over frames ("Factorized3dCore" in
    neuralpredictors), the factorised baseline of the benchmark.

    Time is never padded: the first ``warmup_frames`` frames have no features.

    Attributes, besides those of ``LayeredCore``:
        frames: length of the kernels over time.
        frame_dilation: frames between neighbouring taps.
        gamma_space: weight of the roughness of the first layer's spatial filters in the penalty.
        gamma_time: weight of that of its temporal filters.
        time_center: the filter that finds the latter is (-1, ``time_center``, -1).
    """

    channels: int | tuple[int, ...] = (32, 64, 128)
    layers: int = 3
    kernel: int | tuple[int | tuple[int, int], ...] = (11, 5)
    padding: Paddings = "valid"
    final_nonlinearity: bool = True
    frames: int | tuple[int, ...] = (11, 5)
    frame_dilation: int | tuple[int, ...] = 1
    gamma_space: float = 10.0
    gamma_time: float = 0.01
    time_center: float = 2.0

    per_layer = (*LayeredCore.per_layer, "frames", "frame_dilation")

    @property
    def warmup_frames(self) -> int:
        """Frames that the kernels over time take away at the start."""
        lengths = range(self.layers)
        return sum((self._of("frames", i) - 1) * self._of("frame_dilation", i) for i in lengths)

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        channels, init = self._of("channels", layer), initializers.lecun_normal()
        shape = (*self._kernel_size(layer), inputs(x, planes), channels)
        x = self._convolve_frames(x, planes, self.param(f"space{layer}", init, shape), layer)
        kernel = self.param(f"time{layer}", init, (self._of("frames", layer), channels, channels))
        return conv.conv_time(x, kernel, dilation=self._of("frame_dilation", layer))

    def penalty(self, weights: PyTree) -> Array:
        """Smooth filters in space and time, of the first layer: -> []."""
        space = self.smoothness(weights["space0"])
        time = penalties.laplace_time(weights["time0"], center=self.time_center)
        return self.gamma_space * space + self.gamma_time * time
