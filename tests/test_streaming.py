"""A film that comes in pieces is predicted like a whole one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sensorium_jax import models as model
from sensorium_jax.models import cores, modulators, streaming
from sensorium_jax.models.nn.recurrent import ConvGRU

pytestmark = pytest.mark.slow

FRAMES = 12
OVER_TIME = {"channels": 2, "layers": 2, "kernel": (5, 3), "frames": (3, 2)}
CORES = {
    "recurrent": small.MODEL.core,
    "factorised": cores.Factorized3D(**OVER_TIME, frame_dilation=(1, 3)),
    "3D, recurrent": cores.Full3D(**OVER_TIME, recurrence=ConvGRU(kernel=3)),
}


@pytest.fixture(params=CORES, scope="module")
def setting(request):
    m = dataclasses.replace(small.MODEL, core=CORES[request.param], modulator=modulators.MLP())
    batch = small.batch(trials=2, frames=FRAMES)._replace(first_frame=np.zeros((small.S, 2), int))
    params = model.init(m, jax.random.key(0), batch, small.neurons())
    rng = np.random.default_rng(1)  # untrained shifters and modulators do nothing
    params = jax.tree.map(lambda x: np.asarray(x + rng.normal(0, 0.1, x.shape), x.dtype), params)
    return m, params, batch, small.neurons(), small.statistics(frames=8)


def pieces_of(batch, lengths):
    start = 0
    for length in lengths:
        fields = batch._asdict()
        for name in ("video", "behavior", "pupil_center", "response", "frame_mask"):
            fields[name] = fields[name][:, :, start : start + length]
        yield type(batch)(**fields | {"first_frame": batch.first_frame + start})
        start += length


step = jax.jit(streaming.step, static_argnums=0)
apply = jax.jit(model.apply, static_argnums=0)


@pytest.mark.parametrize("lengths", [[1] * FRAMES, [5, 7]], ids=str)
def test_pieces_are_predicted_like_the_whole(setting, lengths):
    m, params, batch, neurons, statistics = setting
    whole, _ = apply(m, params, batch, neurons, statistics)
    carry, rates = None, []
    for piece in pieces_of(batch, lengths):
        rate, carry = step(m, params, carry, piece, neurons, statistics)
        rates.append(rate)
    found = np.concatenate(rates, axis=2)
    assert found.shape == whole.shape and np.ptp(whole) > 0.1
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)


def test_memory_is_bounded(setting):
    m, params, batch, neurons, statistics = setting
    carry, sizes = None, []
    for piece in pieces_of(batch, [1] * FRAMES):
        _, carry = step(m, params, carry, piece, neurons, statistics)
        sizes.append(jax.tree.map(jnp.shape, carry))
    assert sizes[-2] == sizes[-1]
    assert carry.frames[0].shape[2] == m.core.warmup_frames
    assert bool(carry.core) == (m.core.recurrence is not None)


def test_what_a_model_does_without_stays_out_of_its_memory(setting):
    m, params, batch, *rest = setting
    m = dataclasses.replace(m, without=model.SIGNALS)
    still = batch._replace(behavior=0 * batch.behavior)
    rates = []
    for b in (batch, still):
        carry = None
        for piece in pieces_of(b, [5, 7]):
            rate, carry = step(m, params, carry, piece, *rest)
        rates.append(rate)
    np.testing.assert_array_equal(*rates)


def test_gradients_pass_through_the_state_at_the_start():
    """Against the plain recurrence: one long film is two short ones in a row."""
    gru = ConvGRU(kernel=3)
    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 4, 3))
    params = gru.init(jax.random.key(1), x)["params"]
    assert set(gru.init(jax.random.key(1), x)) == {"params"}

    def whole(params, x):
        return jnp.sum(jnp.sin(gru.apply({"params": params}, x)))

    def parts(params, x):
        first, carry = gru.apply({"params": params}, x[:, :4], mutable=["carry"])
        second, _ = gru.apply({"params": params, **carry}, x[:, 4:], mutable=["carry"])
        return jnp.sum(jnp.sin(first)) + jnp.sum(jnp.sin(second))

    expected, found = (jax.jit(jax.grad(f, argnums=(0, 1)))(params, x) for f in (whole, parts))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * np.abs(a).max())
