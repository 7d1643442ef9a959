"""Base classes of cores, readouts, shifters and modulators: their interface and its contract.

A part of a model is a ``flax.linen`` module, hence a frozen dataclass whose fields are its options.
To write a part, derive from its base class, define ``__call__``, and override what differs from the
defaults. ``check.py`` checks the parts of a model against this contract before training.
"""

from __future__ import annotations

from typing import ClassVar, dataclass_transform

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.types import Array, Neurons, PyTree


@dataclass_transform(frozen_default=True)  # tells type checkers that parts are frozen and hashable
class Part(nn.Module):
    """What all parts are."""


class Core(Part):
    """From video and behaviour to feature maps, with weights that all mice share.

        features_t = f(video_{t-m..t}, behavior_{t-m..t}, pupil_center_{t-m..t}),  m = memory_frames

    Features of a frame depend on no later frame. Inputs are normalised, in the dtype of the core's
    computation; weights are float32, to be cast where they are used.

    Attributes:
        warmup_frames: frames at the start of a video without features: T' = T - warmup_frames.
        memory_frames: number of past input frames that features depend on, not counting the state
            of a recurrence. It exceeds ``warmup_frames`` if kernels over time pad the start of the
            video. None: unknown; such a core can be trained but cannot predict a video in pieces.
        behavior: whether pupil size and running speed change the features.
        gaze: whether the pupil's position changes the features.
        recurrence: a module with a state from frame to frame, or None. For a video in pieces it
            reads its last state from the collection "carry", and writes the new state there.

    Examples:
        >>> class Pixels(Core):
        ...     def __call__(self, video, behavior, pupil_center, *, train):
        ...         return video[..., None]  # [B T h w F] with one feature, the grey level
        >>> from sensorium_jax.models.check import features_shape
        >>> features_shape(Pixels(), frames=3)
        (2, 3, 36, 64, 1)
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
        """The core's term of the training loss: -> []."""
        del weights
        return jnp.zeros(())

    def spatial_filters(self, weights: PyTree) -> Array | None:
        """The first layer's kernels on a video frame, [K L D]; None if it has none."""
        del weights
        return None

    @classmethod
    def example(cls) -> Core:
        """A small instance for the contract tests."""
        return cls()


class Readout(Part):
    """From feature maps to one drive per neuron, with separate parameters for each mouse.

    A parameter "bias" [N], if there is one, is set so that the initial rates are near the neurons'
    mean responses. Weights of padded neurons start at zero, so that they do not contribute to a
    penalty. A readout with ``takes_shift`` sows the neurons' positions, (x, y) in map half-widths
    from the centre, as "position" [N 2] in the collection "intermediates".

    Attributes:
        takes_shift: whether a shifter moves the positions of its neurons.

    Examples:
        >>> class Mean(Readout):
        ...     def __call__(self, features, neurons, shift, *, train):
        ...         drive = features.mean((2, 3, 4))  # [B T']
        ...         return jnp.broadcast_to(drive[..., None], (*drive.shape, neurons.mask.size))
        >>> neurons = Neurons(jnp.zeros((5, 3)), jnp.ones(5), jnp.ones(5, bool))
        >>> Mean()(jnp.ones((2, 3, 6, 10, 8)), neurons, None, train=False).shape
        (2, 3, 5)
    """

    takes_shift: ClassVar[bool] = False

    def __call__(
        self, features: Array, neurons: Neurons, shift: Array | None, *, train: bool
    ) -> Array:
        """[B T' h w F], Neurons of one mouse [N ...], [B T' 2] or None -> [B T' N]."""
        raise NotImplementedError

    def penalty(self, weights: PyTree) -> Array:
        """The readout's term of the training loss for one mouse: -> []."""
        del weights
        return jnp.zeros(())

    @classmethod
    def example(cls) -> Readout:
        """A small instance for the contract tests."""
        return cls()


class Shifter(Part):
    """From gaze to a shift of all receptive fields of a mouse, in map half-widths.

    Examples:
        >>> class Gain(Shifter):
        ...     gain: float = 0.1
        ...     def __call__(self, pupil_center, behavior, *, train):
        ...         return self.gain * pupil_center
        >>> Gain(gain=0.5)(jnp.ones((1, 1, 2)), None, train=False).tolist()
        [[[0.5, 0.5]]]
    """

    def __call__(self, pupil_center: Array, behavior: Array, *, train: bool) -> Array:
        """[B T 2], [B T 2], normalised -> [B T 2]."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Shifter:
        """A small instance for the contract tests."""
        return cls()


class Modulator(Part):
    """From behaviour to a positive gain that multiplies every neuron's rate.

    Examples:
        >>> class Running(Modulator):
        ...     def __call__(self, behavior, neurons, *, train):
        ...         gain = jnp.exp(behavior[..., 1:])  # of running speed, the same for all neurons
        ...         return jnp.broadcast_to(gain, (*gain.shape[:2], neurons.mask.size))
        >>> neurons = Neurons(jnp.zeros((5, 3)), jnp.ones(5), jnp.ones(5, bool))
        >>> Running()(jnp.zeros((1, 1, 2)), neurons, train=False).tolist()
        [[[1.0, 1.0, 1.0, 1.0, 1.0]]]
    """

    def __call__(self, behavior: Array, neurons: Neurons, *, train: bool) -> Array:
        """[B T 2] normalised, Neurons of one mouse [N ...] -> [B T N]."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Modulator:
        """A small instance for the contract tests."""
        return cls()
