"""Reading a feature map at fractional positions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from sensorium_jax.types import Array

# Most numbers [frames N C] gathered in one operation. On a CPU those of one frame: XLA's CPU
# backend gathers from several frames three to five times slower. Else what keeps a GPU busy
# (128 MiB).
CPU_GATHER_SIZE, GATHER_SIZE = 1, 2**25


def bilinear_dot(features: Array, grid: Array, weights: Array) -> Array:
    """Interpolate a feature map at each neuron's position and weigh its channels.

        y_mn = sum_c weights_nc F_mc(grid_mn),  F bilinear between pixels and zero off the map

    The features of all neurons in all frames, [M N C], are never in memory together: frames are
    read in groups, and read again for the gradients. On a CPU that is faster, too
    (``benchmarks/readout.py``).

    Args:
        features: [M h w C], in float32 or less; sums are float32.
        grid: [M N 2], (x, y) with x along the width, -1 and 1 the centres of the border pixels
            (torch's ``align_corners=True``); outside the map all features are zero.
        weights: [N C].

    Returns:
        [M N].

    Examples:
        >>> features = jnp.array([0.0, 10.0]).reshape(1, 1, 2, 1)  # two pixels side by side
        >>> grid = jnp.array([[[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [5.0, 0.0]]])
        >>> bilinear_dot(features, grid, jnp.ones((4, 1))).tolist()  # the last is off the map
        [[0.0, 5.0, 10.0, 0.0]]
    """
    return jax.lax.platform_dependent(
        features,
        grid,
        weights,
        cpu=functools.partial(grouped_bilinear_dot, gather_size=CPU_GATHER_SIZE),
        default=functools.partial(grouped_bilinear_dot, gather_size=GATHER_SIZE),
    )


def grouped_bilinear_dot(
    features: Array, grid: Array, weights: Array, *, gather_size: int
) -> Array:
    """``bilinear_dot`` that gathers at most ``gather_size`` numbers, or one frame, per operation.

    Examples:
        >>> features, grid, weights = jnp.ones((6, 4, 4, 2)), jnp.zeros((6, 3, 2)), jnp.ones((3, 2))
        >>> grouped_bilinear_dot(features, grid, weights, gather_size=12).shape  # 2 frames each
        (6, 3)
    """
    frames = max(1, gather_size // weights.size)
    if frames >= len(features):
        return _read(features, grid, weights)

    @jax.checkpoint
    def read_one(frame: tuple[Array, Array]) -> Array:
        features, grid = frame
        return _read(features[None], grid[None], weights)[0]

    return jax.lax.map(read_one, (features, grid), batch_size=frames)


def _read(features: Array, grid: Array, weights: Array) -> Array:
    """``bilinear_dot`` of all frames in one operation."""
    m, h, w, c = features.shape
    # In float32: the gradient of a pixel is a sum over all neurons that read it.
    pixels = features.reshape(m, h * w, c).astype(jnp.float32)
    x = (grid[..., 0] + 1) * (w - 1) / 2
    y = (grid[..., 1] + 1) * (h - 1) / 2
    left, top = jnp.floor(x), jnp.floor(y)

    def corner(column: Array, row: Array) -> Array:
        share = (1 - jnp.abs(x - column)) * (1 - jnp.abs(y - row))
        on_map = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
        pixel = jnp.take_along_axis(pixels, index.astype(jnp.int32)[..., None], axis=1)  # [M N C]
        return jnp.where(on_map, share, 0) * jnp.einsum("mnc,nc->mn", pixel, weights)

    return (
        corner(left, top)
        + corner(left + 1, top)
        + corner(left, top + 1)
        + corner(left + 1, top + 1)
    )
