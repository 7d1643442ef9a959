"""Reading a feature map at fractional positions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from sensorium_jax.types import Array

# Numbers gathered at a time: on a CPU those of one frame, since XLA's CPU backend is three to five
# times slower at gathering from several; else what keeps a GPU busy (128 MiB).
CPU_AT_ONCE, AT_ONCE = 1, 2**25


def bilinear_dot(features: Array, grid: Array, weights: Array) -> Array:
    """Interpolate a feature map at each neuron's position and weigh its channels.

    The features of all neurons in all frames, [M N C], are never there at once: frames are read in
    groups, and read again for the gradients. On a CPU that is faster, too
    (``benchmarks/readout.py``).

    Args:
        features: [M h w C], in float32 or less; sums are float32.
        grid: [M N 2], (x, y) with x along the width, -1 and 1 the centres of the border pixels
            (torch's ``align_corners=True``); outside the map all features are zero.
        weights: [N C].

    Returns:
        [M N]: sum_c weights[n, c] * features[m, y, x, c].
    """
    return jax.lax.platform_dependent(
        features,
        grid,
        weights,
        cpu=functools.partial(in_groups, at_once=CPU_AT_ONCE),
        default=functools.partial(in_groups, at_once=AT_ONCE),
    )


def in_groups(features: Array, grid: Array, weights: Array, *, at_once: int) -> Array:
    """``bilinear_dot``, gathering no more than ``at_once`` numbers (but one frame at least)."""
    frames = max(1, at_once // weights.size)
    if frames >= len(features):
        return _read(features, grid, weights)

    @jax.checkpoint
    def read_one(frame: tuple[Array, Array]) -> Array:
        return _read(*(x[None] for x in frame), weights)[0]

    return jax.lax.map(read_one, (features, grid), batch_size=frames)


def _read(features: Array, grid: Array, weights: Array) -> Array:
    """``bilinear_dot`` of all frames at once."""
    m, h, w, c = features.shape
    # In float32: the gradient of a pixel is a sum over all neurons that read it.
    pixels = features.reshape(m, h * w, c).astype(jnp.float32)
    x = (grid[..., 0] + 1) * (w - 1) / 2
    y = (grid[..., 1] + 1) * (h - 1) / 2
    left, top = jnp.floor(x), jnp.floor(y)

    def corner(column: Array, row: Array) -> Array:
        share = (1 - jnp.abs(x - column)) * (1 - jnp.abs(y - row))
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
        here = jnp.take_along_axis(pixels, index.astype(jnp.int32)[..., None], axis=1)  # [M N C]
        return jnp.where(inside, share, 0) * jnp.einsum("mnc,nc->mn", here, weights)

    return (
        corner(left, top)
        + corner(left + 1, top)
        + corner(left, top + 1)
        + corner(left + 1, top + 1)
    )
