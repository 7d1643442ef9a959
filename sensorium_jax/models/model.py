"""A model is data plus three pure functions: ``init``, ``apply`` and ``penalty``.

    features = core(normalised video, behavior, pupil_center)
    drive    = readout(features, shift),  shift = shifter(pupil_center)
    rate     = (ELU(drive + elu_offset) + 1) gain,  gain = modulator(behavior)

Sessions (mice) are the leading axis of every batch. The core is mapped over them with shared
weights; readout, shifter and modulator with separate weights for each mouse.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.inputs import SIGNALS, mute_signals, normalise_inputs
from sensorium_jax.models.nn import remat
from sensorium_jax.models.parts import Core, Modulator, Readout, Shifter
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics


@dataclasses.dataclass(frozen=True)
class Model:
    """The parts and options of a model, without its weights (``Params``).

        rate = (ELU(drive + elu_offset) + 1) gain

    The rate is positive, in units of each neuron's response std (starter kit,
    ``VideoFiringRateEncoder``).

    Attributes:
        core: from video and behaviour to feature maps.
        readout: from feature maps to drives.
        shifter: from gaze to shifts of the readout's positions, or None.
        modulator: from behaviour to gains, or None.
        elu_offset: added to every drive.
        without: behavioural signals that are set to zero for all parts: "pupil_size", "running",
            "gaze".
        dtype: dtype of the core's computation. With "bfloat16" its maps take half the memory and a
            GPU or TPU multiplies them several times faster; weights, batch normalisation's moments,
            states of recurrences, rates, losses and sums over devices stay float32.

    Raises:
        ValueError: a part of another class, a shifter for a readout without positions, or an
            unknown dtype or signal.

    Examples:
        >>> from sensorium_jax.models import cores, readouts, shifters
        >>> model = Model(cores.Stacked2D(), readouts.Gaussian(), shifters.MLP())
        >>> model.core.channels, model.modulator
        (8, None)
        >>> Model(cores.Stacked2D(), readouts.Factorized(), shifters.MLP())
        Traceback (most recent call last):
        ValueError: expected no shifter: the readout Factorized has no positions to shift; ...
    """

    core: Core
    readout: Readout
    shifter: Shifter | None = None
    modulator: Modulator | None = None
    elu_offset: float = 0.0
    without: tuple[str, ...] = ()
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        for name, kind in (
            ("core", Core),
            ("readout", Readout),
            ("shifter", Shifter),
            ("modulator", Modulator),
        ):
            part = getattr(self, name)
            optional = name in ("shifter", "modulator")
            if not (isinstance(part, kind) or (optional and part is None)):
                raise ValueError(
                    f"expected model.{name} to be a module derived from models.{kind.__name__}"
                    f"{', or None' if optional else ''}, got {type(part).__name__}"
                )
        check_ranges(self, {"elu_offset": (-math.inf, math.inf)})
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"expected a dtype of float32 or bfloat16, got {self.dtype!r}")
        unknown = set(self.without) - set(SIGNALS)
        if unknown:
            raise ValueError(
                f"expected without to name some of {', '.join(SIGNALS)}, got {sorted(unknown)}"
            )
        if self.shifter is not None and not self.readout.takes_shift:
            raise ValueError(
                f"expected no shifter: the readout {type(self.readout).__name__} has no positions "
                "to shift; set model.shifter=None"
            )


def init(model: Model, key: Array, batch: Batch, neurons: Neurons) -> Params:
    """Initialise the weights of a model.

    The readout's bias is set so that the initial rate is near each neuron's mean response:
    bias = drive_of_rate(mean_response) - elu_offset.

    Args:
        model: parts and options.
        key: random key.
        batch: any batch; only its shapes matter.
        neurons: of all mice; ``mean_response`` in units of the response std.

    Examples:
        >>> from sensorium_jax.models import cores, readouts
        >>> model = Model(cores.Stacked2D.example(), readouts.Gaussian())
        >>> shapes = (2, 1, 4, 36, 64), (2, 1, 4, 2), (2, 1, 4, 2), (2, 1, 4, 5), (2, 1), (2, 1, 4)
        >>> batch, mask = Batch(*map(np.zeros, shapes)), np.ones((2, 5), bool)  # 2 mice, 5 neurons
        >>> neurons = Neurons(np.zeros((2, 5, 3)), np.ones((2, 5)), mask)
        >>> params = jax.eval_shape(lambda key: init(model, key, batch, neurons), jax.random.key(0))
        >>> params.weights["readout"]["bias"].shape, params.weights["core"]["kernel0"].shape
        ((2, 5), (5, 5, 3, 2))
    """
    clip = (batch.video.shape[2:], batch.behavior.shape[2:], batch.pupil_center.shape[2:])
    return _init(model, key, neurons, clip=clip)


@functools.partial(jax.jit, static_argnames=("model", "clip"))  # lazy_init: compiles the draws only
def _init(model: Model, key: Array, neurons: Neurons, *, clip: tuple) -> Params:
    core_key, readout_key, shifter_key = jax.random.split(key, 3)
    inputs = [jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in clip]
    core = model.core.lazy_init(core_key, *inputs, train=False)
    features = jax.eval_shape(functools.partial(model.core.apply, train=False), core, *inputs)
    sessions = neurons.mask.shape[0]

    def init_readout(key: Array, neurons: Neurons) -> PyTree:
        return model.readout.lazy_init(key, features, neurons, None, train=False).get("params", {})

    readout = jax.vmap(init_readout)(jax.random.split(readout_key, sessions), neurons)
    if "bias" in readout:
        readout["bias"] = drive_of_rate(neurons.mean_response) - model.elu_offset
    weights = {"core": core.get("params", {}), "readout": readout}
    behavior, pupil_center = inputs[1:]
    if (shifter := model.shifter) is not None:

        def init_shifter(key: Array) -> PyTree:
            return shifter.lazy_init(key, pupil_center, behavior, train=False).get("params", {})

        weights["shifter"] = jax.vmap(init_shifter)(jax.random.split(shifter_key, sessions))
    if (modulator := model.modulator) is not None:

        def init_modulator(key: Array, neurons: Neurons) -> PyTree:
            return modulator.lazy_init(key, behavior, neurons, train=False).get("params", {})

        keys = jax.random.split(jax.random.fold_in(shifter_key, 1), sessions)
        weights["modulator"] = jax.vmap(init_modulator)(keys, neurons)
    return Params(weights, core.get("batch_stats", {}))


def apply(
    model: Model,
    params: Params,
    batch: Batch,
    neurons: Neurons,
    statistics: Statistics,
    *,
    train: bool = False,
    key: Array | None = None,
    gather: Callable[[PyTree], PyTree] = lambda tree: tree,
) -> tuple[Array, PyTree]:
    """Predict the rate of every neuron.

        rate = forward(normalise_inputs(batch))

    Args:
        model: parts and options.
        params: its weights and running statistics.
        batch: as recorded; its responses are not used.
        neurons: of the same mice.
        statistics: of the same mice.
        train: normalise by the moments of the batch and sample positions; for ``parallel``'s step.
        key: random key, needed with ``train``; or ``mouse_keys`` of these mice: [2 S].
        gather: collects the trials of the devices that share the neurons; applied to (features,
            behavior, pupil_center), arrays [S B ...], before the readouts.

    Returns:
        Rate [S B T' N], positive, in units of the response std, for the last T' frames; and the
        running statistics, updated with ``train``.
    """
    inputs = normalise_inputs(batch, statistics)
    return forward(model, params, *inputs, neurons, train=train, key=key, gather=gather)


def forward(
    model: Model,
    params: Params,
    video: Array,
    behavior: Array,
    pupil_center: Array,
    neurons: Neurons,
    *,
    train: bool = False,
    key: Array | None = None,
    gather: Callable[[PyTree], PyTree] = lambda tree: tree,
) -> tuple[Array, PyTree]:
    """``apply`` to normalised inputs, as ``normalise_inputs`` returns them.

    Args:
        model: parts and options.
        params: its weights and running statistics.
        video: [S B T H W], or [S B T H W C] for a core whose videos have C channels.
        behavior: [S B T 2].
        pupil_center: [S B T 2].
        neurons: of the same mice.
        train: as in ``apply``.
        key: as in ``apply``.
        gather: as in ``apply``.

    Returns:
        As ``apply``: rate [S B T' N] in units of the response std, and the running statistics.
    """
    behavior, pupil_center = mute_signals(behavior, pupil_center, model.without)
    if not train:
        key = jax.random.key(0)
    assert key is not None, "training needs a key"
    core_keys, readout_keys = key if key.ndim == 2 else mouse_keys(key, video.shape[0])
    mutable = ["batch_stats"] if train else []
    features, updated = compute_features(
        model, params, video, behavior, pupil_center, core_keys, train=train, mutable=mutable
    )
    # Each mouse's batch is normalised by its moments; running statistics take the mean over mice.
    stats = params.stats
    if train and stats:
        stats = jax.tree.map(lambda x: x.mean(0), updated["batch_stats"])
    features, behavior, pupil_center = gather((features, behavior, pupil_center))
    rate = compute_rate(
        model, params, features, behavior, pupil_center, neurons, readout_keys, train=train
    )
    return rate, stats


def mouse_keys(key: Array, mice: int) -> Array:
    """A random key for the core and one for the readout of every mouse: [2 S].

    Examples:
        >>> mouse_keys(jax.random.key(0), mice=3).shape
        (2, 3)
    """
    return jnp.stack([jax.random.split(k, mice) for k in jax.random.split(key)])


def compute_features(
    model: Model,
    params: Params,
    video: Array,
    behavior: Array,
    pupil_center: Array,
    keys: Array,  # [S]
    *,
    train: bool,
    mutable: Sequence[str],
    carry: PyTree = {},  # noqa: B006 - collections of the core's state, leaves lead with S
) -> tuple[Array, PyTree]:
    """Features [S B T' h w F] of the core for every mouse, and its updated ``mutable`` collections.

    The core computes in ``model.dtype``, to which the inputs are cast.
    """
    video, behavior, pupil_center = (x.astype(model.dtype) for x in (video, behavior, pupil_center))

    def core(
        video: Array, behavior: Array, pupil_center: Array, key: Array, carry: PyTree
    ) -> tuple[Array, PyTree]:
        return model.core.apply(
            {"params": params.weights["core"], "batch_stats": params.stats, **carry},
            video,
            behavior,
            pupil_center,
            train=train,
            rngs={"dropout": key} if train else {},
            mutable=mutable,
        )

    inputs = video, behavior, pupil_center, keys, carry
    if len(video) > 1:
        return jax.vmap(core)(*inputs)
    # An axis of one mouse in the midst of others would cost XLA copies of the maps.
    features, updated = core(*jax.tree.map(lambda x: x[0], inputs))
    return jax.tree.map(lambda x: x[None], (features, updated))


def compute_rate(
    model: Model,
    params: Params,
    features: Array,  # [S B T' h w F]
    behavior: Array,
    pupil_center: Array,
    neurons: Neurons,
    keys: Array,  # [S]
    *,
    train: bool,
) -> Array:
    """rate = (ELU(readout(features, shift) + elu_offset) + 1) gain: [S B T' N]."""
    frames = features.shape[2]
    behavior, pupil_center = behavior[:, :, -frames:], pupil_center[:, :, -frames:]
    shift = None
    if (shifter := model.shifter) is not None:

        def shift_of(weights: PyTree, pupil_center: Array, behavior: Array) -> Array:
            return shifter.apply({"params": weights}, pupil_center, behavior, train=train)

        shift = jax.vmap(shift_of)(params.weights["shifter"], pupil_center, behavior)

    def readout(weights: PyTree, features: Array, neurons: Neurons, shift, key: Array) -> Array:
        rngs = {"position": key} if train else {}
        return model.readout.apply(
            {"params": weights}, features, neurons, shift, train=train, rngs=rngs
        )

    # One mouse after the other: memory is that of one mouse's readout.
    sessions = params.weights["readout"], features, neurons, shift, keys
    if remat.includes("all"):
        readout = remat.checkpoint(readout, argnums=(0, 1, 3))  # weights, maps and shift
    drive = jax.lax.map(lambda session: readout(*session), sessions)
    rate = rate_of_drive(drive + model.elu_offset)
    if (modulator := model.modulator) is not None:

        def gain_of(weights: PyTree, behavior: Array, neurons: Neurons) -> Array:
            return modulator.apply({"params": weights}, behavior, neurons, train=train)

        rate *= jax.vmap(gain_of)(params.weights["modulator"], behavior, neurons)
    return rate


def select_sessions(params: Params, index: Sequence[int]) -> Params:
    """Params for the sessions at the positions ``index``: the core's, and their rows of all others.

    Examples:
        >>> params = Params({"core": {"w": np.ones(7)}, "readout": {"bias": np.zeros((3, 5))}}, {})
        >>> selected = select_sessions(params, [2, 0]).weights
        >>> selected["core"]["w"].shape, selected["readout"]["bias"].shape
        ((7,), (2, 5))
    """
    rows = np.asarray(index)
    weights = {
        name: part if name == "core" else jax.tree.map(lambda x: x[rows], part)
        for name, part in params.weights.items()
    }
    return Params(weights, params.stats)


def penalty(model: Model, weights: PyTree) -> tuple[Array, Array]:
    """The core's penalty, and the sum of the readout penalties of all mice: -> [], [].

    Examples:
        >>> from sensorium_jax.models import cores, readouts
        >>> core = cores.Stacked2D(layers=1, kernel=3, gamma_input=0.0)
        >>> readout = {"features": np.ones((2, 5, 8), np.float32)}  # 2 mice, 5 neurons, 8 features
        >>> weights = {"core": {"kernel0": np.ones((3, 3, 3, 8))}, "readout": readout}
        >>> [float(x) for x in penalty(Model(core, readouts.Gaussian(gamma=0.5)), weights)]
        [0.0, 40.0]
    """
    readouts = jax.vmap(model.readout.penalty)(weights["readout"])
    return model.core.penalty(weights["core"]), jnp.sum(readouts)


def rate_of_drive(drive: Array) -> Array:
    """rate = ELU(drive) + 1, elementwise: exp(drive) below zero, drive + 1 above.

    Examples:
        >>> rate_of_drive(jnp.array([0.0, 2.0])).tolist()
        [1.0, 3.0]
    """
    return jax.nn.elu(drive) + 1


def drive_of_rate(rate: Array) -> Array:
    """The inverse of ``rate_of_drive``: log(rate) below one, rate - 1 above.

    Rates below 1e-3 count as 1e-3.

    Examples:
        >>> drive_of_rate(jnp.array([1.0, 3.0])).tolist()
        [0.0, 2.0]
        >>> bool(drive_of_rate(0.0) == jnp.log(1e-3))
        True
    """
    rate = jnp.maximum(rate, 1e-3)
    return jnp.where(rate < 1, jnp.log(rate), rate - 1)
