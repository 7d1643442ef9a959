"""Kernels against their plain forms: values and gradients, as lowered for a CPU and for others."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensorium_jax.models.nn import conv, sampling
from sensorium_jax.models.nn.recurrent import ConvGRU

# Of the largest entry. The plain forms are float32's, of inputs that are rounded to the dtype.
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.03}


def few(cases: int):
    """Every case is a program of its own to compile."""
    return settings(max_examples=cases, deadline=None)


def draw(rng, *shape: int, dtype: str = "float32") -> np.ndarray:
    return np.array(rng.normal(size=shape).astype(jnp.dtype(dtype)), np.float32)


def assert_equal(kernel, plain, inputs, *, dtype: str = "float32"):
    """Compare values, and gradients with respect to all inputs; the first one has the dtype."""
    out = jax.eval_shape(plain, *inputs)
    cotangent = draw(np.random.default_rng(1), *out.shape, dtype=dtype)

    def with_gradients(f, *inputs):
        y, pull = jax.vjp(f, *inputs)
        return y, *pull(cotangent.astype(y.dtype))

    @jax.jit
    def all_forms(first, *rest):
        found = {}
        for platform in ("cpu", "default"):
            with lowered_for(platform):
                found[platform] = with_gradients(kernel, first.astype(dtype), *rest)
        return found, with_gradients(plain, first, *rest)

    found, expected = all_forms(*inputs)
    for platform, arrays in found.items():
        for i, (a, b) in enumerate(zip(arrays, expected, strict=True)):
            largest = np.abs(b).max(initial=1e-20)
            difference = np.abs(np.asarray(a, np.float32) - b).max(initial=0) / largest
            what = "value" if i == 0 else f"gradient of input {i - 1}"
            assert difference <= TOLERANCE[dtype], f"{what} on platform {platform}"


@contextlib.contextmanager
def lowered_for(platform: str):
    """Trace what is lowered for a platform, whatever device is here."""
    traced = []

    def branch(*arrays, **branches):
        traced.append(branches[platform])
        return branches[platform](*arrays)

    with mock.patch.object(jax.lax, "platform_dependent", branch):
        yield
    assert traced


def direct(x, kernel, *, stride=1, padding=(0, 0), dilation=1):
    """XLA's own convolution of [N H W C] images."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(p, p) for p in padding],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


sizes, paddings = st.integers(1, 3), st.integers(0, 3)
# One sum of random terms may be much less than they are: arrays have other entries as well.
many = st.integers(2, 3)
dtypes = st.just("float32")  # bfloat16 only in cases that are written out, for the same reason
of_space = {
    "taps": st.tuples(st.integers(1, 5), st.integers(1, 5)),
    "padding": st.tuples(paddings, paddings),
    "stride": sizes,
    "dilation": sizes,
    "more": st.tuples(st.integers(0, 6), st.integers(0, 6)),  # pixels than the smallest image has
    "channels": st.tuples(many, many),
    "dtype": dtypes,
}
STRIDED = {
    "taps": (3, 5),
    "padding": (1, 2),
    "stride": 3,
    "dilation": 1,
    "more": (5, 6),
    "channels": (3, 2),
    "dtype": "float32",
}


def image(taps, padding, dilation, more) -> list[int]:
    """Rows and columns."""
    return [
        max(1, (k - 1) * dilation + 1 - 2 * p) + n
        for k, p, n in zip(taps, padding, more, strict=True)
    ]


@few(4)
@given(**of_space)
@example(**STRIDED)
@example(**STRIDED | {"stride": 2, "dilation": 3, "taps": (3, 2), "dtype": "bfloat16"})
@example(**STRIDED | {"stride": 1, "taps": (5, 4), "dtype": "bfloat16"})  # Fourier
@example(**STRIDED | {"stride": 1, "taps": (3, 2), "padding": (0, 0)})  # shifted
def test_convolutions_of_images_are_the_direct_ones(
    taps, padding, stride, dilation, more, channels, dtype
):
    rng = np.random.default_rng(0)
    x = draw(rng, 2, *image(taps, padding, dilation, more), channels[0], dtype=dtype)
    w = draw(rng, *taps, *channels, dtype=dtype)
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    assert_equal(
        lambda x, w: conv.conv2d(x, w, **options),
        lambda x, w: direct(x, w, **options),
        (x, w),
        dtype=dtype,
    )


@few(3)
@given(frames=st.integers(1, 4), frame_dilation=sizes, later=st.integers(0, 3), **of_space)
@example(frames=2, frame_dilation=3, later=2, **STRIDED | {"stride": 1, "dilation": 2})
@example(frames=3, frame_dilation=1, later=2, **STRIDED | {"dtype": "bfloat16"})
def test_convolutions_of_films_are_sums_of_those_of_their_frames(
    frames,
    frame_dilation,
    later,
    taps,
    padding,
    stride,
    dilation,
    more,
    channels,
    dtype,
):
    rng = np.random.default_rng(0)
    film = later + 1 + (frames - 1) * frame_dilation, *image(taps, padding, dilation, more)
    x = draw(rng, 2, *film, channels[0], dtype=dtype)
    w = draw(rng, frames, *taps, *channels, dtype=dtype)
    options = {"padding": padding, "stride": stride, "dilation": dilation}

    def plain(x, w):
        def frame(t):
            parts = [direct(x[:, t + i * frame_dilation], w[i], **options) for i in range(frames)]
            return sum(parts)

        return jnp.stack([frame(t) for t in range(later + 1)], axis=1)

    assert_equal(
        lambda x, w: conv.conv3d(x, w, frame_dilation=frame_dilation, **options),
        plain,
        (x, w),
        dtype=dtype,
    )


