"""Discrete Fourier transforms of images as matrix products, for CPUs.

XLA's fast transform runs at a few GFLOP/s there, and its result must be rearranged before every
frequency can be a matrix product of its own. Products with the matrices of all sines and cosines
are faster at the sizes of feature maps, whatever their prime factors, and leave the frequencies in
front. Images are [w h ...], column by column; transforms [F 2 ...], real and imaginary parts of
the frequencies that are not another's conjugate.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array

Size = tuple[int, int]  # rows and columns


def transform(x: Array, size: Size) -> Array:
    """The transform of images that zeros continue to ``size``, a period: [w h ...] -> [F 2 ...]."""
    rows = _on_parts(_waves(size[0], x.shape[1], size[0])).transpose(2, 0, 1, 3)  # [U 2 2 h]
    return _transform(x, size, rows, origin=(0, 0)).reshape(-1, 2, *x.shape[2:])


def parts(x: Array, size: Size, *, origin: Size) -> tuple[Array, Array]:
    """As ``transform``, with the real and the imaginary part apart: [w h ...] -> two [F ...].

    Row and column ``origin`` of the image count as the first.
    """
    rows = _on_parts(_waves(size[0], np.arange(x.shape[1]) - origin[0], size[0]))  # [2 2 U h]
    return tuple(_transform(x, size, part.transpose(1, 0, 2), origin=origin) for part in rows)


def _transform(x: Array, size: Size, rows: np.ndarray, *, origin: Size) -> Array:
    """Of images [w h ...], with a matrix [... 2 h] for the rows: [F ... ...]."""
    w, h, *rest = x.shape
    columns = _waves(_half(size), np.arange(w) - origin[1], size[1])
    columns = np.stack([columns.real, columns.imag], 1).reshape(-1, w)  # [V*2 w]
    y = (_constant(columns) @ x.reshape(w, -1)).reshape(_half(size), 2 * h, -1)
    return (_constant(rows.reshape(-1, 2 * h), repeats=len(y)) @ y).reshape(-1, *rest)


def inverse(y: Array, size: Size, shape: Size) -> Array:
    """The images with a given transform.

    Args:
        y: [F 2 ...].
        size: rows and columns of a period.
        shape: rows h and columns w to compute, from the first.

    Returns:
        [w h ...].
    """
    h, w = shape
    rest = y.shape[2:]
    rows = _waves(np.arange(h), size[0], size[0]).conj() / size[0]
    rows = _on_parts(rows).transpose(0, 2, 3, 1).reshape(2 * h, 2 * size[0])  # [2*h U*2]
    x = _constant(rows, repeats=_half(size)) @ y.reshape(_half(size), 2 * size[0], -1)
    columns = _waves(np.arange(w), _half(size), size[1]).conj() / size[1]
    # All others stand for their conjugates too.
    alone = 2 * np.arange(_half(size)) % size[1] == 0
    columns = columns * np.where(alone, 1, 2)
    columns = np.stack([columns.real, -columns.imag], 2).reshape(w, -1)  # [w V*2]
    return (_constant(columns) @ x.reshape(columns.shape[1], -1)).reshape(w, h, *rest)


def multiply(x: Array, real: Array, imaginary: Array) -> Array:
    """The transform of a correlation: [F 2 N C] and a kernel's parts [F C D] -> [F 2 N D].

    x times the kernel's conjugate. Of few images, both parts of x are rows of one product with the
    kernel's real part, and of one with its imaginary part: the kernel is read once, and not
    copied. Of many it is the smaller one: x stands beside (imaginary, -real) in a single product,
    whose sum needs no further pass over the result.
    """
    f, _, n, c = x.shape
    if n >= 2 * c:
        turned = jnp.stack([x[:, 1], -x[:, 0]], axis=1)
        beside = jnp.concatenate([x, turned], axis=-1).reshape(f, 2 * n, 2 * c)
        return (beside @ jnp.concatenate([real, imaginary], axis=1)).reshape(f, 2, n, -1)
    both = x.reshape(f, 2 * n, c)
    by_real, by_imaginary = ((both @ k).reshape(f, 2, n, -1) for k in (real, imaginary))
    sign = np.array([1, -1], np.float32)[:, None, None]
    return by_real + sign * by_imaginary[:, ::-1]


def _half(size: Size) -> int:
    """Frequencies along the columns whose conjugates are not among them."""
    return size[1] // 2 + 1


def _waves(a: int | np.ndarray, b: int | np.ndarray, period: int) -> np.ndarray:
    """exp(-2 pi i a b / period) of all pairs; a number stands for all integers below it."""
    a, b = (np.arange(x) if isinstance(x, int) else x for x in (a, b))
    return np.exp(-2j * np.pi * np.outer(a, b) / period)


def _on_parts(z: np.ndarray) -> np.ndarray:
    """What a complex matrix does to real and imaginary parts: [m n] -> [2 2 m n]."""
    return np.array([[z.real, -z.imag], [z.imag, z.real]])


def _constant(matrix: np.ndarray, *, repeats: int | None = None) -> Array:
    """A float32 constant, as many times as asked for: it is small beside what it multiplies."""
    constant = jnp.asarray(matrix, jnp.float32)
    return constant if repeats is None else jnp.broadcast_to(constant, (repeats, *matrix.shape))
