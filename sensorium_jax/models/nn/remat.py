"""What a gradient keeps in memory, and what it computes again: less of one is more of the other.

A gradient needs what the forward pass computed. Traced within ``rematerialise("core", ...)``, a
core keeps the input of each layer and computes the rest of the layer again, and convolutions
transform a few images at a time; with ``"all"`` the readout is computed again too.

``jax.checkpoint`` says so with a barrier, which XLA's CPU backend removes: it then finds both
computations equal, keeps the first, and saves nothing. ``checkpoint`` here puts the second one
behind a condition that only holds true when the program runs.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import lift

from sensorium_jax.types import Array, PyTree

Level = Literal["none", "core", "all"]
LEVELS: tuple[Level, ...] = "none", "core", "all"  # each includes the one before
IMAGES = 64  # that are transformed at a time


class _Setting(NamedTuple):
    level: Level
    always: Array | None  # [] true, unknown to the compiler


_setting: contextvars.ContextVar[_Setting] = contextvars.ContextVar("rematerialise")
NOTHING = _Setting("none", None)


@contextlib.contextmanager
def rematerialise(level: Level, *, step: Array) -> Iterator[None]:
    """Trace what is within at a level.

    Args:
        level: what is computed again: "none", layers of the "core", or "all".
        step: [] a whole number of 0 or more that the program is called with.

    Examples:
        >>> with rematerialise("core", step=jnp.int32(0)):
        ...     includes("core"), includes("all")
        (True, False)
    """
    token = _setting.set(_Setting(level, step >= 0))
    try:
        yield
    finally:
        _setting.reset(token)


def includes(level: Level) -> bool:
    """Whether the current trace computes again what ``level`` does."""
    return LEVELS.index(_setting.get(NOTHING).level) >= LEVELS.index(level) > 0


def checkpoint(function: Callable, *, argnums: tuple[int, ...] | None = None) -> Callable:
    """A function of arrays and trees of them that keeps its arguments alone for its gradient.

    Args:
        function: any function of arrays.
        argnums: arguments with respect to which it can be differentiated; None: all.

    Examples:
        >>> with rematerialise("core", step=jnp.int32(0)):
        ...     round(float(jax.grad(checkpoint(lambda x: jnp.sin(x) ** 2))(0.5)), 3)  # sin(1)
        0.841
    """
    always = _setting.get(NOTHING).always
    assert always is not None, "within rematerialise only"

    def checkpointed(*args: PyTree) -> PyTree:
        leaves, tree = jax.tree.flatten(args)
        moving = range(len(args)) if argnums is None else argnums
        counts = [len(jax.tree.leaves(x)) for x in args]
        moves = [i in moving for i, count in enumerate(counts) for _ in range(count)]
        kinds = [jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves]
        moves = [a and b for a, b in zip(moves, kinds, strict=True)]

        def call(floats: list[Array], others: list[Array]) -> PyTree:
            a, b = iter(floats), iter(others)
            return function(*jax.tree.unflatten(tree, [next(a if m else b) for m in moves]))

        def backward(residuals: tuple, gradient: PyTree) -> tuple:
            floats, others, always = residuals

            def again(floats, others, gradient):
                return jax.vjp(lambda x: call(x, others), floats)[1](gradient)[0]

            def never(floats, others, gradient):
                return jax.tree.map(jnp.zeros_like, floats)

            return jax.lax.cond(always, again, never, floats, others, gradient), None, None

        program = jax.custom_vjp(lambda floats, others, always: call(floats, others))
        program.defvjp(lambda *inputs: (call(*inputs[:2]), inputs), backward)
        floats = [x for x, m in zip(leaves, moves, strict=True) if m]
        others = [x for x, m in zip(leaves, moves, strict=True) if not m]
        return program(floats, others, always)

    return checkpointed


def checkpoint_method(method: Callable) -> Callable:
    """``checkpoint`` of a function (module, *arrays) -> arrays that draws no random numbers."""
    return nn.transforms.lift_transform(_checkpoint_scope, method)


def _checkpoint_scope(function: Callable) -> Callable:
    """``checkpoint`` of a function of a flax scope; its variables are arguments and results."""

    def inner(make_scope, repack, variables, rngs, *args):
        def pure(variables: PyTree, *args: Array) -> tuple[PyTree, PyTree]:
            scope = make_scope(variables, rngs)
            return function(scope, *args), repack(scope)

        return checkpoint(pure)(variables, *args)

    return lift.pack(inner, (True,), (True,), (), name="checkpoint")


def map_images(function: Callable[[Array], Array], images: Array) -> Array:
    """``function`` of images [N ...], at the level "core" of ``IMAGES`` of them at a time.

    Examples:
        >>> map_images(lambda x: 2 * x, jnp.ones((3, 2))).shape
        (3, 2)
    """
    if not includes("core") or len(images) <= IMAGES:
        return function(images)
    length = len(images) // IMAGES * IMAGES
    groups = images[:length].reshape(-1, IMAGES, *images.shape[1:])
    mapped: Any = jax.lax.map(jax.checkpoint(function), groups)  # a loop needs no condition
    mapped = mapped.reshape(length, *mapped.shape[2:])
    if length == len(images):
        return mapped
    return jnp.concatenate([mapped, function(images[length:])])
