"""The core of the GRU baseline: rotation-equivariant frame filters, then a convolutional GRU."""

from __future__ import annotations

import flax.linen as nn

from sensorium_jax.nn import conv, hermite, penalties
from sensorium_jax.nn.norm import BatchNorm
from sensorium_jax.nn.recurrent import ConvGRU
from sensorium_jax.types import Array, PyTree


class RotationEquivariant(nn.Module):
    """Steerable 2D convolutions over single frames (Ecker et al. 2019), optionally recurrent.

    Every filter exists in ``rotations`` orientations, so that a feature found at one angle is
    found at all. The published GRU baseline (starter kit, ``benchmarks_training.ipynb``) is this
    core with ``recurrence=ConvGRU(kernel=9)``; without recurrence it sees one frame at a time.
    Batch normalisation follows every layer, ELU every layer but the last.

    Attributes:
        channels: features per layer; a layer has ``channels * rotations`` maps.
        rotations: number of equally spaced orientations.
        layers: number of convolutions.
        input_kernel: filter size of the first layer, in pixels; no padding.
        hidden_kernel: filter size of the others; padded so that the map keeps its size.
        stride: step of the first layer in pixels: 2 halves the map, and the work, on both axes.
        behavior: pupil size and running speed are two constant planes beside the video.
        momentum: weight of the new batch in the running statistics of batch normalisation.
        gamma_input: weight of the roughness of the first layer's filters in the penalty.
        gamma_hidden: weight of the group sparsity of the others'.
        recurrence: ``ConvGRU`` over the feature maps, or None.
    """

    channels: int = 8
    rotations: int = 8
    layers: int = 4
    input_kernel: int = 9
    hidden_kernel: int = 7
    stride: int = 1
    behavior: bool = True
    momentum: float = 0.9
    gamma_input: float = 500.0
    gamma_hidden: float = 500_000.0
    recurrence: ConvGRU | None = None

    warmup_frames = 0

    @nn.compact
    def __call__(self, video: Array, behavior: Array, pupil_center: Array, *, train: bool) -> Array:
        """[B T H W], [B T 2], [B T 2] -> [B T h w channels*rotations]."""
        del pupil_center  # gaze acts through the shifter
        x = video[..., None]
        for layer in range(self.layers):
            x = self._convolve(x, behavior) if layer == 0 else self._convolve_hidden(x, layer)
            norm = BatchNorm(self.rotations, self.momentum, name=f"norm{layer}")
            x = norm(x, train=train)
            if layer < self.layers - 1:
                x = nn.elu(x)
        return x if self.recurrence is None else self.recurrence(x)

    def _convolve(self, video: Array, behavior: Array) -> Array:
        """The first layer, over [B T H W 1] video and the planes of [B T 2] behavior."""
        kernel = self._kernel(layer=0, inputs=3 if self.behavior else 1)
        x = conv.conv2d(video, kernel[:, :, :1], stride=self.stride)
        if self.behavior:
            # Without padding, a filter's response to a constant plane is the plane's value times
            # the filter's sum: no convolution is needed.
            x += (behavior @ kernel[:, :, 1:].sum((0, 1)))[:, :, None, None]
        return x

    def _convolve_hidden(self, x: Array, layer: int) -> Array:
        kernel = self._kernel(layer=layer, inputs=x.shape[-1])
        return conv.conv2d(x, kernel, padding=conv.same(self.hidden_kernel))

    def _kernel(self, *, layer: int, inputs: int) -> Array:
        """A layer's filters from its parameters: [K K inputs channels*rotations]."""
        shape = (len(hermite.modes(self._size(layer))), inputs, self.channels)
        init = hermite.smooth_normal(self._size(layer))
        return self._filters(self.param(f"coefficients{layer}", init, shape), layer)

    def _size(self, layer: int) -> int:
        return self.input_kernel if layer == 0 else self.hidden_kernel

    def _filters(self, coefficients: Array, layer: int) -> Array:
        """All rotations of a layer's filters: [modes C_in channels] -> [K K C_in channels*R]."""
        return hermite.filters(
            coefficients,
            size=self._size(layer),
            n_rotations=self.rotations,
            roll_inputs=layer > 0,
        )

    def penalty(self, weights: PyTree) -> Array:
        """Smooth input filters and few hidden ones, summed with their gammas: -> []."""
        kernels = [self._filters(weights[f"coefficients{i}"], i) for i in range(self.layers)]
        smooth = self.gamma_input * penalties.laplace(kernels[0])
        if self.layers == 1:
            return smooth
        sparse = sum(penalties.group_sparsity(k) for k in kernels[1:]) / (self.layers - 1)
        return smooth + self.gamma_hidden * sparse
