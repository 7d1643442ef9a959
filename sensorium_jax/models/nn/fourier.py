"""Discrete Fourier transforms of images as matrix products, for CPUs.

    X(u, v) = sum_ij x(i, j) exp(-2 pi i (u i / rows + v j / columns))

XLA's fast transform runs at a few GFLOP/s on CPUs, and its result must be transposed before each
frequency can be one matrix product. Products with the matrices of all sines and cosines are faster
at the sizes of feature maps, whatever their prime factors, and put frequencies on the first axis.

Images are [w h ...], column by column. Transforms are [F 2 ...]: real and imaginary parts of the F
frequencies of a real transform, without the conjugates of others.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sensorium_jax.types import Array

Size = tuple[int, int]  # rows and columns
Complex = NDArray[np.complex128]


def transform(x: Array, size: Size) -> Array:
    """The transform of images, padded by zeros to the period ``size``: [w h ...] -> [F 2 ...].

    Examples:
        >>> x = np.ones((4, 6, 1), np.float32)  # 6 rows and 4 columns
        >>> y = transform(x, (6, 4))
        >>> y.shape, float(y[0, 0, 0].round())  # frequency zero is the sum of 24 pixels
        ((18, 2, 1), 24.0)
    """
    rows = _real_matrix(_waves(size[0], x.shape[1], size[0])).transpose(2, 0, 1, 3)  # [U 2 2 h]
    return _transform(x, size, rows, origin=(0, 0)).reshape(-1, 2, *x.shape[2:])


def parts(x: Array, size: Size, *, origin: Size) -> tuple[Array, Array]:
    """Real and imaginary parts of ``transform`` as two arrays: [w h ...] -> [F ...], [F ...].

    Row ``origin[0]`` and column ``origin[1]`` of the image have coordinates 0.
    """
    rows = _real_matrix(_waves(size[0], np.arange(x.shape[1]) - origin[0], size[0]))  # [2 2 U h]
    return tuple(_transform(x, size, part.transpose(1, 0, 2), origin=origin) for part in rows)


def _transform(x: Array, size: Size, rows: np.ndarray, *, origin: Size) -> Array:
    """Transform images [w h ...] with a matrix [... 2 h] for the rows: [F ... ...]."""
    w, h, *trailing = x.shape
    columns = _waves(_column_frequencies(size), np.arange(w) - origin[1], size[1])
    columns = np.stack([columns.real, columns.imag], 1).reshape(-1, w)  # [V*2 w]
    y = (_constant(columns) @ x.reshape(w, -1)).reshape(_column_frequencies(size), 2 * h, -1)
    return (_constant(rows.reshape(-1, 2 * h), repeats=len(y)) @ y).reshape(-1, *trailing)


def inverse(y: Array, size: Size, shape: Size) -> Array:
    """The images with a given transform.

    Args:
        y: [F 2 ...].
        size: rows and columns of a period.
        shape: rows h and columns w to compute, from the first.

    Returns:
        [w h ...].

    Examples:
        >>> x = np.arange(24.0).reshape(4, 6, 1)
        >>> np.allclose(inverse(transform(x, (6, 4)), (6, 4), (6, 4)), x, atol=1e-4)
        True
    """
    h, w = shape
    trailing, n_columns = y.shape[2:], _column_frequencies(size)
    rows = _waves(np.arange(h), size[0], size[0]).conj() / size[0]
    rows = _real_matrix(rows).transpose(0, 2, 3, 1).reshape(2 * h, 2 * size[0])  # [2*h U*2]
    x = _constant(rows, repeats=n_columns) @ y.reshape(n_columns, 2 * size[0], -1)
    columns = _waves(np.arange(w), n_columns, size[1]).conj() / size[1]
    # Frequencies with a conjugate that is not computed count twice.
    self_conjugate = 2 * np.arange(n_columns) % size[1] == 0
    columns = columns * np.where(self_conjugate, 1, 2)
    columns = np.stack([columns.real, -columns.imag], 2).reshape(w, -1)  # [w V*2]
    return (_constant(columns) @ x.reshape(columns.shape[1], -1)).reshape(w, h, *trailing)


def multiply(x: Array, real: Array, imaginary: Array) -> Array:
    """The transform of a correlation, y = x conj(kernel), at every frequency.

    With few images (N < 2 C), the 2 N rows of x are multiplied by the kernel's real part and by its
    imaginary part: the kernel is read once and not copied. With many images the kernel is the
    smaller array: one product of [x, -i x] with both parts needs no second pass over the result.

    Args:
        x: [F 2 N C] transforms of N images.
        real: [F C D] real part of the kernel's transform.
        imaginary: [F C D] imaginary part of the kernel's transform.

    Returns:
        [F 2 N D].

    Examples:
        >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1, 1)  # 1 + 2i
        >>> real, imaginary = jnp.full((1, 1, 1), 3.0), jnp.full((1, 1, 1), 4.0)
        >>> multiply(x, real, imaginary).ravel().tolist()  # (1 + 2i) (3 - 4i) = 11 + 2i
        [11.0, 2.0]
    """
    f, _, n, c = x.shape
    if n >= 2 * c:
        minus_ix = jnp.stack([x[:, 1], -x[:, 0]], axis=1)
        pairs = jnp.concatenate([x, minus_ix], axis=-1).reshape(f, 2 * n, 2 * c)
        return (pairs @ jnp.concatenate([real, imaginary], axis=1)).reshape(f, 2, n, -1)
    rows = x.reshape(f, 2 * n, c)
    real_product, imaginary_product = ((rows @ k).reshape(f, 2, n, -1) for k in (real, imaginary))
    sign = np.array([1, -1], np.float32)[:, None, None]
    return real_product + sign * imaginary_product[:, ::-1]


def _column_frequencies(size: Size) -> int:
    """Number of frequencies along the columns in a real transform."""
    return size[1] // 2 + 1


def _waves(a: int | np.ndarray, b: int | np.ndarray, period: int) -> Complex:
    """exp(-2 pi i a b / period) of all pairs; an integer n stands for 0, ..., n - 1."""
    a, b = (np.arange(x) if isinstance(x, int) else x for x in (a, b))
    return np.exp(-2j * np.pi * np.outer(a, b) / period)


def _real_matrix(z: Complex) -> np.ndarray:
    """A complex matrix as a real one that acts on (real, imaginary): [m n] -> [2 2 m n]."""
    return np.array([[z.real, -z.imag], [z.imag, z.real]])


def _constant(matrix: np.ndarray, *, repeats: int | None = None) -> Array:
    """A matrix as a float32 constant, repeated along a new first axis: [m n] -> [repeats m n]."""
    constant = jnp.asarray(matrix, jnp.float32)
    return constant if repeats is None else jnp.broadcast_to(constant, (repeats, *matrix.shape))
