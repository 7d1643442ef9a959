"""Smooth filters over past frames: polynomials under an exponential window."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array

WINDOW = 3.0  # length of a kernel in time constants of the exponential window


def count(frames: int) -> int:
    """Number of basis functions of a kernel of F frames, ceil(F / 2).

    Examples:
        >>> count(11), count(5)
        (6, 3)
    """
    return (frames + 1) // 2


@functools.lru_cache
def basis(frames: int) -> np.ndarray:
    """Orthonormal functions of time, smooth first: [functions frames], the last frame newest.

    The functions lag^n exp(-3 lag / F), n = 0, 1, ..., of the lag before the last frame, made
    orthonormal in this order: discrete Laguerre functions, which describe temporal filters of
    neurons with few coefficients (e.g. Marmarelis 1993, "Identification of nonlinear biological
    systems using Laguerre expansions of kernels", Ann. Biomed. Eng.).

    Examples:
        >>> basis(11).shape
        (6, 11)
        >>> bool(np.allclose(basis(11) @ basis(11).T, np.eye(6), atol=1e-6))
        True
        >>> int(basis(11)[0].argmax())  # the newest frame weighs most
        10
    """
    lag = np.arange(frames)[::-1] / frames
    columns = [lag**n * np.exp(-WINDOW * lag) for n in range(count(frames))]
    q, r = np.linalg.qr(np.stack(columns, 1))
    return (q * np.sign(np.diag(r))).T.astype(np.float32)


def smooth_normal(key: Array, shape: tuple[int, int, int], dtype=jnp.float32) -> Array:
    """Random coefficients [functions C D] that prefer slow functions.

    Function n has a standard deviation proportional to 1 / (1 + n); an output's variance is about
    that of an input.

    Examples:
        >>> smooth_normal(jax.random.key(0), (count(5), 2, 4)).shape
        (3, 2, 4)
    """
    scale = (_std(shape[0]) / np.sqrt(shape[1])).astype(dtype)
    return jax.random.normal(key, shape, dtype) * scale[:, None, None]


def smooth_std(frames: int) -> np.ndarray:
    """Standard deviations of a slow random filter's coefficients, of unit norm: [functions].

    Examples:
        >>> std = smooth_std(5)
        >>> (std[0] / std).round(4).tolist()
        [1.0, 2.0, 3.0]
    """
    return _std(count(frames))


def _std(functions: int) -> np.ndarray:
    std = 1 / (1 + np.arange(functions, dtype=np.float32))
    return std / np.linalg.norm(std)


def filters(coefficients: Array, frames: int) -> Array:
    """Kernels over frames, sum_n coefficients_n basis_n: [functions ...] -> [F ...].

    Examples:
        >>> filters(jnp.ones((count(11), 2, 4)), 11).shape
        (11, 2, 4)
    """
    kernel = jnp.tensordot(basis(frames).T, coefficients, 1)
    return kernel.astype(coefficients.dtype)  # the basis is float32
