import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sensorium_jax import losses, model, parallel
from sensorium_jax.errors import UserError
from sensorium_jax.types import TrainState

OPTIMIZER = optax.sgd(1e-2)  # Adam would blow rounding in near-zero gradients up to whole steps


def start(mesh):
    params = model.init(small.MODEL, jax.random.key(0), small.batch(), small.neurons())
    state = TrainState(jnp.zeros((), jnp.int32), params, OPTIMIZER.init(params.weights))
    return parallel.replicate(state, mesh)


def run_steps(devices: int, *, steps: int = 2, scaling: str = "mean"):
    mesh = parallel.make_mesh(devices)
    step = parallel.make_train_step(small.MODEL, losses.Scaling(scaling), OPTIMIZER, mesh)
    inputs = parallel.replicate(
        (small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)), mesh
    )
    state, history = start(mesh), []
    for i in range(steps):
        state, metrics = step(state, parallel.shard_batch(small.batch(seed=i), mesh), *inputs)
        history.append({k: float(v) for k, v in metrics.items()})
    return state, history, step


def comparable(state) -> list:
    """All leaves but the readout's covariance, whose gradient is the random draw of a device."""
    readout = {k: v for k, v in state.params.weights["readout"].items() if k != "sigma"}
    return jax.tree.leaves((state.params.weights | {"readout": readout}, state.params.stats))


@pytest.mark.parametrize("scaling", ["mean", "reference"])
def test_device_count_does_not_change_training(scaling):
    one_state, one, _ = run_steps(1, steps=1, scaling=scaling)
    for devices in (4, 8):
        state, history, _ = run_steps(devices, steps=1, scaling=scaling)
        for name in ("loss", "poisson", "penalty"):
            assert [h[name] for h in one] == pytest.approx([h[name] for h in history], rel=1e-5)
        for a, b in zip(comparable(one_state), comparable(state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gradient_equals_that_of_the_plain_loss():
    """The trap: averaging gradients that shard_map has already summed."""
    mesh = parallel.make_mesh(8)
    step = parallel.make_train_step(small.MODEL, losses.Scaling(), optax.sgd(1.0), mesh)
    inputs = (small.neurons(), small.statistics())
    params = model.init(small.MODEL, jax.random.key(0), small.batch(), small.neurons())
    rest = parallel.replicate((*inputs, jax.random.key(1), jnp.float32(1)), mesh)
    after, _ = step(start(mesh), parallel.shard_batch(small.batch(), mesh), *rest)
    moved = params.weights["readout"]["bias"] - after.params.weights["readout"]["bias"]

    def plain(bias):
        weights = params.weights | {"readout": params.weights["readout"] | {"bias": bias}}
        apply = jax.vmap(  # binds the axis that batch normalisation averages over
            lambda key: model.apply(
                small.MODEL,
                params._replace(weights=weights),
                small.batch(),
                *inputs,
                train=True,
                key=key,
            )[0],
            axis_name="data",
        )
        rate = apply(jax.random.split(jax.random.key(0), 1))[0]
        response = model.normalise_response(small.batch(), small.statistics())
        mask = jnp.broadcast_to(small.neurons().mask[:, None, None], response.shape)
        return jnp.sum(jnp.where(mask, losses.poisson(rate, response), 0)) / jnp.sum(mask)

    expected = jax.grad(plain)(params.weights["readout"]["bias"])
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_one_compilation_serves_all_batches():
    assert run_steps(2, steps=3)[2]._cache_size() == 1


def test_padded_neurons_change_nothing():
    mesh = parallel.make_mesh(1)
    step = parallel.make_train_step(small.MODEL, losses.Scaling(), OPTIMIZER, mesh)
    inputs = parallel.replicate(
        (small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)), mesh
    )
    padding = ~small.neurons().mask[:, None, None]
    poisoned = small.batch()._replace(response=small.batch().response + 1e6 * padding)
    losses_ = [
        float(step(start(mesh), parallel.shard_batch(b, mesh), *inputs)[1]["loss"])
        for b in (small.batch(), poisoned)
    ]
    assert losses_[0] == losses_[1]


def test_masked_frames_do_not_count():
    mesh = parallel.make_mesh(1)
    step = parallel.make_train_step(small.MODEL, losses.Scaling(), OPTIMIZER, mesh)
    inputs = parallel.replicate(
        (small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)), mesh
    )
    whole = small.batch()
    mask = whole.frame_mask.copy()
    mask[:, :, -2:] = False
    response = whole.response.copy()
    response[:, :, -2:] = 1e6
    results = [
        float(step(start(mesh), parallel.shard_batch(b, mesh), *inputs)[1]["poisson"])
        for b in (
            whole._replace(frame_mask=mask),
            whole._replace(frame_mask=mask, response=response),
        )
    ]
    assert results[0] == results[1]


def test_trials_that_devices_cannot_share():
    with pytest.raises(UserError, match="8 devices divide evenly, got 6"):
        parallel.shard_batch(small.batch(trials=6), parallel.make_mesh(8))


def test_more_devices_than_there_are():
    with pytest.raises(UserError, match="expected 1 to 8 devices, got 9"):
        parallel.make_mesh(9)


def test_devices_for_divides_trials():
    assert [parallel.devices_for(n) for n in (1, 4, 6, 8, 24)] == [1, 4, 6, 8, 8]
