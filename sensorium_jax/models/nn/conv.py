"""Two-dimensional convolution, lowered to what is fast on the device at hand.

XLA's own convolution is right for GPUs and TPUs. On CPUs its gradients are several times slower
than a Fourier transform, one matrix product per frequency and the transform back, for large
kernels; and than a sum of matrix products over shifted images, for small ones without padding
(``benchmarks/convolution.py`` measures all three). What is compiled is decided when the program
is lowered for a platform; values and gradients agree to float32 rounding.

Kernels are cast to the dtype of the images, which decides what is computed in.

As everywhere in deep learning, "convolution" is cross-correlation: kernels are not flipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import fourier
from sensorium_jax.types import Array

Padding = tuple[int, int]  # zeros above and below an image, and left and right of it

VALID: Padding = (0, 0)
LARGEST_SMALL = 3  # kernel size up to which the Fourier transform is slower on a CPU


def same(size: int) -> Padding:
    """The padding that keeps the image size for kernels of odd ``size`` (torch's ``size // 2``)."""
    return (size // 2, size // 2)


def conv2d(
    x: Array, kernel: Array, *, padding: Padding = VALID, stride: int = 1, dilation: int = 1
) -> Array:
    """Convolve images with a kernel.

    Args:
        x: [... H W C] images.
        kernel: [K L C D].
        padding: zeros at either end, of rows and of columns.
        stride: step between outputs, on both axes.
        dilation: pixels between neighbouring taps of the kernel, on both axes.

    Returns:
        [... H' W' D] with H' = (H + 2 padding[0] - (K - 1) dilation - 1) // stride + 1, and W'
        alike.
    """
    images, kernel = x.reshape(-1, *x.shape[-3:]), kernel.astype(x.dtype)

    def on_cpu(x: Array, kernel: Array) -> Array:
        kernel, pad = _dilated(kernel, dilation), padding
        if stride > 1:
            x, kernel, pad = _space_to_depth(x, kernel, padding=padding, stride=stride)
        return cpu_convolver(kernel, x.shape[1:3], padding=pad)(x)

    def directly(x: Array, kernel: Array) -> Array:
        return _direct(x, kernel, padding=padding, stride=stride, dilation=dilation)

    y = jax.lax.platform_dependent(images, kernel, cpu=on_cpu, default=directly)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def conv3d(
    x: Array,
    kernel: Array,
    *,
    padding: Padding = VALID,
    stride: int = 1,
    dilation: int = 1,
    frame_dilation: int = 1,
) -> Array:
    """Convolve films with a kernel over frames, rows and columns; time is never padded.

    Args:
        x: [B T H W C] films.
        kernel: [F K L C D].
        padding: as in ``conv2d``, of space.
        stride: as in ``conv2d``, of space.
        dilation: as in ``conv2d``, of space.
        frame_dilation: frames between neighbouring taps.

    Returns:
        [B T' H' W' D] with T' = T - (F - 1) frame_dilation.
    """
    space = {"padding": padding, "stride": stride, "dilation": dilation}
    kernel = kernel.astype(x.dtype)

    def as_images(x: Array, kernel: Array) -> Array:
        stacked = windows(x, len(kernel), dilation=frame_dilation)  # [B T' H W F*C]
        flat = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
        return conv2d(stacked, flat, **space)

    def directly(x: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, stride, stride),
            ((0, 0), *((p, p) for p in padding)),
            rhs_dilation=(frame_dilation, dilation, dilation),
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )

    return jax.lax.platform_dependent(x, kernel, cpu=as_images, default=directly)


def conv_time(x: Array, kernel: Array, *, dilation: int = 1) -> Array:
    """Convolve every pixel's time course with a kernel.

    Args:
        x: [B T h w C].
        kernel: [F C D].
        dilation: frames between neighbouring taps.

    Returns:
        [B T' h w D] with T' = T - (F - 1) dilation.
    """
    pixels = x.reshape(*x.shape[:2], -1, x.shape[-1])
    y = jax.lax.platform_dependent(
        pixels,
        kernel.astype(x.dtype),
        cpu=functools.partial(_conv_time_on_cpu, dilation),
        default=functools.partial(_conv_time, dilation),
    )
    return y.reshape(*y.shape[:2], *x.shape[2:4], -1)


def _conv_time(dilation: int, x: Array, kernel: Array) -> Array:
    """[B T P C], [F C D] -> [B T' P D]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel[:, None],
        (1, 1),
        "VALID",
        rhs_dilation=(dilation, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_time_on_cpu(dilation: int, x: Array, kernel: Array) -> Array:
    """``_conv_time``, whose gradient of the kernel XLA's CPU backend would be slow at.

    It is the convolution over frames of one channel with one of the output's gradient, summed over
    pixels and films: with channels for films, and pixels of all films for channels, XLA is five
    times faster at it (``benchmarks/convolution.py``).
    """
    return _conv_time(dilation, x, kernel)


def _conv_time_forward(dilation: int, x: Array, kernel: Array) -> tuple[Array, tuple]:
    return _conv_time(dilation, x, kernel), (x, kernel)


def _conv_time_backward(dilation: int, kept: tuple, gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    (of_x,) = jax.linear_transpose(lambda x: _conv_time(dilation, x, kernel), x)(gradient)
    of_kernel = jax.lax.conv_general_dilated(
        jnp.transpose(x, (3, 1, 0, 2)).reshape(x.shape[3], x.shape[1], -1),  # [C T B*P]
        jnp.transpose(gradient, (1, 0, 2, 3)).reshape(gradient.shape[1], -1, gradient.shape[3]),
        (dilation,),
        "VALID",
        dimension_numbers=("NHC", "HIO", "NHC"),
        preferred_element_type=jnp.float32,
    )  # [C F D]
    return of_x, jnp.transpose(of_kernel, (1, 0, 2)).astype(kernel.dtype)


_conv_time_on_cpu.defvjp(_conv_time_forward, _conv_time_backward)


def windows(x: Array, taps: int, *, dilation: int = 1) -> Array:
    """Every frame beside those before it, as channels: [B T ... C] -> [B T' ... taps*C]."""
    frames = x.shape[1] - (taps - 1) * dilation
    return jnp.concatenate(
        [x[:, i * dilation : i * dilation + frames] for i in range(taps)], axis=-1
    )


def conv2d_constant(
    planes: Array, kernel: Array, image_shape: tuple[int, int], **options: Padding | int
) -> Array:
    """Convolve images that have one value everywhere, without making them.

    Args:
        planes: [... P] the value of each plane.
        kernel: [K L P D].
        image_shape: height and width of the planes.
        **options: of ``conv2d``.

    Returns:
        [... H' W' D]; constant in space but where zeros of the padding reach in.
    """
    p = planes.shape[-1]
    ones = jnp.broadcast_to(jnp.eye(p, dtype=planes.dtype)[:, None, None], (p, *image_shape, p))
    return jnp.tensordot(planes, conv2d(ones, kernel, **options), 1)


def on_platform(program: Callable, *arrays: Array, padding: Padding) -> Array:
    """Lower ``program(*arrays, convolver=..., padding=...)`` with the device's own convolver."""
    return jax.lax.platform_dependent(
        *arrays,
        cpu=functools.partial(program, convolver=cpu_convolver, padding=padding),
        default=functools.partial(program, convolver=direct_convolver, padding=padding),
    )


def direct_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """A function [N H W C] -> [N H' W' D] that leaves the choice of algorithm to XLA."""
    del image_shape  # only the Fourier form must know it
    return lambda x: _direct(x, kernel, padding=padding)


def _direct(
    x: Array, kernel: Array, *, padding: Padding, stride: int = 1, dilation: int = 1
) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(p, p) for p in padding],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


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
    rows, columns = _output_shape(image_shape, kernel, padding)

    def convolve(x: Array) -> Array:
        x = _padded(x, padding)
        wide = jnp.concatenate([x[:, :, j : j + columns] for j in range(l)], axis=-1)
        return sum(wide[:, i : i + rows] @ kernel[i].reshape(l * c, d) for i in range(k))

    return convolve


def fourier_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """A function [N H W C] -> [N H' W' D]; the kernel is transformed once, here.

    The product of two transforms is a circular convolution. It needs the padding's zeros once
    only: those after the last row also precede the first.
    """
    taps = kernel.shape[:2]
    out = _output_shape(image_shape, kernel, padding)
    size = tuple(
        max(n + p, k, o) for n, p, k, o in zip(image_shape, padding, taps, out, strict=True)
    )
    # In lower precision only the result is rounded.
    kernel = jnp.transpose(kernel, (1, 0, 2, 3)).astype(jnp.float32)
    parts = fourier.parts(kernel, size, origin=padding)  # [F C D] each

    def convolve(x: Array) -> Array:
        columns = jnp.transpose(x, (2, 1, 0, 3)).astype(jnp.float32)  # [W H N C]
        y_f = fourier.multiply(fourier.transform(columns, size), *parts)
        y = fourier.inverse(y_f, size, out)
        return jnp.transpose(y, (2, 1, 0, 3)).astype(x.dtype)

    return convolve


def _space_to_depth(
    x: Array, kernel: Array, *, padding: Padding, stride: int
) -> tuple[Array, Array, Padding]:
    """Write a strided convolution as one of stride 1 over blocks of stride x stride pixels."""
    n, _, _, c = x.shape
    k, l, _, d = kernel.shape
    steps = [(size - 1) // stride for size in _output_shape(x.shape[1:3], kernel, padding)]
    k_blocks, l_blocks = -(-k // stride), -(-l // stride)
    rows, columns = (steps[0] + k_blocks) * stride, (steps[1] + l_blocks) * stride

    x = _padded(x, padding)
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


def _output_shape(image_shape: tuple[int, int], kernel: Array, padding: Padding) -> list[int]:
    """Rows and columns of a convolution of stride 1."""
    taps = kernel.shape[:2]
    return [n + 2 * p - k + 1 for n, p, k in zip(image_shape, padding, taps, strict=True)]


def _padded(x: Array, padding: Padding) -> Array:
    return jnp.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)))


def _dilated(kernel: Array, dilation: int) -> Array:
    """A kernel with zeros between its taps: [K L C D] -> [(K - 1) dilation + 1 ... C D]."""
    between = (0, 0, dilation - 1)
    return jax.lax.pad(kernel, jnp.zeros((), kernel.dtype), (between, between, (0,) * 3, (0,) * 3))
