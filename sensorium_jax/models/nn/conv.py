"""Convolutions of images and videos, with the fastest algorithm for each platform.

    y[i, j, d] = sum_klc kernel[k, l, c, d] x[i + k, j + l, c]

As everywhere in deep learning this is a cross-correlation: kernels are not flipped. Kernels are
cast to the dtype of the images, in which the convolution is computed.

GPUs and TPUs use XLA's own convolution. On CPUs the gradients of XLA's convolution are slow. For
large kernels a Fourier transform, one matrix product per frequency and the inverse transform are
several times faster; for small kernels without padding a sum of matrix products over shifted images
is (``benchmarks/convolution.py`` measures all three). The algorithm is chosen when the program is
lowered for a platform; values and gradients agree to float32 rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import fourier, remat
from sensorium_jax.types import Array

Padding = tuple[int, int]  # zeros above and below an image, and left and right of it

VALID: Padding = (0, 0)
LARGEST_SMALL = 3  # kernel size up to which the Fourier transform is slower on a CPU


def same_padding(size: int) -> Padding:
    """The padding that keeps the image size for kernels of odd ``size`` (torch's ``size // 2``).

    Examples:
        >>> same_padding(5)
        (2, 2)
    """
    return (size // 2, size // 2)


def conv2d(
    x: Array, kernel: Array, *, padding: Padding = VALID, stride: int = 1, dilation: int = 1
) -> Array:
    """Convolve images with a kernel.

        y[i, j, d] = sum_klc kernel[k, l, c, d] x[i stride + k dilation, j stride + l dilation, c]

    Args:
        x: [... H W C] images.
        kernel: [K L C D].
        padding: zeros on either side, of rows and of columns.
        stride: step between outputs, on both axes.
        dilation: pixels between neighbouring taps of the kernel, on both axes.

    Returns:
        [... H' W' D] with H' = (H + 2 padding[0] - (K - 1) dilation - 1) // stride + 1, and W'
        alike.

    Examples:
        >>> conv2d(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 1)))[0, ..., 0].tolist()  # 3 x 3 x 2
        [[18.0, 18.0], [18.0, 18.0]]
        >>> strided = functools.partial(conv2d, stride=2)
        >>> jax.eval_shape(strided, jnp.ones((36, 64, 1)), jnp.ones((9, 9, 1, 8))).shape
        (14, 28, 8)
    """
    images, kernel = x.reshape(-1, *x.shape[-3:]), kernel.astype(x.dtype)

    def cpu_form(x: Array, kernel: Array) -> Array:
        kernel, pad = _dilate(kernel, dilation), padding
        if stride > 1:
            x, kernel, pad = _space_to_depth(x, kernel, padding=padding, stride=stride)
        return cpu_convolver(kernel, x.shape[1:3], padding=pad)(x)

    def direct_form(x: Array, kernel: Array) -> Array:
        return _direct(x, kernel, padding=padding, stride=stride, dilation=dilation)

    y = jax.lax.platform_dependent(images, kernel, cpu=cpu_form, default=direct_form)
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
    """Convolve videos with a kernel over frames, rows and columns; time is never padded.

        y[t, i, j, d] = sum_fklc kernel[f, k, l, c, d] x[t + f, i + k, j + l, c]

    without strides and dilations.

    Args:
        x: [B T H W C] videos.
        kernel: [F K L C D].
        padding: of rows and columns, as in ``conv2d``.
        stride: of rows and columns, as in ``conv2d``.
        dilation: of rows and columns, as in ``conv2d``.
        frame_dilation: frames between neighbouring taps.

    Returns:
        [B T' H' W' D] with T' = T - (F - 1) frame_dilation.

    Examples:
        >>> x, kernel = jnp.ones((1, 10, 6, 6, 1)), jnp.ones((4, 3, 3, 1, 2))
        >>> jax.eval_shape(conv3d, x, kernel).shape  # 10 - 3 frames, 6 - 2 pixels
        (1, 7, 4, 4, 2)
    """
    space = {"padding": padding, "stride": stride, "dilation": dilation}
    kernel = kernel.astype(x.dtype)

    def image_form(x: Array, kernel: Array) -> Array:
        stacked = windows(x, len(kernel), dilation=frame_dilation)  # [B T' H W F*C]
        flat = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
        return conv2d(stacked, flat, **space)

    def direct_form(x: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, stride, stride),
            ((0, 0), *((p, p) for p in padding)),
            rhs_dilation=(frame_dilation, dilation, dilation),
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )

    return jax.lax.platform_dependent(x, kernel, cpu=image_form, default=direct_form)


def conv_time(x: Array, kernel: Array, *, dilation: int = 1) -> Array:
    """Convolve every pixel's time course with a kernel.

        y[t, d] = sum_fc kernel[f, c, d] x[t + f dilation, c]

    Args:
        x: [B T h w C].
        kernel: [F C D].
        dilation: frames between neighbouring taps.

    Returns:
        [B T' h w D] with T' = T - (F - 1) dilation.

    Examples:
        >>> x = jnp.arange(4.0).reshape(1, 4, 1, 1, 1)
        >>> conv_time(x, jnp.array([-1.0, 1.0]).reshape(2, 1, 1)).ravel().tolist()
        [1.0, 1.0, 1.0]
    """
    pixels = x.reshape(*x.shape[:2], -1, x.shape[-1])
    y = jax.lax.platform_dependent(
        pixels,
        kernel.astype(x.dtype),
        cpu=functools.partial(_cpu_conv_time, dilation),
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
def _cpu_conv_time(dilation: int, x: Array, kernel: Array) -> Array:
    """``_conv_time`` with a kernel gradient that XLA's CPU backend computes fast.

        grad_kernel[f, c, d] = sum_btp x[b, t + f dilation, p, c] grad_y[b, t, p, d]

    is a convolution over frames. With channels c as its batch and (b, p) as its channels XLA
    computes it five times faster (``benchmarks/convolution.py``).
    """
    return _conv_time(dilation, x, kernel)


def _conv_time_forward(dilation: int, x: Array, kernel: Array) -> tuple[Array, tuple]:
    return _conv_time(dilation, x, kernel), (x, kernel)


def _conv_time_backward(dilation: int, residuals: tuple, gradient: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    (grad_x,) = jax.linear_transpose(lambda x: _conv_time(dilation, x, kernel), x)(gradient)
    grad_kernel = jax.lax.conv_general_dilated(
        jnp.transpose(x, (3, 1, 0, 2)).reshape(x.shape[3], x.shape[1], -1),  # [C T B*P]
        jnp.transpose(gradient, (1, 0, 2, 3)).reshape(gradient.shape[1], -1, gradient.shape[3]),
        (dilation,),
        "VALID",
        dimension_numbers=("NHC", "HIO", "NHC"),
        preferred_element_type=jnp.float32,
    )  # [C F D]
    return grad_x, jnp.transpose(grad_kernel, (1, 0, 2)).astype(kernel.dtype)


_cpu_conv_time.defvjp(_conv_time_forward, _conv_time_backward)


def windows(x: Array, taps: int, *, dilation: int = 1) -> Array:
    """Sliding windows over frames, stacked as channels: [B T ... C] -> [B T' ... taps*C].

    Examples:
        >>> windows(jnp.arange(4.0).reshape(1, 4, 1), taps=2)[0].tolist()
        [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    frames = x.shape[1] - (taps - 1) * dilation
    return jnp.concatenate(
        [x[:, i * dilation : i * dilation + frames] for i in range(taps)], axis=-1
    )


def conv2d_constant(
    planes: Array,
    kernel: Array,
    image_shape: tuple[int, int],
    *,
    padding: Padding = VALID,
    stride: int = 1,
    dilation: int = 1,
) -> Array:
    """Convolve planes, images that have one value everywhere, without building them.

        y[..., i, j, d] = sum_p planes[..., p] (kernel of plane p convolved with ones)[i, j, d]

    Args:
        planes: [... P] the value of each plane.
        kernel: [K L P D].
        image_shape: height and width of the planes.
        padding: as in ``conv2d``.
        stride: as in ``conv2d``.
        dilation: as in ``conv2d``.

    Returns:
        [... H' W' D]; constant in space except where the padding's zeros overlap the kernel.

    Examples:
        >>> conv2d_constant(jnp.array([2.0]), jnp.ones((3, 3, 1, 1)), (4, 4))[..., 0].tolist()
        [[18.0, 18.0], [18.0, 18.0]]
    """
    p = planes.shape[-1]
    ones = jnp.broadcast_to(jnp.eye(p, dtype=planes.dtype)[:, None, None], (p, *image_shape, p))
    response = conv2d(ones, kernel, padding=padding, stride=stride, dilation=dilation)
    return jnp.tensordot(planes, response, 1)


def call_with_convolver(program: Callable, *arrays: Array, padding: Padding) -> Array:
    """Call ``program(*arrays, convolver=..., padding=...)`` with the platform's fastest convolver.

    A convolver takes (kernel, image_shape, padding=...) and returns a function of the images.
    """
    return jax.lax.platform_dependent(
        *arrays,
        cpu=functools.partial(program, convolver=cpu_convolver, padding=padding),
        default=functools.partial(program, convolver=direct_convolver, padding=padding),
    )


def direct_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """XLA's own convolution as a function [N H W C] -> [N H' W' D]."""
    del image_shape  # the Fourier form needs it
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
    """The fastest form on a CPU as a function [N H W C] -> [N H' W' D]."""
    if max(kernel.shape[:2]) > LARGEST_SMALL:
        convolver = fourier_convolver
    else:  # XLA's gradients of small kernels are slow without padding only
        convolver = shifted_convolver if padding == VALID else direct_convolver
    return convolver(kernel, image_shape, padding=padding)


def shifted_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """One matrix product per row of the kernel, as a function [N H W C] -> [N H' W' D].

    The shifts along the width are stacked as channels.
    """
    k, l, c, d = kernel.shape
    rows, columns = _output_shape(image_shape, kernel, padding)

    def convolve(x: Array) -> Array:
        x = _pad(x, padding)
        shifts = jnp.concatenate([x[:, :, j : j + columns] for j in range(l)], axis=-1)
        return sum(shifts[:, i : i + rows] @ kernel[i].reshape(l * c, d) for i in range(k))

    return convolve


def fourier_convolver(kernel: Array, image_shape: tuple[int, int], *, padding: Padding) -> Callable:
    """Convolution by Fourier transforms, as a function [N H W C] -> [N H' W' D].

    The kernel is transformed once, before the function is returned. The product of two transforms
    is a circular convolution, so one band of zeros pads both sides: the zeros after the last row
    also precede the first.
    """
    taps = kernel.shape[:2]
    out = _output_shape(image_shape, kernel, padding)
    rows, columns = (
        max(n + p, k, o) for n, p, k, o in zip(image_shape, padding, taps, out, strict=True)
    )
    size = rows, columns
    # Float32 throughout; a result in lower precision is rounded once, at the end.
    kernel = jnp.transpose(kernel, (1, 0, 2, 3)).astype(jnp.float32)
    parts = fourier.parts(kernel, size, origin=padding)  # [F C D] each

    def convolve(x: Array) -> Array:
        columns = jnp.transpose(x, (2, 1, 0, 3)).astype(jnp.float32)  # [W H N C]
        y_f = fourier.multiply(fourier.transform(columns, size), *parts)
        y = fourier.inverse(y_f, size, out)
        return jnp.transpose(y, (2, 1, 0, 3)).astype(x.dtype)

    return functools.partial(remat.map_images, convolve)


def _space_to_depth(
    x: Array, kernel: Array, *, padding: Padding, stride: int
) -> tuple[Array, Array, Padding]:
    """Write a strided convolution as one of stride 1 over blocks of stride x stride pixels."""
    n, _, _, c = x.shape
    k, l, _, d = kernel.shape
    steps = [(size - 1) // stride for size in _output_shape(x.shape[1:3], kernel, padding)]
    k_blocks, l_blocks = -(-k // stride), -(-l // stride)
    rows, columns = (steps[0] + k_blocks) * stride, (steps[1] + l_blocks) * stride

    x = _pad(x, padding)
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


def _output_shape(image_shape: tuple[int, int], kernel: Array, padding: Padding) -> tuple[int, int]:
    """Rows and columns of a convolution of stride 1."""
    taps = kernel.shape[:2]
    rows, columns = (n + 2 * p - k + 1 for n, p, k in zip(image_shape, padding, taps, strict=True))
    return rows, columns


def _pad(x: Array, padding: Padding) -> Array:
    return jnp.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)))


def _dilate(kernel: Array, dilation: int) -> Array:
    """A kernel with zeros between its taps: [K L C D] -> [(K - 1) dilation + 1 ... C D]."""
    interior = (0, 0, dilation - 1)
    no_padding = (0, 0, 0)
    config = (interior, interior, no_padding, no_padding)
    return jax.lax.pad(kernel, jnp.zeros((), kernel.dtype), config)
