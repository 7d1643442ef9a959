"""Whether the parts of a model keep their promises (``parts.py``): shapes only, before training."""

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

TRIALS, EXTRA_FRAMES, NEURONS = 2, 3, 4  # of the films that parts are tried on
IMAGE = protocol.HEIGHT, protocol.WIDTH


@functools.lru_cache(maxsize=64)
def check_model(model: Model) -> None:
    """Try all parts on abstract inputs: nothing is computed.

    Raises:
        UserError: a part fails, or gives something else than it promises; it is named.
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
        features, _ = _try(name, jax.eval_shape, _run(core, train), weights, *inputs)
        if features.dtype != model.dtype:
            raise UserError(
                f"expected {name} to compute in the dtype of its inputs, {model.dtype}, with "
                f"float32 weights, got features of {features.dtype} (train={train}); cast weights "
                "where they are used"
            )
    params = weights.get("params", {})
    _scalar(f"the penalty of {name}", core.penalty, params)
    filters = _try(f"spatial_filters of {name}", jax.eval_shape, core.spatial_filters, params)
    if filters is not None and len(filters.shape) != 3:
        raise UserError(f"expected spatial_filters [K L D] of {name}, got {filters.shape}")
    _check_heads(model, features)


def _check_heads(model: Model, features: jax.ShapeDtypeStruct) -> None:
    """Readout, shifter and modulator on features [B T' h w F]."""
    shape = (TRIALS, EXTRA_FRAMES, NEURONS)
    pair = jax.ShapeDtypeStruct((*shape[:2], 2), jnp.float32)
    readout = model.readout
    params = _shape_of("readout", readout, (features, _neurons(), None), shape)
    _scalar(f"the penalty of {_name('readout', readout)}", readout.penalty, params)
    if model.shifter is not None:
        _shape_of("shifter", model.shifter, (pair, pair), pair.shape)
    if model.modulator is not None:
        _shape_of("modulator", model.modulator, (pair, _neurons()), shape)


def _shape_of(role: str, part: Any, inputs: tuple, shape: tuple[int, ...]) -> Any:
    """The weights of a part (shapes), which must give ``shape`` of its inputs."""
    name = _name(role, part)

    def run(*x):
        return part.init_with_output(jax.random.key(0), *x, train=False)

    found, variables = _try(name, jax.eval_shape, run, *inputs)
    if getattr(found, "shape", None) != shape:
        raise UserError(f"expected {name} to give {shape}, got {getattr(found, 'shape', found)}")
    return variables.get("params", {})


def core_variables(core: Core, *, frames: int) -> Any:
    """The shapes of a core's weights and running statistics."""
    init = functools.partial(core.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), *film(frames))


@functools.lru_cache(maxsize=64)
def features_shape(core: Core, *, frames: int) -> tuple[int, ...]:
    """Shape [B T' h w F] of a core's features of films of the benchmark's size."""

    def run(*inputs):
        return core.init_with_output(jax.random.key(0), *inputs, train=False)[0]

    found = _try(_name("core", core), jax.eval_shape, run, *film(frames))
    return tuple(getattr(found, "shape", ()))


@functools.lru_cache(maxsize=64)
def check_streaming(core: Core) -> None:
    """Whether a film that comes in two pieces gives the features of the whole, with any weights.

    Raises:
        UserError: ``memory_frames`` is not declared, or wrong.
    """
    name = _name("core", core)
    if core.memory_frames is None:
        raise UserError(
            f"expected {name} to declare memory_frames, the past frames that its features depend "
            "on, to predict a film in pieces; it is None"
        )
    first, second = core.memory_frames + 2, 2
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=x.shape).astype(np.float32) for x in film(first + second)]
    variables = jax.jit(functools.partial(core.init, train=False))(jax.random.key(0), *inputs)
    # Weights that start at zero would hide what they will reach back to.
    variables = jax.tree.map(lambda x: x + rng.normal(0, 0.1, x.shape).astype(x.dtype), variables)
    run = jax.jit(lambda v, *x: core.apply(v, *x, train=False, mutable=["carry"]))
    whole, _ = run(variables, *inputs)
    _, carry = run(variables, *(x[:, :first] for x in inputs))
    start = first - core.memory_frames
    piece, _ = run(variables | dict(carry), *(x[:, start:] for x in inputs))
    expected, found = whole[:, -second:], piece[:, -second:]
    error = float(jnp.max(jnp.abs(expected - found)) / jnp.max(jnp.abs(expected)))
    if not error < 1e-3:
        raise UserError(
            f"expected {name} to give equal features of a film as a whole and in pieces, with "
            f"memory_frames = {core.memory_frames}, found a difference of {error:.1g} of the "
            "largest; correct memory_frames, or keep what goes from frame to frame in the "
            'collection "carry"'
        )


def film(frames: int, *, dtype: str = "float32") -> tuple[jax.ShapeDtypeStruct, ...]:
    """The inputs of a core, as shapes: video [B T H W], behavior [B T 2], pupil_center [B T 2]."""
    shapes = (TRIALS, frames, *IMAGE), (TRIALS, frames, 2), (TRIALS, frames, 2)
    return tuple(jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for shape in shapes)


def _run(core: Core, train: bool) -> Callable:
    rngs = {"dropout": jax.random.key(0)} if train else {}
    options = {"train": train, "rngs": rngs, "mutable": ["batch_stats"] if train else []}
    return lambda variables, *inputs: core.apply(variables, *inputs, **options)


def _neurons() -> Neurons:
    shapes = (NEURONS, 3), (NEURONS,)
    floats = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return Neurons(*floats, jax.ShapeDtypeStruct((NEURONS,), jnp.bool))


def _scalar(name: str, function: Callable, params: Any) -> None:
    found = _try(name, jax.eval_shape, function, params)
    if getattr(found, "shape", None) != ():
        raise UserError(f"expected {name} to be a scalar, got {getattr(found, 'shape', found)}")


def _name(role: str, part: Any) -> str:
    return f"the {role} {type(part).__name__}"


def _try(name: str, function: Callable, *args: Any, **options: Any) -> Any:
    """What a function of a user's part returns; its error in one line."""
    try:
        return function(*args, **options)
    except Exception as error:  # whatever a part of a user's own raises
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"expected {name} to run on films of {IMAGE[0]} x {IMAGE[1]}, it fails "
            f"({type(error).__name__}: {reason})"
        ) from error
