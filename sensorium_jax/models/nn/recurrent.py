"""The convolutional gated recurrent unit (Ballas, Yao, Pal & Courville 2016, arXiv 1511.06432)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.nn import conv, remat
from sensorium_jax.types import Array

MEMORY_FRAMES = 15  # half a second: the memory of responses in primary visual cortex


class ConvGRU(nn.Module):
    """A GRU whose products are 'same' convolutions, run from a zero state.

        r, u = sigmoid(W_r x + U_r h + b_r), sigmoid(W_u x + U_u h + b_u)
        h'   = (1 - u) h + u tanh(W_c x + U_c (r h) + b_c)

    x is the input and h the state of the previous frame, in the reference's convention: an open
    update gate takes the *new* value. States are float32 whatever the dtype of x; convolutions and
    results are in the dtype of x.

    The three convolutions of x do not depend on the state: they are one convolution over all
    frames, outside the scan. The two gates share one convolution of the state.

    A video can be processed in pieces: applied with the collection "carry" mutable, the module
    stores its last state there, and resumes from a state that it finds there.

    Attributes:
        kernel: height and width of the state's kernels in pixels of the feature map (odd).
        channels: state channels; None takes the input's.
        input_kernel: height and width of the input's kernels; None takes ``kernel``.
        pad_input: pad the input's convolutions so that the map keeps its size; else the state's
            map is smaller by ``input_kernel - 1``.

    Raises:
        ValueError: even kernels, which do not keep the map's size.

    Examples:
        >>> x = jnp.zeros((1, 5, 4, 6, 8))  # 5 frames of 4 x 6 pixels and 8 channels
        >>> gru = ConvGRU(kernel=3, channels=2)
        >>> y, variables = jax.eval_shape(gru.init_with_output, jax.random.key(0), x)
        >>> y.shape, variables["params"]["gates"].shape  # reset and update gate in one kernel
        ((1, 5, 4, 6, 2), (3, 3, 2, 4))
    """

    kernel: int = 9
    channels: int | None = None
    input_kernel: int | None = None
    pad_input: bool = True

    def __post_init__(self):
        limits = {"kernel": (1, 1000), "channels": (1, 65_536), "input_kernel": (1, 1000)}
        check_ranges(self, limits)
        sizes = [self.kernel, *([self.input_kernel or self.kernel] if self.pad_input else [])]
        if any(size % 2 == 0 for size in sizes):
            raise ValueError(f"expected odd kernels, which keep the map's size, got {sizes}")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B T h w C], with T > 0 -> states [B T h w R]."""
        k, c = self.kernel, x.shape[-1]
        k_input = self.input_kernel or k
        r = self.channels or c
        init = nn.initializers.orthogonal()
        weights = (
            self.param("input", init, (k_input, k_input, c, 3 * r)),  # reset, update, candidate
            self.param("gates", init, (k, k, r, 2 * r)),  # reset, update
            self.param("candidate", init, (k, k, r, r)),
        )
        bias = self.param("bias", _chrono, (3 * r,))
        padding = conv.same_padding(k_input) if self.pad_input else conv.VALID
        frames = jnp.moveaxis(x, 1, 0)
        state = self.get_variable("carry", "state")
        initial = () if state is None else (state,)
        states = conv.call_with_convolver(_run, frames, *weights, bias, *initial, padding=padding)
        if self.is_mutable_collection("carry") and not self.is_initializing():
            self.put_variable("carry", "state", states[-1])
        return jnp.moveaxis(states, 0, 1).astype(x.dtype)


