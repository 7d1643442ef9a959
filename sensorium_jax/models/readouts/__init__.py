"""Readouts: from feature maps to one drive per neuron, with separate parameters per mouse.

A readout is a ``flax.linen`` module for one mouse ``(features [B T' h w F], neurons, shift
[B T' 2] | None, *, train) -> drive [B T' N]`` with ``penalty(weights) -> []``. ``model`` maps it
over mice, and sets its parameter ``bias`` [N], if it has one, from the mean responses.
``takes_shift`` is whether it uses a shifter's output. Weights of padded neurons start at zero, so
that they do not contribute to the penalty.
"""

from sensorium_jax.models.readouts.factorized import Factorized
from sensorium_jax.models.readouts.gaussian import Gaussian

__all__ = ["Factorized", "Gaussian"]
