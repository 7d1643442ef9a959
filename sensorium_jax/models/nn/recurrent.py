"""The convolutional gated recurrent unit (Ballas, Yao, Pal & Courville 2016, arXiv 1511.06432)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import conv
from sensorium_jax.types import Array

MEMORY_FRAMES = 15  # half a second: the reach of responses in primary visual cortex


class ConvGRU(nn.Module):
    """A GRU whose products are 'same' convolutions, run from a zero state.

    With input x and state h of the frame before, in the reference's convention (the update gate
    lets the *new* value in):

        r, u = sigmoid(W_r x + U_r h + b_r), sigmoid(W_u x + U_u h + b_u)
        h'   = (1 - u) h + u tanh(W_c x + U_c (r h) + b_c)

    States are float32 whatever the dtype of x, in which convolutions and results are.

    The input's three convolutions do not depend on the state: they are one convolution over all
    frames, outside the scan. The two gates share one convolution of the state.

    A film can come in pieces: applied with the collection "carry" mutable, it leaves its last
    state there, and goes on from the one it finds.

    Attributes:
        kernel: height and width of the state's kernels in pixels of the feature map (odd).
        channels: state channels; None takes the input's.
        input_kernel: height and width of the input's kernels; None takes ``kernel``.
        pad_input: pad the input's convolutions so that the map keeps its size; else the state's
            map is smaller by ``input_kernel - 1``.
    """

    kernel: int = 9
    channels: int | None = None
    input_kernel: int | None = None
    pad_input: bool = True

    def __post_init__(self):
        padded = [self.kernel, *([self.input_kernel or self.kernel] if self.pad_input else [])]
        if any(size % 2 == 0 for size in padded):
            raise ValueError(f"expected odd kernels, which keep the map's size, got {padded}")
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
        padding = conv.same(k_input) if self.pad_input else conv.VALID
        x_first = jnp.moveaxis(x, 1, 0)
        start = self.get_variable("carry", "state")
        begun = () if start is None else (start,)
        states = conv.on_platform(_run, x_first, *weights, bias, *begun, padding=padding)
        if self.is_mutable_collection("carry") and not self.is_initializing():
            self.put_variable("carry", "state", states[-1])
        return jnp.moveaxis(states, 0, 1).astype(x.dtype)


def _chrono(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Biases [3R] whose update gates remember for 2 to ``MEMORY_FRAMES`` frames.

    Chrono initialisation (Tallec & Ollivier 2018, "Can recurrent neural networks warp time?",
    ICLR): a gate with bias -log(t - 1) forgets in about t frames.
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
    start: Array | None = None,  # [B h w R] the state of the frame before; None is zero
    *,
    convolver: Callable,
    padding: conv.Padding,
) -> Array:
    images = x.reshape(-1, *x.shape[2:])
    w_input, w_gates, w_candidate = (w.astype(x.dtype) for w in (w_input, w_gates, w_candidate))
    drive = convolver(w_input, x.shape[2:4], padding=padding)(images)
    drive = (drive.astype(jnp.float32) + bias).astype(x.dtype)  # so that its gradient's sum is, too
    drive = drive.reshape(*x.shape[:2], *drive.shape[1:])  # [T B h w 3R]
    if start is None:
        start = jnp.zeros_like(drive[0, ..., : w_candidate.shape[-1]], jnp.float32)
    return _recur(convolver, drive, start, w_gates, w_candidate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(
    convolver: Callable, drive: Array, start: Array, w_gates: Array, w_candidate: Array
) -> Array:
    """States [T B h w R] from what drives the gates and the candidate, [T B h w 3R].

    Its gradient is written out because that of a scan adds to the kernels' gradients in every
    frame. Here the scan back in time only collects the drive's gradient; those of the kernels are
    one convolution's over all frames.
    """
    return _recur_forward(convolver, drive, start, w_gates, w_candidate)[0]


def _recur_forward(
    convolver: Callable, drive: Array, start: Array, w_gates: Array, w_candidate: Array
) -> tuple[Array, tuple]:
    gates_of, candidate_of = _state_convolutions(convolver, drive, w_gates, w_candidate)
    r = w_candidate.shape[-1]

    def step(h: Array, drive: Array) -> tuple[Array, tuple[Array, ...]]:
        drive = drive.astype(h.dtype)
        reset, update = jnp.split(jax.nn.sigmoid(drive[..., : 2 * r] + gates_of(h)), 2, axis=-1)
        candidate = jnp.tanh(drive[..., 2 * r :] + candidate_of(reset * h))
        new = h + update * (candidate - h)
        return new, (new, h, reset, update, candidate)

    states, *seen = jax.lax.scan(step, start, drive)[1]
    return states, (w_gates, w_candidate, *seen)


def _recur_backward(convolver: Callable, kept: tuple, gradient: Array) -> tuple[Array, ...]:
    w_gates, w_candidate, *seen = kept
    before, reset = seen[:2]
    images = before[0]
    to_gates, to_candidate = (
        jax.linear_transpose(f, images)
        for f in _state_convolutions(convolver, images[None], w_gates, w_candidate)
    )

    def step(g: Array, frame: tuple[Array, ...]) -> tuple[Array, Array]:
        of_state, h, reset, update, candidate = frame
        g = g + of_state  # of the state after this frame
        g_candidate = g * update * (1 - candidate**2)
        (g_masked,) = to_candidate(g_candidate)  # of reset * h
        g_update = g * (candidate - h) * update * (1 - update)
        g_reset = g_masked * h * reset * (1 - reset)
        (g_h,) = to_gates(jnp.concatenate([g_reset, g_update], -1))
        g_h += g * (1 - update) + g_masked * reset
        return g_h, jnp.concatenate([g_reset, g_update, g_candidate], -1)

    end = jnp.zeros_like(images)
    g_start, g_drive = jax.lax.scan(step, end, (gradient, *seen), reverse=True)
    r = w_candidate.shape[-1]

    def of_kernel(w: Array, x: Array, g: Array) -> Array:
        x, g = (a.reshape(-1, *a.shape[2:]).astype(w.dtype) for a in (x, g))
        convolve = lambda w: convolver(w, x.shape[1:3], padding=conv.same(len(w)))(x)  # noqa: E731
        return jax.linear_transpose(convolve, w)(g)[0]

    g_drive = g_drive.astype(w_gates.dtype)
    g_gates = of_kernel(w_gates, before, g_drive[..., : 2 * r])
    g_candidate = of_kernel(w_candidate, reset * before, g_drive[..., 2 * r :])
    return g_drive, g_start, g_gates, g_candidate


_recur.defvjp(_recur_forward, _recur_backward)


def _state_convolutions(
    convolver: Callable, maps: Array, w_gates: Array, w_candidate: Array
) -> tuple[Callable, Callable]:
    """The 'same' convolutions of states that have the size of ``maps`` [T B h w ...].

    They compute in the dtype of the weights, from states and to sums in the states' own.
    """

    def rounded(w: Array) -> Callable:
        convolve = convolver(w, maps.shape[2:4], padding=conv.same(len(w)))
        return lambda x: convolve(x.astype(w.dtype)).astype(x.dtype)

    return rounded(w_gates), rounded(w_candidate)
