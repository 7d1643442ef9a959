"""What a core, readout, shifter and modulator promise: base classes with the whole contract.

A part is a ``flax.linen`` module, so a frozen dataclass whose fields are its options. Derive from
the class here, write ``__call__``, and override what differs from the defaults. ``check.py`` holds
a model's parts to these promises before training.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.types import Array, Neurons, PyTree


class Core(nn.Module):
    """What all neurons of all mice share, from video to feature maps.

        features_t = f(video_{t-m..t}, behavior_{t-m..t}, pupil_center_{t-m..t}),  m = memory_frames

    No output sees an input after its own frame. Inputs are normalised and come in the dtype that
    the core computes in; weights are float32, to be cast where they are used.

    Attributes:
        warmup_frames: frames at the start of a film that have no features: T' = T - warmup_frames.
        memory_frames: past frames of the inputs that features depend on, without what a recurrence
            carries. A core whose kernels over time pad the start of the film has fewer warm-up
            frames than these. None: not known; such a core trains, and cannot stream.
        behavior: whether pupil size and running speed change the features.
        gaze: whether the pupil's position changes the features.
        recurrence: a module whose state goes from frame to frame, or None. In a film that comes in
            pieces it finds its last state in the collection "carry", and leaves the new one there.
    """

    warmup_frames: ClassVar[int] = 0
    memory_frames: ClassVar[int | None] = None
    behavior: ClassVar[bool] = False
    gaze: ClassVar[bool] = False
    recurrence: ClassVar[nn.Module | None] = None

    def __call__(self, video: Array, behavior: Array, pupil_center: Array, *, train: bool) -> Array:
        """[B T H W], [B T 2], [B T 2] -> [B T' h w F]."""
        raise NotImplementedError

    def penalty(self, weights: PyTree) -> Array:
        """What training adds to the loss: -> []."""
        del weights
        return jnp.zeros(())

    def spatial_filters(self, weights: PyTree) -> Array | None:
        """What the first layer makes of a frame, [K L D]; None if it cannot be shown."""
        del weights
        return None

    @classmethod
    def example(cls) -> Core:
        """A small instance, which the contract tests run."""
        return cls()


class Readout(nn.Module):
    """From feature maps to one drive a neuron, with parameters of its own for every session.

    A parameter "bias" [N], if there is one, is set so that outputs start at the neurons' mean
    response. Weights of padded neurons start at zero, so that they count for nothing in a penalty.
    One that takes a shift sows where each neuron reads, (x, y) in map half-widths from the centre,
    as "position" [N 2] in the collection "intermediates".

    Attributes:
        takes_shift: whether a shifter can move where neurons read.
    """

    takes_shift: ClassVar[bool] = False

    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one session [N ...], [B T' 2] or None -> [B T' N]."""
        raise NotImplementedError

    def penalty(self, weights: PyTree) -> Array:
        """What training adds to the loss for one session: -> []."""
        del weights
        return jnp.zeros(())

    @classmethod
    def example(cls) -> Readout:
        """A small instance, which the contract tests run."""
        return cls()


class Shifter(nn.Module):
    """From gaze to a shift of all receptive fields of a session, in map half-widths."""

    def __call__(self, pupil_center: Array, behavior: Array, *, train: bool) -> Array:
        """[B T 2], [B T 2], normalised -> [B T 2]."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Shifter:
        """A small instance, which the contract tests run."""
        return cls()


class Modulator(nn.Module):
    """From behaviour to a positive gain on every neuron's rate."""

    def __call__(self, behavior: Array, neurons: Neurons, *, train: bool) -> Array:
        """[B T 2] normalised, Neurons of one session [N ...] -> [B T N]."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Modulator:
        """A small instance, which the contract tests run."""
        return cls()
