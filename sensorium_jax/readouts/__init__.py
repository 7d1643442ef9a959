"""Readouts: from feature maps to one drive per neuron, with parameters of their own per session.

A readout is a ``flax.linen`` module for one session ``(features [B T' h w F], neurons, shift
[B T' 2] | None, *, train) -> drive [B T' N]`` with ``penalty(weights) -> []`` and
``initial_bias(rate [N]) -> [N]``. ``model`` maps it over sessions.
"""

from sensorium_jax.readouts.gaussian import Gaussian

__all__ = ["Gaussian"]
