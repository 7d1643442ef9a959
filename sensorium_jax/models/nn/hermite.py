"""Steerable filters: two-dimensional Hermite functions and their rotations.

The Hermite function of order n = m + 2 v is, in polar form (Victor, Mechler, Repucci, Purpura &
Sharpee 2006, "Responses of V1 neurons to two-dimensional Hermite functions", J. Neurophysiol.,
eq. 3),

    (-1)^v r^m L_v^m(r^2) exp(-r^2 / 2) {cos, sin}(m theta),

so that a rotation only mixes its cosine and sine parts. A filter of size K is a weighted sum of the
K (K + 1) / 2 Hermite functions of order below K. Ecker et al. 2019 ("A
rotation-equivariant convolutional neural network model of primary visual cortex", ICLR) build
the core of the benchmark's GRU baseline from them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import genlaguerre

from sensorium_jax.types import Array

UPSAMPLING = 2  # filters are sampled twice as finely, then summed 2 x 2 (Ecker 2019, code)


class Mode(NamedTuple):
    """One Hermite function: angular order m, radial order v, angular part cos or sin."""

    m: int
    v: int
    part: str


def modes(size: int) -> list[Mode]:
    """The K (K + 1) / 2 modes of order m + 2 v below ``size``, sorted by m + 2 v, then m.

    Examples:
        >>> modes(2)
        [Mode(m=0, v=0, part='cos'), Mode(m=1, v=0, part='cos'), Mode(m=1, v=0, part='sin')]
        >>> len(modes(9))
        45
    """
    return [
        Mode(m, (order - m) // 2, part)
        for order in range(size)
        for m in range(order % 2, order + 1, 2)
        for part in (("cos",) if m == 0 else ("cos", "sin"))
    ]


def smooth_normal(size: int) -> Callable:
    """An initialiser of coefficients [modes C_in C_out] that prefers smooth filters.

    A mode of order n has a standard deviation proportional to 1 / (1 + n), so that filters start
    with the spatial scale of natural images instead of white noise; an output's variance is about
    that of an input.

    Examples:
        >>> smooth_normal(9)(jax.random.key(0), (45, 1, 8)).shape
        (45, 1, 8)
    """

    def init(key: Array, shape: tuple[int, int, int], dtype=jnp.float32) -> Array:
        scale = (smooth_std(size) / math.sqrt(shape[1])).astype(dtype)
        return jax.random.normal(key, shape, dtype) * scale[:, None, None]

    return init


def smooth_std(size: int) -> np.ndarray:
    """Standard deviations of a smooth random filter's coefficients, of unit norm: [modes].

    Examples:
        >>> std = smooth_std(2)
        >>> (std[0] / std).tolist()  # orders 0, 1 and 1
        [1.0, 2.0, 2.0]
    """
    std = np.array([1 / (1 + m + 2 * v) for m, v, _ in modes(size)], np.float32)
    return std / np.linalg.norm(std)


@functools.lru_cache
def basis(size: int, upsampling: int = UPSAMPLING) -> np.ndarray:
    """Hermite functions at U K x U K points: [modes UK UK], each of unit norm.

    Points are sqrt(8 / K) / U apart, so that K pixels span the same range for any U.

    Examples:
        >>> basis(9).shape
        (45, 18, 18)
        >>> float((basis(9)[0] ** 2).sum().round(4))
        1.0
    """
    points = upsampling * size
    axis = (np.arange(points) - (points - 1) / 2) * math.sqrt(8 / size) / upsampling
    x, y = axis[None, :], axis[:, None]  # y runs down, with the rows
    r, theta = np.hypot(x, y), np.arctan2(y, x)
    functions = [
        (-1) ** v
        * r**m
        * genlaguerre(v, m)(r**2)
        * np.exp(-(r**2) / 2)
        * (np.cos(m * theta) if part == "cos" else np.sin(m * theta))
        for m, v, part in modes(size)
    ]
    return np.stack([f / np.linalg.norm(f) for f in functions]).astype(np.float32)


@functools.lru_cache
def rotations(size: int, n: int) -> np.ndarray:
    """The ``n`` matrices that rotate coefficients by 2 pi k / n: [n modes modes].

    Examples:
        >>> half_turn = rotations(2, 2)[1]
        >>> np.diag(half_turn).tolist()  # order 0 stays, order 1 changes its sign
        [1.0, -1.0, -1.0]
    """
    labels = modes(size)
    matrices = np.zeros((n, len(labels), len(labels)), np.float32)
    for k in range(n):
        for i, (m, _, part) in enumerate(labels):
            angle = 2 * math.pi * k * m / n
            matrices[k, i, i] = math.cos(angle)
            if part == "cos" and m > 0:  # the sine part of the same order is at i + 1
                matrices[k, i, i + 1] = math.sin(angle)
                matrices[k, i + 1, i] = -math.sin(angle)
    return matrices


def filters(
    coefficients: Array,
    *,
    size: int,
    n_rotations: int = 1,
    roll_inputs: bool = False,
    upsampling: int = UPSAMPLING,
) -> Array:
    """All rotations of steerable filters.

        filter_k = sum_n basis_n (R_k coefficients)_n,  R_k the rotation by 2 pi k / R

    Args:
        coefficients: [modes C_in C_out], C_out features.
        size: K, height and width of a filter in pixels.
        n_rotations: number R of equally spaced rotations.
        roll_inputs: the input channels are rotations themselves ([rotation, feature] order), so
            they turn with the filter: rotation k sees them rolled by k steps. False in the first
            layer.
        upsampling: U, the functions are sampled at U x U points a pixel, which are summed.

    Returns:
        [K K C_in R*C_out], output channel = rotation * C_out + feature.

    Examples:
        >>> coefficients = jnp.ones((len(modes(5)), 1, 3))
        >>> filters(coefficients, size=5, n_rotations=4).shape
        (5, 5, 1, 12)
    """
    _, c_in, c_out = coefficients.shape
    rotated = jnp.einsum("kmn,nio->kmio", rotations(size, n_rotations), coefficients)
    points = jnp.einsum("mhw,kmio->khwio", basis(size, upsampling), rotated)
    pixels = points.reshape(n_rotations, size, upsampling, size, upsampling, c_in, c_out)
    pixels = pixels.sum((2, 4))  # [R K K C_in C_out]
    if roll_inputs:
        step = c_in // n_rotations
        pixels = jnp.stack([jnp.roll(f, k * step, axis=2) for k, f in enumerate(pixels)])
    kernel = jnp.moveaxis(pixels, 0, 3).reshape(size, size, c_in, n_rotations * c_out)
    return kernel.astype(coefficients.dtype)  # the basis is float32
