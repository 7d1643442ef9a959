"""Parameters that are kept within bounds."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sensorium_jax.types import Array


def clip_forward(x: Array, low: float, high: float | None = None) -> Array:
    """``jnp.clip`` with the gradient of the identity.

    A parameter beyond a bound then still learns its way back. neuralpredictors has the same
    gradient: it clips the parameter itself, in place.
    """
    return x + jax.lax.stop_gradient(jnp.clip(x, low, high) - x)
