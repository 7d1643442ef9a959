"""Smooth filters of the past: polynomials under an exponential window."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array

WINDOW = 3.0  # time constants of the window that a kernel covers


def count(frames: int) -> int:
    """How many functions a kernel of so many frames has: one for two frames."""
    return (frames + 1) // 2


@functools.lru_cache
def basis(frames: int) -> np.ndarray:
    """Orthonormal functions, smooth first, of the frames up to the last: [functions frames].

    Discrete Laguerre functions, which describe temporal filters of neurons with few coefficients
    (e.g. Marmarelis 1993, "Identification of nonlinear biological systems using Laguerre
    expansions of kernels", Ann. Biomed. Eng.).
    """
    ago = np.arange(frames)[::-1] / frames
    columns = [ago**n * np.exp(-WINDOW * ago) for n in range(count(frames))]
    q, r = np.linalg.qr(np.stack(columns, 1))
    return (q * np.sign(np.diag(r))).T.astype(np.float32)


def smooth_normal(key: Array, shape: tuple[int, int, int], dtype=jnp.float32) -> Array:
    """Coefficients [functions C D] that prefer slow functions: std proportional to 1 / (1 + n)."""
    scale = (_std(shape[0]) / np.sqrt(shape[1])).astype(dtype)
    return jax.random.normal(key, shape, dtype) * scale[:, None, None]


def smooth_std(frames: int) -> np.ndarray:
    """Standard deviations of a slow random filter's coefficients, of unit norm: [functions]."""
    return _std(count(frames))


def _std(functions: int) -> np.ndarray:
    std = 1 / (1 + np.arange(functions, dtype=np.float32))
    return std / np.linalg.norm(std)


def filters(coefficients: Array, frames: int) -> Array:
    """Kernels over frames: [functions ...] -> [F ...]."""
    kernel = jnp.tensordot(basis(frames).T, coefficients, 1)
    return kernel.astype(coefficients.dtype)  # the basis is float32
