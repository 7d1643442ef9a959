"""A model is data plus three pure functions: ``init``, ``apply`` and ``penalty``.

    normalise -> core (shared by all sessions) -> shifter and readout (one set a session) -> rate

Sessions are the leading axis of every batch; the core is mapped over them with shared weights,
shifter, readout and modulator with weights of their own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.inputs import SIGNALS, mute_signals, normalise_inputs
from sensorium_jax.models.parts import Core, Modulator, Readout, Shifter
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics


@dataclasses.dataclass(frozen=True)
class Model:
    """What to compute; the weights are elsewhere (``Params``).

    The output is ELU(drive + elu_offset) + 1, a positive rate in units of each neuron's response
    std (starter kit, ``VideoFiringRateEncoder``), times the modulator's gain.

    Attributes:
        core: from video and behaviour to feature maps.
        readout: from feature maps to drives.
        shifter: from gaze to shifts of the readout's positions, or None.
        modulator: from behaviour to gains, or None.
        elu_offset: added to every drive.
        without: signals of the animal that are kept from every part of the model: "pupil_size",
            "running", "gaze".
        dtype: what the core computes in. With "bfloat16" its maps take half the memory and a GPU
            or TPU multiplies them several times faster; weights, batch normalisation's moments,
            states of recurrences, rates, losses and sums over devices stay float32.
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
    """Draw the weights of a model.

    The readout's bias starts where the output equals each neuron's mean response.

    Args:
        model: what to initialise.
        key: random key.
        batch: any batch; only its shapes matter.
        neurons: of all sessions; ``mean_response`` in units of the response std.
    """
    clip = (batch.video.shape[2:], batch.behavior.shape[2:], batch.pupil_center.shape[2:])
    return _init(model, key, neurons, clip=clip)


@functools.partial(jax.jit, static_argnames=("model", "clip"))  # compiles no more than the draws
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
    if model.shifter is not None:

        def init_shifter(key: Array) -> PyTree:
            return model.shifter.lazy_init(key, pupil_center, behavior, train=False).get(
                "params", {}
            )

        weights["shifter"] = jax.vmap(init_shifter)(jax.random.split(shifter_key, sessions))
    if model.modulator is not None:

        def init_modulator(key: Array, neurons: Neurons) -> PyTree:
            return model.modulator.lazy_init(key, behavior, neurons, train=False).get("params", {})

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

    Args:
        model: what to compute.
        params: its weights and running statistics.
        batch: as recorded; responses are not looked at.
        neurons: of the same sessions.
        statistics: of the same sessions.
        train: use the batch's own moments and draw positions; only inside ``parallel``'s step.
        key: random key, needed when training.
        gather: applied to what readouts share of the trials, arrays [S B ...], before they read.

    Returns:
        Rate [S B T' N], positive, in units of the response std, for the last T' frames; and the
        running statistics, updated when training.
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
    """``apply`` to inputs that are normalised already, as ``normalise_inputs`` gives them.

    Args:
        model: what to compute.
        params: its weights and running statistics.
        video: [S B T H W], or [S B T H W C] for a core that takes films of C channels.
        behavior: [S B T 2].
        pupil_center: [S B T 2].
        neurons: of the same sessions.
        train: as in ``apply``.
        key: as in ``apply``.
        gather: as in ``apply``.

    Returns:
        As ``apply``: rate [S B T' N] in units of the response std, and the running statistics.
    """
    behavior, pupil_center = mute_signals(behavior, pupil_center, model.without)
    keys = jax.random.split(key if train else jax.random.key(0))
    core_keys, readout_keys = (jax.random.split(k, video.shape[0]) for k in keys)
    mutable = ["batch_stats"] if train else []
    inputs = video, behavior, pupil_center
    features, updated = compute_features(
        model, params, *inputs, core_keys, train=train, mutable=mutable
    )
    # Each session's batch is normalised by itself; the running statistics follow their mean.
    stats = params.stats
    if train and stats:
        stats = jax.tree.map(lambda x: x.mean(0), updated["batch_stats"])
    shared = gather((features, behavior, pupil_center))
    return compute_rate(model, params, *shared, neurons, readout_keys, train=train), stats


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
    carry: PyTree = {},  # noqa: B006 - of the core's collections, by session
) -> tuple[Array, PyTree]:
    """The core of every session, [S B T' h w F], and the collections that it changed.

    Its layers compute in the dtype of what comes in.
    """
    inputs = (x.astype(model.dtype) for x in (video, behavior, pupil_center))

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

    return jax.vmap(core)(*inputs, keys, carry)


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
    """What shifters, readouts and modulators make of the features: [S B T' N]."""
    frames = features.shape[2]
    behavior, pupil_center = behavior[:, :, -frames:], pupil_center[:, :, -frames:]
    shift = None
    if model.shifter is not None:

        def shifter(weights: PyTree, pupil_center: Array, behavior: Array) -> Array:
            return model.shifter.apply({"params": weights}, pupil_center, behavior, train=train)

        shift = jax.vmap(shifter)(params.weights["shifter"], pupil_center, behavior)

    def readout(weights: PyTree, features: Array, neurons: Neurons, shift, key: Array) -> Array:
        rngs = {"position": key} if train else {}
        return model.readout.apply(
            {"params": weights}, features, neurons, shift, train=train, rngs=rngs
        )

    # One mouse after the other: each bounds its memory for itself.
    of_session = params.weights["readout"], features, neurons, shift, keys
    drive = jax.lax.map(lambda one: readout(*one), of_session)
    rate = rate_of_drive(drive + model.elu_offset)
    if model.modulator is not None:

        def modulator(weights: PyTree, behavior: Array, neurons: Neurons) -> Array:
            return model.modulator.apply({"params": weights}, behavior, neurons, train=train)

        rate *= jax.vmap(modulator)(params.weights["modulator"], behavior, neurons)
    return rate


def select_sessions(params: Params, index: Sequence[int]) -> Params:
    """The weights of some sessions, by position: the core's whole, of the others these rows."""
    rows = np.asarray(index)
    weights = {
        name: part if name == "core" else jax.tree.map(lambda x: x[rows], part)
        for name, part in params.weights.items()
    }
    return Params(weights, params.stats)


def penalty(model: Model, weights: PyTree) -> tuple[Array, Array]:
    """The core's penalty, and the sum of all sessions' readout penalties: -> [], []."""
    readouts = jax.vmap(model.readout.penalty)(weights["readout"])
    return model.core.penalty(weights["core"]), jnp.sum(readouts)


def rate_of_drive(drive: Array) -> Array:
    """ELU(x) + 1, elementwise."""
    return jax.nn.elu(drive) + 1


def drive_of_rate(rate: Array) -> Array:
    """The inverse of ``rate_of_drive``; rates below 1e-3 are taken as 1e-3."""
    rate = jnp.maximum(rate, 1e-3)
    return jnp.where(rate < 1, jnp.log(rate), rate - 1)
