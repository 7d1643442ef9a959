"""The core of the factorised baseline: convolutions over pixels, then over frames."""

from __future__ import annotations

import math
from typing import ClassVar

from flax.linen import initializers

from sensorium_jax.models.cores.layered import LayeredCore, Paddings, inputs
from sensorium_jax.models.nn import conv, penalties, temporal
from sensorium_jax.types import Array, PyTree


class Factorized3D(LayeredCore):
    """Layers of a 2D convolution followed by one over frames ("Factorized3dCore" in
    neuralpredictors), the factorised baseline of the benchmark.

        warmup_frames = sum over layers of (frames - 1) frame_dilation

    Time is never padded: the first ``warmup_frames`` frames have no features.

    Attributes, besides those of ``LayeredCore``:
        frames: length of the kernels over time.
        frame_dilation: frames between neighbouring taps.
        gamma_space: weight of the roughness of the first layer's spatial filters in the penalty.
        gamma_time: weight of the roughness of its temporal filters.
        time_center: temporal roughness is measured with the filter (-1, ``time_center``, -1).

    Examples:
        >>> core = Factorized3D(channels=4, layers=2, kernel=5, frames=(11, 5))
        >>> core.warmup_frames  # (11 - 1) + (5 - 1)
        14
        >>> from sensorium_jax.models.check import features_shape
        >>> features_shape(core, frames=20)  # 20 - 14 frames, 36 - 8 and 64 - 8 pixels
        (2, 6, 28, 56, 4)
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

    ranges: ClassVar = LayeredCore.ranges | {
        "frames": (1, 10_000),
        "frame_dilation": (1, 1000),
        "gamma_space": (0, math.inf),
        "gamma_time": (0, math.inf),
        "time_center": (-math.inf, math.inf),
    }
    per_layer = (*LayeredCore.per_layer, "frames", "frame_dilation")

    @property
    def warmup_frames(self) -> int:
        """Frames at the start of a video that have no features."""
        layers = range(self.layers)
        return sum(
            (self._option("frames", i) - 1) * self._option("frame_dilation", i) for i in layers
        )

    @classmethod
    def example(cls) -> Factorized3D:
        """Two layers of two maps, with four warm-up frames.

        Examples:
            >>> Factorized3D.example().warmup_frames
            4
        """
        return cls(channels=2, layers=2, kernel=(5, 3), frames=(4, 2))

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        space = self._space_kernel(f"space{layer}", layer, inputs(x, planes))
        x = self._convolve_frames(x, planes, space, layer)
        return conv.conv_time(
            x, self._time_kernel(layer, x.shape[-1]), dilation=self._option("frame_dilation", layer)
        )

    def _time_kernel(self, layer: int, channels: int) -> Array:
        """A layer's kernel over frames: [F channels channels]."""
        name, frames = f"time{layer}", self._option("frames", layer)
        if self.basis == "pixels":
            shape = (frames, channels, channels)
            return self.param(name, initializers.lecun_normal(), shape)
        shape = (temporal.count(frames), channels, channels)
        return temporal.filters(self.param(name, temporal.smooth_normal, shape), frames)

    def _frames(self, kernel: Array, layer: int) -> Array:
        """The kernel over frames [F C D] of its parameters."""
        if self.basis == "pixels":
            return kernel
        return temporal.filters(kernel, self._option("frames", layer))

    def spatial_filters(self, weights: PyTree) -> Array:
        """The first layer's kernels on the video: [K L D]."""
        return self._pixels(weights["space0"], 0)[:, :, 0]

    def penalty(self, weights: PyTree) -> Array:
        """gamma_space roughness(space) + gamma_time roughness(time) of the first layer: -> []."""
        space = self.smoothness(self._pixels(weights["space0"], 0))
        time = penalties.laplace_time(self._frames(weights["time0"], 0), center=self.time_center)
        return self.gamma_space * space + self.gamma_time * time