@few(3)
@given(st.integers(1, 5), sizes, st.integers(0, 5), st.tuples(many, many), dtypes)
@example(frames=3, dilation=3, later=4, channels=(3, 2), dtype="bfloat16")
def test_convolutions_over_frames_are_sums_of_products(frames, dilation, later, channels, dtype):
    rng = np.random.default_rng(0)
    x = draw(rng, 2, later + 1 + (frames - 1) * dilation, 3, 4, channels[0], dtype=dtype)
    w = draw(rng, frames, *channels, dtype=dtype)

    def plain(x, w):
        def frame(t):
            return sum(x[:, t + i * dilation] @ w[i] for i in range(frames))

        return jnp.stack([frame(t) for t in range(later + 1)], axis=1)

    assert_equal(
        lambda x, w: conv.conv_time(x, w, dilation=dilation),
        plain,
        (x, w),
        dtype=dtype,
    )


@few(2)
@given(
    st.sampled_from([1, 3, 5]),
    st.integers(1, 5),
    st.booleans(),
    st.integers(1, 3),
    st.tuples(many, many),
    st.booleans(),
    dtypes,
)
@example(kernel=5, of_input=3, padded=True, frames=3, channels=(2, 3), begun=True, dtype="float32")
@example(
    kernel=3, of_input=4, padded=False, frames=3, channels=(3, 2), begun=False, dtype="bfloat16"
)
def test_gru_follows_its_equations_frame_by_frame(
    kernel, of_input, padded, frames, channels, begun, dtype
):
    """Its gradient is that of the equations, as automatic differentiation finds it."""
    of_input += padded and of_input % 2 == 0
    rng, (c, r) = np.random.default_rng(0), channels
    x = draw(rng, 2, frames, 6, 7, c, dtype=dtype)
    rows, columns = (6, 7) if padded else (7 - of_input, 8 - of_input)
    shapes = {
        "input": (of_input, of_input, c, 3 * r),
        "gates": (kernel, kernel, r, 2 * r),
        "candidate": (kernel, kernel, r, r),
        "bias": (3 * r,),
    }
    # Kernels that neither saturate the gates nor let states explode.
    weights = [draw(rng, *shape, dtype=dtype) / 4 for shape in shapes.values()]
    states = [draw(rng, 2, rows, columns, r, dtype=dtype)] if begun else []
    gru = ConvGRU(kernel, channels=r, input_kernel=of_input, pad_input=padded)

    def ours(x, *inputs):
        variables = {"params": dict(zip(shapes, inputs, strict=False))}
        if begun:
            variables["carry"] = {"state": inputs[-1]}
        return gru.apply(variables, x)

    def plain(x, w_input, w_gates, w_candidate, bias, *start):
        (h,) = start or [jnp.zeros((2, rows, columns, r))]
        seen, here = [], (kernel // 2, kernel // 2)
        there = (of_input // 2, of_input // 2) if padded else (0, 0)
        for t in range(frames):
            drive = direct(x[:, t], w_input, padding=there) + bias
            gates = jax.nn.sigmoid(drive[..., : 2 * r] + direct(h, w_gates, padding=here))
            reset, update = gates[..., :r], gates[..., r:]
            new = jnp.tanh(drive[..., 2 * r :] + direct(reset * h, w_candidate, padding=here))
            h = (1 - update) * h + update * new
            seen.append(h)
        return jnp.stack(seen, axis=1)

    assert_equal(ours, plain, (x, *weights, *states), dtype=dtype)


@few(2)
@given(
    st.tuples(st.integers(1, 4), st.integers(2, 6)),
    st.tuples(st.integers(1, 5), st.integers(1, 6)),
    many,
    st.integers(1, 60),
    dtypes,
)
@example(reads=(3, 11), size=(5, 8), channels=4, gather_size=88, dtype="float32")
@example(reads=(3, 4), size=(3, 4), channels=2, gather_size=16, dtype="bfloat16")
def test_bilinear_dot_weighs_four_corners(reads, size, channels, gather_size, dtype):
    rng = np.random.default_rng(0)
    features = draw(rng, reads[0], *size, channels, dtype=dtype)
    grid = rng.uniform(-1.5, 1.5, (*reads, 2)).astype(np.float32)
    grid[0, :2] = [[0, 0], [-1, 1]]  # in the middle of a pixel
    weights = draw(rng, reads[1], channels, dtype=dtype)

    # On a CPU frames are read in groups, of which the last may be smaller; else all at once.
    with mock.patch.object(sampling, "CPU_GATHER_SIZE", gather_size):
        assert_equal(
            sampling.bilinear_dot,
            four_corners,
            (features, grid, weights),
            dtype=dtype,
        )


def four_corners(features, grid, weights):
    """Features of all neurons in all frames, then their products with the weights.

    Around the map stands one border of zeros, and nothing beyond that is read.
    """
    _, h, w, _ = features.shape
    bordered = jnp.pad(features, ((0, 0), (1, 2), (1, 2), (0, 0)))
    x, y = (jnp.clip((grid[..., i] + 1) * (n - 1) / 2, -1, n) + 1 for i, n in ((0, w), (1, h)))
    column, row = (jnp.floor(at).astype(int) for at in (x, y))
    right, down = ((at - jnp.floor(at))[..., None] for at in (x, y))
    m = jnp.arange(len(features))[:, None]
    read = (  # [M N C]
        bordered[m, row, column] * (1 - down) * (1 - right)
        + bordered[m, row, column + 1] * (1 - down) * right
        + bordered[m, row + 1, column] * down * (1 - right)
        + bordered[m, row + 1, column + 1] * down * right
    )
    return jnp.einsum("mnc,nc->mn", read, weights)
