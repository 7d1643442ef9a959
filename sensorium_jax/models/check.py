"""Checks of a model's parts against their contract (``parts.py``), on abstract shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.models.model import Model
from sensorium_jax.models.parts import Core
from sensorium_jax.types import Neurons

TRIALS, EXTRA_FRAMES, NEURONS = 2, 3, 4  # sizes of the abstract inputs
IMAGE = protocol.HEIGHT, protocol.WIDTH


@functools.lru_cache(maxsize=64)
def check_model(model: Model) -> None:
    """Trace all parts on abstract inputs and check shapes and dtypes; nothing is computed.

    Raises:
        UserError: a part fails, or its output breaks the contract; the message names the part.

    Examples:
        >>> from sensorium_jax.models import cores, readouts
        >>> check_model(Model(cores.Stacked2D.example(), readouts.Gaussian()))  # no error
    """
    core, name = model.core, _name("core", model.core)
    frames = core.warmup_frames + EXTRA_FRAMES
    inputs = film(frames, dtype=model.dtype)
    weights = _try(name, core_variables, core, frames=frames)
    shape = features_shape(core, frames=frames)
    if len(shape) != 5 or shape[:2] != (TRIALS, EXTRA_FRAMES):
        raise UserError(
            f"expected {name} to give features [B T' h w F] with T' = T - warmup_frames "
            f"({core.warmup_frames}), so ({TRIALS}, {EXTRA_FRAMES}, h, w, F) of {frames} frames, "
            f"got {shape}"
        )
    for train in (False, True):
        features, _ = _try(name, jax.eval_shape, _core_function(core, train), weights, *inputs)
        if features.dtype != model.dtype:
            raise UserError(
                f"expected {name} to compute in the dtype of its inputs, {model.dtype}, with "
                f"float32 weights, got features of {features.dtype} (train={train}); cast weights "
                "where they are used"
            )
    params = weights.get("params", {})
    _check_scalar(f"the penalty of {name}", core.penalty, params)
    filters = _try(f"spatial_filters of {name}", jax.eval_shape, core.spatial_filters, params)
    if filters is not None and len(filters.shape) != 3:
        raise UserError(f"expected spatial_filters [K L D] of {name}, got {filters.shape}")
    _check_heads(model, features)


def _check_heads(model: Model, features: jax.ShapeDtypeStruct) -> None:
    """Check readout, shifter and modulator on features [B T' h w F]."""
    shape = (TRIALS, EXTRA_FRAMES, NEURONS)
    pair = jax.ShapeDtypeStruct((*shape[:2], 2), jnp.float32)
    readout = model.readout
    params = _check_output("readout", readout, (features, _neurons(), None), shape)
    _check_scalar(f"the penalty of {_name('readout', readout)}", readout.penalty, params)
    if model.shifter is not None:
        _check_output("shifter", model.shifter, (pair, pair), pair.shape)
    if model.modulator is not None:
        _check_output("modulator", model.modulator, (pair, _neurons()), shape)


def _check_output(role: str, part: Any, inputs: tuple, shape: tuple[int, ...]) -> Any:
    """Check that a part's output has a shape; returns the shapes of its weights."""
    name = _name(role, part)

    def run(*x):
        return part.init_with_output(jax.random.key(0), *x, train=False)

    output, variables = _try(name, jax.eval_shape, run, *inputs)
    if getattr(output, "shape", None) != shape:
        raise UserError(f"expected {name} to give {shape}, got {getattr(output, 'shape', output)}")
    return variables.get("params", {})


def core_variables(core: Core, *, frames: int) -> Any:
    """The shapes of a core's weights and running statistics.

    Examples:
        >>> from sensorium_jax.models import cores
        >>> variables = core_variables(cores.Stacked2D(channels=4, kernel=5), frames=1)
        >>> variables["params"]["kernel0"].shape  # [K L C D]: video, pupil size, running speed
        (5, 5, 3, 4)
    """
    init = functools.partial(core.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), *film(frames))