def _chrono(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Biases [3R]: -log(t - 1) for update gates, t uniform in 2..``MEMORY_FRAMES``; else zero.

    Chrono initialisation (Tallec & Ollivier 2018, "Can recurrent neural networks warp time?",
    ICLR): a state whose update gate has bias -log(t - 1) decays in about t frames.
    """
    reset, update, candidate = jnp.zeros((3, shape[0] // 3), dtype)
    frames = jax.random.uniform(key, update.shape, dtype, 2, MEMORY_FRAMES)
    return jnp.concatenate([reset, update - jnp.log(frames - 1), candidate])


def _run(
    x: Array,  # [T B h w C]
    w_input: Array,
    w_gates: Array,
    w_candidate: Array,
    bias: Array,
    initial: Array | None = None,  # [B h w R] the state of the previous frame; None is zero
    *,
    convolver: Callable,
    padding: conv.Padding,
) -> Array:
    """States [T B h w R] of all frames."""
    w_input, w_gates, w_candidate = (w.astype(x.dtype) for w in (w_input, w_gates, w_candidate))
    weights = w_input, w_gates, w_candidate, bias
    run = functools.partial(_run_piece, convolver=convolver, padding=padding)
    if initial is None:
        first = jax.eval_shape(lambda x: run(x, *weights, None), x[:1])
        initial = jnp.zeros_like(x, shape=first.shape[1:], dtype=jnp.float32)
    frames = max(remat.IMAGES // x.shape[1], 1)
    if not remat.includes("core") or len(x) <= frames:
        return run(x, *weights, initial)
    # Piece by piece: the gradient keeps the state between pieces, and computes a piece again.
    length = len(x) // frames * frames

    def piece(state: Array, x: Array) -> tuple[Array, Array]:
        states = jax.checkpoint(run)(x, *weights, state)
        return states[-1], states

    pieces = x[:length].reshape(-1, frames, *x.shape[1:])
    last, states = jax.lax.scan(piece, initial, pieces)
    states = states.reshape(length, *states.shape[2:])
    if length == len(x):
        return states
    return jnp.concatenate([states, run(x[length:], *weights, last)])


def _run_piece(
    x: Array,  # [T B h w C]
    w_input: Array,
    w_gates: Array,
    w_candidate: Array,
    bias: Array,
    initial: Array | None,  # [B h w R]; None is zero
    *,
    convolver: Callable,
    padding: conv.Padding,
) -> Array:
    """States [T B h w R] of successive frames."""
    images = x.reshape(-1, *x.shape[2:])
    drive = convolver(w_input, x.shape[2:4], padding=padding)(images)
    drive = (drive.astype(jnp.float32) + bias).astype(x.dtype)  # the bias's gradient is float32 too
    drive = drive.reshape(*x.shape[:2], *drive.shape[1:])  # [T B h w 3R]
    if initial is None:
        initial = jnp.zeros_like(drive[0, ..., : w_candidate.shape[-1]], jnp.float32)
    return _recur(convolver, drive, initial, w_gates, w_candidate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(
    convolver: Callable, drive: Array, initial: Array, w_gates: Array, w_candidate: Array
) -> Array:
    """States [T B h w R] from the input's drive of gates and candidate, [T B h w 3R].

    The gradient is written out because JAX's gradient of a scan adds to the kernels' gradients in
    every frame. Here the scan backwards in time only computes the drive's gradient; the kernels'
    gradients are those of one convolution over all frames.
    """
    return _recur_forward(convolver, drive, initial, w_gates, w_candidate)[0]


def _recur_forward(
    convolver: Callable, drive: Array, initial: Array, w_gates: Array, w_candidate: Array
) -> tuple[Array, tuple]:
    conv_gates, conv_candidate = _state_convolutions(convolver, drive, w_gates, w_candidate)
    r = w_candidate.shape[-1]

    def step(h: Array, drive: Array) -> tuple[Array, tuple[Array, ...]]:
        drive = drive.astype(h.dtype)
        reset, update = jnp.split(jax.nn.sigmoid(drive[..., : 2 * r] + conv_gates(h)), 2, axis=-1)
        candidate = jnp.tanh(drive[..., 2 * r :] + conv_candidate(reset * h))
        h_next = h + update * (candidate - h)
        return h_next, (h_next, h, reset, update, candidate)

    states, *per_frame = jax.lax.scan(step, initial, drive)[1]
    return states, (w_gates, w_candidate, *per_frame)


def _recur_backward(convolver: Callable, residuals: tuple, gradient: Array) -> tuple[Array, ...]:
    w_gates, w_candidate, *per_frame = residuals
    previous, reset = per_frame[:2]  # [T B h w R] each
    images = previous[0]
    gates_transpose, candidate_transpose = (
        jax.linear_transpose(f, images)
        for f in _state_convolutions(convolver, images[None], w_gates, w_candidate)
    )

    def step(g: Array, frame: tuple[Array, ...]) -> tuple[Array, Array]:
        g_output, h, reset, update, candidate = frame
        g = g + g_output  # with respect to this frame's state
        g_candidate = g * update * (1 - candidate**2)
        (g_masked,) = candidate_transpose(g_candidate)  # with respect to reset * h
        g_update = g * (candidate - h) * update * (1 - update)
        g_reset = g_masked * h * reset * (1 - reset)
        (g_h,) = gates_transpose(jnp.concatenate([g_reset, g_update], -1))
        g_h += g * (1 - update) + g_masked * reset
        return g_h, jnp.concatenate([g_reset, g_update, g_candidate], -1)

    g_last = jnp.zeros_like(images)
    g_initial, g_drive = jax.lax.scan(step, g_last, (gradient, *per_frame), reverse=True)
    r = w_candidate.shape[-1]

    def kernel_gradient(w: Array, x: Array, g: Array) -> Array:
        x, g = (a.reshape(-1, *a.shape[2:]).astype(w.dtype) for a in (x, g))
        convolve = lambda w: convolver(w, x.shape[1:3], padding=conv.same_padding(len(w)))(x)  # noqa: E731
        return jax.linear_transpose(convolve, w)(g)[0]

    g_drive = g_drive.astype(w_gates.dtype)
    g_gates = kernel_gradient(w_gates, previous, g_drive[..., : 2 * r])
    g_candidate = kernel_gradient(w_candidate, reset * previous, g_drive[..., 2 * r :])
    return g_drive, g_initial, g_gates, g_candidate


_recur.defvjp(_recur_forward, _recur_backward)


def _state_convolutions(
    convolver: Callable, maps: Array, w_gates: Array, w_candidate: Array
) -> tuple[Callable, Callable]:
    """The 'same' convolutions of states that have the size of ``maps`` [T B h w ...].

    They compute in the dtype of the weights and return the dtype of the states.
    """

    def state_convolution(w: Array) -> Callable:
        convolve = convolver(w, maps.shape[2:4], padding=conv.same_padding(len(w)))
        return lambda x: convolve(x.astype(w.dtype)).astype(x.dtype)

    return state_convolution(w_gates), state_convolution(w_candidate)
