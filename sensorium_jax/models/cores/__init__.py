"""Cores: from video to feature maps, with weights that all neurons of all mice share.

A core is a ``flax.linen`` module ``(video [B T H W], behavior [B T 2], pupil_center [B T 2], *,
train) -> features [B T' h w F]`` on normalised inputs, with ``warmup_frames = T - T'`` (frames
are dropped at the start, never at the end) and ``penalty(weights) -> []``. Features of frame ``t``
depend on no later frame.
"""

from sensorium_jax.models.cores.equivariant import RotationEquivariant
from sensorium_jax.models.cores.factorized import Factorized3D
from sensorium_jax.models.cores.full3d import Full3D
from sensorium_jax.models.cores.stacked import Stacked2D
from sensorium_jax.models.nn.penalties import Laplace
from sensorium_jax.models.nn.recurrent import ConvGRU

__all__ = ["ConvGRU", "Factorized3D", "Full3D", "Laplace", "RotationEquivariant", "Stacked2D"]