@functools.lru_cache(maxsize=64)
def features_shape(core: Core, *, frames: int) -> tuple[int, ...]:
    """Shape [B T' h w F] of a core's features for videos of the benchmark's size.

    Examples:
        >>> from sensorium_jax.models import cores
        >>> features_shape(cores.Full3D(layers=1, kernel=9, frames=5), frames=10)
        (2, 6, 28, 56, 32)
    """

    def run(*inputs):
        return core.init_with_output(jax.random.key(0), *inputs, train=False)[0]

    output = _try(_name("core", core), jax.eval_shape, run, *film(frames))
    return tuple(getattr(output, "shape", ()))


@functools.lru_cache(maxsize=64)
def check_streaming(core: Core) -> None:
    """Check that a video in two pieces has the features of the uncut video, with random weights.

    Raises:
        UserError: ``memory_frames`` is not declared, or wrong.
    """
    name = _name("core", core)
    if core.memory_frames is None:
        raise UserError(
            f"expected {name} to declare memory_frames, the past frames that its features depend "
            "on, to predict a film in pieces; it is None"
        )
    first, second = core.memory_frames + 2, 2  # lengths of the pieces
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=x.shape).astype(np.float32) for x in film(first + second)]
    variables = jax.jit(functools.partial(core.init, train=False))(jax.random.key(0), *inputs)
    # Weights that are zero at first would hide past frames that features depend on after training.
    variables = jax.tree.map(lambda x: x + rng.normal(0, 0.1, x.shape).astype(x.dtype), variables)
    run = jax.jit(lambda v, *x: core.apply(v, *x, train=False, mutable=["carry"]))
    uncut, _ = run(variables, *inputs)
    _, carry = run(variables, *(x[:, :first] for x in inputs))
    start = first - core.memory_frames
    piece, _ = run(variables | dict(carry), *(x[:, start:] for x in inputs))
    expected, features = uncut[:, -second:], piece[:, -second:]
    error = float(jnp.max(jnp.abs(expected - features)) / jnp.max(jnp.abs(expected)))
    if not error < 1e-3:
        raise UserError(
            f"expected {name} to give equal features of a film as a whole and in pieces, with "
            f"memory_frames = {core.memory_frames}, found a difference of {error:.1g} of the "
            "largest; correct memory_frames, or keep the state of recurrences in the "
            'collection "carry"'
        )


def film(frames: int, *, dtype: str = "float32") -> tuple[jax.ShapeDtypeStruct, ...]:
    """Abstract inputs of a core: video [B T H W], behavior [B T 2], pupil_center [B T 2].

    Examples:
        >>> [x.shape for x in film(7)]
        [(2, 7, 36, 64), (2, 7, 2), (2, 7, 2)]
    """
    shapes = (TRIALS, frames, *IMAGE), (TRIALS, frames, 2), (TRIALS, frames, 2)
    return tuple(jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for shape in shapes)


def _core_function(core: Core, train: bool) -> Callable:
    """A core as a function of variables and inputs that returns features and updates."""
    rngs = {"dropout": jax.random.key(0)} if train else {}
    options = {"train": train, "rngs": rngs, "mutable": ["batch_stats"] if train else []}
    return lambda variables, *inputs: core.apply(variables, *inputs, **options)


def _neurons() -> Neurons:
    return Neurons(
        position_um=jax.ShapeDtypeStruct((NEURONS, 3), jnp.float32),
        mean_response=jax.ShapeDtypeStruct((NEURONS,), jnp.float32),
        mask=jax.ShapeDtypeStruct((NEURONS,), jnp.bool),
    )


def _check_scalar(name: str, function: Callable, params: Any) -> None:
    output = _try(name, jax.eval_shape, function, params)
    if getattr(output, "shape", None) != ():
        raise UserError(f"expected {name} to be a scalar, got {getattr(output, 'shape', output)}")


def _name(role: str, part: Any) -> str:
    return f"the {role} {type(part).__name__}"


def _try(name: str, function: Callable, *args: Any, **options: Any) -> Any:
    """Call a function of a user's part; its error becomes a ``UserError`` of one line."""
    try:
        return function(*args, **options)
    except Exception as error:  # a user's part can raise anything
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"expected {name} to run on films of {IMAGE[0]} x {IMAGE[1]}, it fails "
            f"({type(error).__name__}: {reason})"
        ) from error
