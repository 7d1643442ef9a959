"""Penalties on weights, as the benchmark's baselines use them (neuralpredictors)."""

from __future__ import annotations

import jax.numpy as jnp

from sensorium_jax.types import Array


def laplace(kernel: Array) -> Array:
    """Roughness of filters relative to their energy, [K L C D] -> [].

    The sum of squares of the five-point Laplacian (zeros outside the filter) over the sum of
    squares of the weights: "LaplaceL2norm" in neuralpredictors.
    """
    x = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    neighbours = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return jnp.sum((4 * kernel - neighbours) ** 2) / jnp.sum(kernel**2)


def group_sparsity(kernel: Array) -> Array:
    """Mean Euclidean norm of the filters between pairs of channels, [K L C D] -> []."""
    tiny = jnp.finfo(kernel.dtype).tiny  # keeps the gradient of a zero filter finite
    return jnp.mean(jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1)) + tiny))
