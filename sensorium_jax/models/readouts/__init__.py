"""Readouts: from feature maps to one drive per neuron, with parameters of their own per session.

A readout is a ``flax.linen`` module for one session ``(features [B T' h w F], neurons, shift
[B T' 2] | None, *, train) -> drive [B T' N]`` with ``penalty(weights) -> []``. ``model`` maps it
over sessions, and sets its parameter ``bias`` [N], if it has one, from the mean responses.
``takes_shift`` says whether a shifter can move it. Weights of padded neurons start at zero, so
that they count for nothing in the penalty.
"""

from sensorium_jax.models.readouts.factorized import Factorized
from sensorium_jax.models.readouts.gaussian import Gaussian

__all__ = ["Factorized", "Gaussian"]
