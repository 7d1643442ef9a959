"""The few types that everything else exchanges, and the glossary of axes and units.

Axis letters: S sessions (mice), B trials, T frames (30 Hz), H W pixels, h w F feature map,
N neurons, padded to the largest session and masked. ``T'`` is ``T`` minus a core's warm-up,
aligned at the end. Names carry units: ``_um`` micrometres, ``_hz`` hertz, ``_frames`` frames.

Arrays may be NumPy (host) or JAX (device) arrays; this file imports neither, so that the data
pipeline can use it without touching a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

Array: TypeAlias = Any  # np.ndarray or jax.Array, with the shape that stands beside it
PyTree: TypeAlias = Any  # nested dicts and tuples of arrays
OnProgress = Callable[[str, int, int], None]  # what, how much is done, how much there is


class Batch(NamedTuple):
    """The same number of trials of every session, as recorded (not normalised)."""

    video: Array  # [S B T H W] grey levels 0..255, in the dtype of the store
    behavior: Array  # [S B T 2] pupil size, running speed
    pupil_center: Array  # [S B T 2] x, y
    response: Array  # [S B T N] deconvolved activity; 0 for padded neurons
    first_frame: Array  # [S B] index of frame 0 within its trial
    frame_mask: Array  # [S B T] False on padding: frames past the end, or absent trials


class Moments(NamedTuple):
    """Mean and standard deviation over the train tier, of one field."""

    mean: Array  # [S f ...] with f = frames ("released") or 1 ("pooled")
    std: Array  # like mean


class Statistics(NamedTuple):
    """What normalisation needs to know of a recording.

    ``f`` is the number of frames where the statistics were computed frame by frame, as in the
    release, or 1 where they were pooled over frames.
    """

    video: Moments  # [S f H W]
    behavior: Moments  # [S f 2]
    pupil_center: Moments  # [S f 2]
    response: Moments  # [S f N]
    trials: Array  # [S] trial files of every tier: the reference's loss scale needs it


class Neurons(NamedTuple):
    """What a readout needs to know of the neurons of every session."""

    position_um: Array  # [S N 3] cortical x, y, z
    mean_response: Array  # [S N] over train trials, in units of the neuron's pooled std
    mask: Array  # [S N] False for padding


class Params(NamedTuple):
    """Everything that a model learns."""

    weights: PyTree  # {"core", "readout", "shifter"}; readout and shifter leaves lead with S
    stats: PyTree  # running statistics of batch normalisation


class TrainState(NamedTuple):
    """What a training step consumes and returns."""

    step: Array  # []
    params: Params
    opt: PyTree
