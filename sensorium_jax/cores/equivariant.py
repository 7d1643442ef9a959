"""The core of the GRU baseline: rotation-equivariant frame filters, then a convolutional GRU."""

from __future__ import annotations

from sensorium_jax.cores.layered import inputs
from sensorium_jax.cores.stacked import Stacked2D
from sensorium_jax.nn import hermite
from sensorium_jax.types import Array, PyTree


class RotationEquivariant(Stacked2D):
    """Steerable 2D convolutions over single frames (Ecker et al. 2019), optionally recurrent.

    Every filter exists in ``rotations`` orientations, so that a feature found at one angle is
    found at all; a layer has ``channels * rotations`` maps. Kernels are square and not dilated.
    The published GRU baseline (starter kit, ``benchmarks_training.ipynb``) is this core with
    ``recurrence=ConvGRU(kernel=9)``; without recurrence it sees one frame at a time.

    Attributes, besides those of ``LayeredCore`` and ``Stacked2D``:
        rotations: number of equally spaced orientations.
    """

    rotations: int = 8

    def __post_init__(self):
        super().__post_init__()
        for layer in range(self.layers):
            rows, columns = self._kernel_size(layer)
            if rows != columns or self._of("dilation", layer) != 1:
                raise ValueError("expected square kernels without dilation: filters are turned")

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        size = self._kernel_size(layer)[0]
        shape = (len(hermite.modes(size)), inputs(x, planes), self._of("channels", layer))
        coefficients = self.param(f"coefficients{layer}", hermite.smooth_normal(size), shape)
        return self._convolve_frames(x, planes, self._turned(coefficients, layer), layer)

    def filters(self, weights: PyTree, layer: int) -> Array:
        """All rotations of a layer's filters: [K K C channels*rotations]."""
        return self._turned(weights[f"coefficients{layer}"], layer)

    def _turned(self, coefficients: Array, layer: int) -> Array:
        return hermite.filters(
            coefficients,
            size=self._kernel_size(layer)[0],
            n_rotations=self.rotations,
            roll_inputs=layer > 0,
        )
