"""The core of the GRU baseline: rotation-equivariant frame filters, then a convolutional GRU."""

from __future__ import annotations

from typing import ClassVar, Literal

from sensorium_jax.models.cores.stacked import Stacked2D
from sensorium_jax.models.nn import hermite


class RotationEquivariant(Stacked2D):
    """Steerable 2D convolutions over single frames (Ecker et al. 2019), optionally recurrent.

    A layer applies each of its ``channels`` filters in ``rotations`` orientations, and so has
    ``channels * rotations`` maps. Kernels are square and not dilated. The published GRU baseline
    (starter kit, ``benchmarks_training.ipynb``) is this core with ``recurrence=ConvGRU(kernel=9)``;
    without recurrence features depend on one frame.

    Attributes, besides those of ``LayeredCore`` and ``Stacked2D``:
        rotations: number of equally spaced orientations.
        upsampling: points a pixel, along each axis, at which the filters are sampled.

    Examples:
        >>> RotationEquivariant(channels=8, rotations=4).maps
        32
        >>> RotationEquivariant(basis="pixels", rotations=1).warmup_frames
        0
    """

    ranges: ClassVar = Stacked2D.ranges | {"rotations": (1, 360), "upsampling": (1, 16)}
    rotations: int = 8
    upsampling: int = hermite.UPSAMPLING
    basis: Literal["hermite"] = "hermite"  # free pixels have no exact rotation
