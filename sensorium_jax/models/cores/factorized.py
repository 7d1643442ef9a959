"""The core of the factorised baseline: convolutions in space, then over frames."""

from __future__ import annotations

from flax.linen import initializers

from sensorium_jax.models.cores.layered import LayeredCore, Paddings, inputs
from sensorium_jax.models.nn import conv, penalties, temporal
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

    @classmethod
    def example(cls) -> Factorized3D:
        """Two layers of few maps, which take four frames away."""
        return cls(channels=2, layers=2, kernel=(5, 3), frames=(4, 2))

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        space = self._space_kernel(f"space{layer}", layer, inputs(x, planes))
        x = self._convolve_frames(x, planes, space, layer)
        return conv.conv_time(
            x, self._time_kernel(layer, x.shape[-1]), dilation=self._of("frame_dilation", layer)
        )

    def _time_kernel(self, layer: int, channels: int) -> Array:
        """A layer's kernel over frames: [F channels channels]."""
        name, frames = f"time{layer}", self._of("frames", layer)
        if self.basis == "pixels":
            shape = (frames, channels, channels)
            return self.param(name, initializers.lecun_normal(), shape)
        shape = (temporal.count(frames), channels, channels)
        return temporal.filters(self.param(name, temporal.smooth_normal, shape), frames)

    def _frames(self, kernel: Array, layer: int) -> Array:
        """Parameters of a kernel over frames as frames: [F C D]."""
        if self.basis == "pixels":
            return kernel
        return temporal.filters(kernel, self._of("frames", layer))

    def spatial_filters(self, weights: PyTree) -> Array:
        """What the first layer makes of each frame: [K L D]."""
        return self._pixels(weights["space0"], 0)[:, :, 0]

    def penalty(self, weights: PyTree) -> Array:
        """Smooth filters in space and time, of the first layer: -> []."""
        space = self.smoothness(self._pixels(weights["space0"], 0))
        time = penalties.laplace_time(self._frames(weights["time0"], 0), center=self.time_center)
        return self.gamma_space * space + self.gamma_time * time
