"""The core of the GRU baseline: rotation-equivariant frame filters, then a convolutional GRU."""

from __future__ import annotations

from typing import Literal

from sensorium_jax.models.cores.stacked import Stacked2D


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
    basis: Literal["hermite"] = "hermite"  # filters of pixels cannot be turned
