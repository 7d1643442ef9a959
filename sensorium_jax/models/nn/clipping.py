"""Parameters that are kept within bounds."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sensorium_jax.types import Array


def clip_forward(x: Array, low: float, high: float | None = None) -> Array:
    """y = min(max(x, low), high) with the gradient of the identity, dy/dx = 1.

    A parameter beyond a bound therefore still receives a gradient and can return.
    neuralpredictors has the same gradient: it clips the parameter itself, in place.

    Examples:
        >>> float(clip_forward(2.0, -1.0, 1.0))
        1.0
        >>> float(jax.grad(clip_forward)(2.0, -1.0, 1.0))  # jnp.clip has 0.0 there
        1.0
    """
    return x + jax.lax.stop_gradient(jnp.clip(x, low, high) - x)
