"""The convolutional gated recurrent unit (Ballas, Yao, Pal & Courville 2016, arXiv 1511.06432)."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.nn import conv
from sensorium_jax.types import Array

MEMORY_FRAMES = 15  # half a second: the reach of responses in primary visual cortex


class ConvGRU(nn.Module):
    """A GRU whose products are 'same' convolutions, run from a zero state.

    With input x and state h of the frame before, in the reference's convention (the update gate
    lets the *new* value in):

        r, u = sigmoid(W_r x + U_r h + b_r), sigmoid(W_u x + U_u h + b_u)
        h'   = (1 - u) h + u tanh(W_c x + U_c (r h) + b_c)

    The input's three convolutions do not depend on the state: they are one convolution over all
    frames, outside the scan. The two gates share one convolution of the state.

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
        """[B T h w C] -> states [B T h w R]."""
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
        states = conv.on_platform(_run, x_first, *weights, bias, padding=padding)
        return jnp.moveaxis(states, 0, 1)


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
    *,
    convolver: Callable,
    padding: conv.Padding,
) -> Array:
    images = x.reshape(-1, *x.shape[2:])
    drive = convolver(w_input, x.shape[2:4], padding=padding)(images) + bias
    shape = drive.shape[1:3]
    drive = drive.reshape(*x.shape[:2], *drive.shape[1:])  # [T B h w 3R]
    same = conv.same(w_gates.shape[0])
    gates_of = convolver(w_gates, shape, padding=same)
    candidate_of = convolver(w_candidate, shape, padding=same)
    r = w_candidate.shape[-1]

    def step(h: Array, drive: Array) -> tuple[Array, Array]:
        reset, update = jnp.split(jax.nn.sigmoid(drive[..., : 2 * r] + gates_of(h)), 2, axis=-1)
        candidate = jnp.tanh(drive[..., 2 * r :] + candidate_of(reset * h))
        h = h + update * (candidate - h)
        return h, h

    start = jnp.zeros_like(drive[0, ..., :r])
    return jax.lax.scan(step, start, drive)[1]
