"""Two-dimensional convolution, lowered to what is fast on the device at hand.

XLA's own convolution is right for GPUs and TPUs. On CPUs its gradients are several times slower
than a Fourier transform, one matrix product per frequency and the transform back, for large
kernels; and than a sum of matrix products over shifted images, for small ones without padding
(``benchmarks/convolution.py`` measures all three). What is compiled is decided when the program
is lowered for a platform; values and gradients agree to float32 rounding.

As everywhere in deep learning, "convolution" is cross-correlation: kernels are not flipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sensorium_jax.types import Array

Padding = tuple[int, int]  # zeros before and after, the same on both axes

VALID: Padding = (0, 0)
LARGEST_SMALL = 3  # kernel size up to which the Fourier transform is slower on a CPU


def same(size: int) -> Padding:
    """The padding that keeps the image size for kernels of odd ``size`` (torch's ``size // 2``)."""
    return (size // 2, size // 2)


def conv2d(x: Array, kernel: Array, *, padding: Padding = VALID, stride: int = 1) -> Array:
    """Convolve images with a kernel.

    Args:
        x: [... H W C] images.
        kernel: [K L C D].
        padding: zeros before and after, on both axes.
        stride: step between outputs, on both axes.

    Returns:
        [... H' W' D] with H' = (H + sum(padding) - K) // stride + 1, and W' alike.
    """
    images = x.reshape(-1, *x.shape[-3:])
    if stride > 1:
        images, kernel, padding = _space_to_depth(images, kernel, padding=padding, stride=stride)
    y = on_platform(_convolve, images, kernel, padding=padding)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def on_platform(program: Callable, *arrays: Array, padding: Padding) -> Array:
    """Lower ``program(*arrays, convolver=..., padding=...)`` with the device's own convolver."""
    return jax.lax.platform_dependent(
        *arrays,
        cpu=functools.partial(program, convolver=cpu_convolver, padding=padding),
        default=functools.partial(program, convolver=direct_convolver, padding=padding),
    )


def _convolve(x: Array, kernel: Array, *, convolver: Callable, padding: Padding) -> Array:
    return convolver(kernel, x.shape[1:3], padding=padding)(x)


def direct_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """A function [N H W C] -> [N H' W' D] that leaves the choice of algorithm to XLA."""
    del image_shape  # only the Fourier form must know it

    def convolve(x: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return convolve


def cpu_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """The fastest of the three forms on a CPU: a function [N H W C] -> [N H' W' D]."""
    if max(kernel.shape[:2]) > LARGEST_SMALL:
        convolver = fourier_convolver
    else:  # XLA is slow at the gradients of small kernels only where they are not padded
        convolver = shifted_convolver if padding == VALID else direct_convolver
    return convolver(kernel, image_shape, padding=padding)


def shifted_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """A function [N H W C] -> [N H' W' D]: one matrix product per row of the kernel.

    The shifts along the width stand side by side as channels.
    """
    k, l, c, d = kernel.shape
    rows, columns = (
        n + sum(padding) - taps + 1 for n, taps in zip(image_shape, (k, l), strict=True)
    )

    def convolve(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
        wide = jnp.concatenate([x[:, :, j : j + columns] for j in range(l)], axis=-1)
        return sum(wide[:, i : i + rows] @ kernel[i].reshape(l * c, d) for i in range(k))

    return convolve


def fourier_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """A function [N H W C] -> [N H' W' D]; the kernel is transformed once, here.

    The product of two transforms is a circular convolution. It needs no more than max(padding)
    zeros beyond the image, since those after the last row also precede the first.
    """
    before, after = padding
    out = [n + before + after - k + 1 for n, k in zip(image_shape, kernel.shape[:2], strict=True)]
    size = [
        _fast_length(max(n + before, n + after, k, o))
        for n, k, o in zip(image_shape, kernel.shape[:2], out, strict=True)
    ]
    room = [(0, n - k) for n, k in zip(size, kernel.shape[:2], strict=True)]
    centred = jnp.roll(jnp.pad(kernel, (*room, (0, 0), (0, 0))), (-before, -before), (0, 1))
    kernel_f = jnp.conj(jnp.fft.rfft2(centred, axes=(0, 1)))  # [U V C D]

    def convolve(x: Array) -> Array:
        x_f = jnp.fft.rfft2(x, s=size, axes=(1, 2))  # [N U V C]
        y_f = jnp.einsum("nuvc,uvcd->nuvd", x_f, kernel_f)
        return jnp.fft.irfft2(y_f, s=size, axes=(1, 2))[:, : out[0], : out[1]]

    return convolve


def _fast_length(n: int) -> int:
    """The smallest length of at least ``n`` whose only prime factors are 2, 3 and 5."""
    remainder = n
    for prime in (2, 3, 5):
        while remainder % prime == 0:
            remainder //= prime
    return n if remainder == 1 else _fast_length(n + 1)


def _space_to_depth(
    x: Array, kernel: Array, *, padding: Padding, stride: int
) -> tuple[Array, Array, Padding]:
    """Write a strided convolution as one of stride 1 over blocks of stride x stride pixels."""
    n, h, w, c = x.shape
    k, l, _, d = kernel.shape
    blocks = [(size + sum(padding) - taps) // stride for size, taps in ((h, k), (w, l))]
    k_blocks, l_blocks = -(-k // stride), -(-l // stride)
    rows, columns = (blocks[0] + k_blocks) * stride, (blocks[1] + l_blocks) * stride

    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    x = jnp.pad(
        x, ((0, 0), (0, max(0, rows - x.shape[1])), (0, max(0, columns - x.shape[2])), (0, 0))
    )[:, :rows, :columns]
    x = x.reshape(n, rows // stride, stride, columns // stride, stride, c)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows // stride, columns // stride, -1)

    kernel = jnp.pad(
        kernel, ((0, k_blocks * stride - k), (0, l_blocks * stride - l), (0, 0), (0, 0))
    )
    kernel = kernel.reshape(k_blocks, stride, l_blocks, stride, c, d)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(k_blocks, l_blocks, -1, d)
    return x, kernel, VALID
