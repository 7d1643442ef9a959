"""bfloat16: the same model, computed in less; what is summed stays float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sensorium_jax import models as model
from sensorium_jax import parallel
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import override
from sensorium_jax.models import cores, losses, readouts
from sensorium_jax.models.nn import sampling
from sensorium_jax.models.nn.recurrent import ConvGRU
from sensorium_jax.types import TrainState

pytestmark = pytest.mark.slow

MODELS = {
    "recurrent": small.MODEL,
    "factorised": dataclasses.replace(
        small.MODEL,
        core=cores.Factorized3D(channels=2, layers=2, kernel=(5, 3), frames=(3, 2)),
        readout=readouts.Factorized(),
        shifter=None,
    ),
    "3D, offsets in place of batch normalisation": dataclasses.replace(
        small.MODEL,
        core=cores.Full3D(
            channels=2, layers=2, kernel=(5, 3), frames=(3, 2), gamma_space=0.1, batch_norm=False
        ),
    ),
}


def one_step(m):
    """State after a step of plain gradient descent on two devices, and its metrics."""
    mesh, optimizer = parallel.make_mesh(2), optax.sgd(1.0)
    step = parallel.make_train_step(m, losses.Scaling(), optimizer, mesh)
    params = model.init(m, jax.random.key(0), small.batch(), small.neurons())
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
    rest = small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)
    placed = parallel.replicate((state, rest), mesh)
    before = jax.tree.map(np.array, params)  # the step takes the state's own memory
    batch = parallel.shard_batch(small.batch(trials=4), mesh)
    state, metrics = step(placed[0], batch, *placed[1])
    return before, state, small.numbers(metrics)


@pytest.mark.parametrize("name", MODELS)
def test_half_the_bits_change_little(name):
    half = dataclasses.replace(MODELS[name], dtype="bfloat16")
    before, state, metrics = one_step(MODELS[name])
    _, half_state, half_metrics = one_step(half)
    assert metrics["poisson"] == pytest.approx(half_metrics["poisson"], rel=0.01)
    assert metrics["poisson"] != half_metrics["poisson"]  # it is another computation
    assert metrics["grad_norm"] == pytest.approx(half_metrics["grad_norm"], rel=0.05)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(half_state), strict=True):
        assert a.dtype == b.dtype  # weights and running statistics
    for old, new, other in zip(
        *(jax.tree.leaves(p.weights) for p in (before, state.params, half_state.params)),
        strict=True,
    ):
        a, b = np.ravel(new - old), np.ravel(other - old)
        assert np.linalg.norm(b - a) <= 0.05 * np.linalg.norm(a)


def test_maps_are_halved_and_rates_are_not():
    half = dataclasses.replace(small.MODEL, dtype="bfloat16")
    batch, neurons = small.batch(), small.neurons()
    params = jax.eval_shape(lambda: model.init(half, jax.random.key(0), batch, neurons))
    trace = jax.make_jaxpr(lambda p: model.apply(half, p, batch, neurons, small.statistics())[0])
    text = str(trace(params))
    assert trace(params).out_avals[0].dtype == jnp.float32
    maps = ",".join(str(n) for n in (small.B * small.T, 8, 12, 8))  # after the first layer
    assert f"bf16[{small.S},{maps}]" in text or f"bf16[{small.S * small.B * small.T}," in text


def test_other_dtypes():
    with pytest.raises(UserError, match="expected a dtype of float32 or bfloat16, got 'float16'"):
        override(small.experiment(), "model.dtype=float16")


# --- gradients that are sums of very many terms -------------------------------------------------


def assert_close_in_half(gradient):
    """A bfloat16 that counts ones stops at 256, and rounds what follows a large sum away."""
    whole, half = (np.asarray(gradient(jnp.dtype(d)), np.float32) for d in ("float32", "bfloat16"))
    np.testing.assert_allclose(half, whole, rtol=0.02)


def test_offsets_of_a_gru_sum_their_gradient_in_float32():
    gru = ConvGRU(kernel=1, channels=2)
    x = np.ones((4, 5, 30, 40, 2), np.float32)
    shapes = jax.eval_shape(gru.init, jax.random.key(0), x)["params"]
    weights = jax.tree.map(lambda x: jnp.full(x.shape, 0.125), shapes)  # the same in bfloat16

    def of_bias(dtype):
        def total(bias):
            states = gru.apply({"params": weights | {"bias": bias}}, x.astype(dtype))
            return jnp.sum(states, dtype=jnp.float32)

        return jax.grad(total)(weights["bias"])

    assert_close_in_half(of_bias)


def test_a_pixel_that_many_neurons_read_sums_its_gradient_in_float32():
    features = jnp.ones((1, 1, 1, 2))
    grid, weights = jnp.zeros((1, 2000, 2)), jnp.ones((2000, 2))

    def of_pixel(dtype):
        def total(features):
            return jnp.sum(sampling.bilinear_dot(features.astype(dtype), grid, weights))

        return jax.grad(total)(features)

    assert_close_in_half(of_pixel)


def test_offsets_of_a_layer_sum_their_gradient_in_float32():
    core = cores.Stacked2D(channels=2, layers=1, kernel=1, batch_norm=False, behavior=False)
    video, two = np.ones((4, 5, 30, 40), np.float32), np.zeros((4, 5, 2), np.float32)
    weights = core.init(jax.random.key(0), video, two, two, train=False)["params"]

    def of_bias(dtype):
        def total(bias):
            film = video.astype(dtype), two.astype(dtype), two.astype(dtype)
            maps = core.apply({"params": weights | {"bias0": bias}}, *film, train=False)
            return jnp.sum(maps, dtype=jnp.float32)

        return jax.grad(total)(weights["bias0"])

    assert_close_in_half(of_bias)
