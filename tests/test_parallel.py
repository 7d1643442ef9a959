import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sensorium_jax import models as model
from sensorium_jax import parallel
from sensorium_jax.errors import UserError
from sensorium_jax.models import cores, losses, modulators, readouts
from sensorium_jax.models.nn import remat
from sensorium_jax.types import TrainState

pytestmark = pytest.mark.slow

OPTIMIZER = optax.sgd(1e-2)  # Adam would blow rounding in near-zero gradients up to whole steps
KEEPS_GRADIENT = optax.sgd(1.0, momentum=0.0)  # as it is, as the optimiser's own state


def first_params(m=small.MODEL):
    """With a shifter off its start, where most of its gradients are zero."""
    params = model.init(m, jax.random.key(0), small.batch(), small.neurons())
    moved = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), params)
    moved = {k: v for k, v in moved.weights.items() if k == "shifter"}
    return params._replace(weights=params.weights | moved)


def start(mesh, m=small.MODEL, optimizer=OPTIMIZER):
    params = first_params(m)
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
    return parallel.place_state(state, m, optimizer, mesh)


def run_steps(
    devices: int,
    *,
    steps: int = 2,
    scaling: str = "mean",
    m=small.MODEL,
    neurons=1,
    optimizer=OPTIMIZER,
    plan=None,
):
    """State after some steps, their metrics, and the step with what it was last called with."""
    mesh = parallel.make_mesh(devices, neuron_devices=neurons)
    step = parallel.make_train_step(m, losses.Scaling(scaling), optimizer, mesh, **(plan or {}))
    inputs = parallel.replicate(
        (small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)), mesh
    )
    state, history = start(mesh, m, optimizer), []
    for i in range(steps):
        batch = parallel.shard_batch(small.batch(seed=i), mesh)
        before, (state, metrics) = state, step(state, batch, *inputs)
        assert all(x.is_deleted() for x in jax.tree.leaves(before))  # two states never are there
        assert metrics["finite"]
        history.append(small.numbers(metrics))
    return state, history, step, (state, batch, *inputs)


def comparable(state) -> list:
    """All leaves but the readout's covariance, whose gradient is the random draw of a device."""
    readout = {k: v for k, v in state.params.weights["readout"].items() if k != "sigma"}
    return jax.tree.leaves((state.params.weights | {"readout": readout}, state.params.stats))


PLAIN = dataclasses.replace(
    small.MODEL,
    core=cores.Stacked2D(
        channels=2, layers=2, kernel=(5, 3), batch_norm=False, gamma_input=0.01, gamma_hidden=0.01
    ),
    readout=readouts.Factorized(gamma=0.01),
    shifter=None,
)


@pytest.mark.parametrize(
    ("m", "scaling", "drawn"),
    [(small.MODEL, "mean", ["['readout']['sigma']"]), (PLAIN, "reference", [])],
    ids=["gaussian", "factorised"],
)
def test_device_count_does_not_change_gradients(m, scaling, drawn):
    """Nor what a step says, but where each device draws for itself."""

    def one_step(devices):
        options = {"steps": 1, "scaling": scaling, "optimizer": KEEPS_GRADIENT}
        state, (metrics,), *_ = run_steps(devices, m=m, **options)
        if drawn:
            metrics = {k: v for k, v in metrics.items() if "grad_norm" not in k}
        leaves = jax.tree.leaves_with_path((state.opt[0].trace, state.params.stats))
        leaves = {jax.tree_util.keystr(path[1:]): np.asarray(x) for path, x in leaves}
        return {name: x for name, x in leaves.items() if name not in drawn}, metrics

    expected, expected_metrics = one_step(1)
    for devices in (2, 4, 8):
        found, metrics = one_step(devices)
        assert metrics == pytest.approx(expected_metrics, rel=1e-5)
        assert found.keys() == expected.keys()
        for name, x in expected.items():
            largest = np.abs(x).max()
            assert largest > 0 and np.abs(found[name] - x).max() <= 1e-5 * largest, name


def collectives(step, inputs) -> dict[str, int]:
    """How many numbers of each device a compiled step's collectives between devices return."""
    text = step.lower(*inputs).compile().as_text()
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    sums = dict.fromkeys(kinds.split("|"), 0)
    for result, kind, rest in re.findall(rf" = (.*?) ({kinds})(?:-start)?\((.*)", text):
        (groups,) = re.findall(r"replica_groups=(\{\{.*?\}\}|\[\S+)", rest)
        if "," in groups.replace("},{", ""):  # else of devices that are alone in their groups
            shapes = re.findall(r"\w+\[([\d,]*)\]", result)
            sums[kind] += sum(math.prod(int(n) for n in s.split(",") if n) for s in shapes)
    return sums


def test_gradients_are_summed_over_devices_once_and_nothing_else_is_sent():
    """A number for every weight; the sum and the number of every session's losses."""
    state, _, step, inputs = run_steps(2, steps=1, m=PLAIN, scaling="reference")
    weights = sum(x.size for x in jax.tree.leaves(state.params.weights))
    sent = collectives(step, inputs)
    assert sent.pop("all-reduce") == weights + 2 * small.S
    assert set(sent.values()) == {0}


READOUTS = {
    "gaussian": readouts.Gaussian(init_sigma=0.0, gamma=0.01),
    "factorised": readouts.Factorized(all_pairs=True, gamma=0.01),
}


@pytest.mark.parametrize("readout", READOUTS)
def test_neurons_on_several_devices_train_as_on_one(readout, monkeypatch):
    monkeypatch.setattr(small, "NEURONS", (5, 8))
    m = dataclasses.replace(
        small.MODEL,
        readout=READOUTS[readout],
        shifter=small.MODEL.shifter if READOUTS[readout].takes_shift else None,
        modulator=modulators.MLP(hidden=8),
    )
    one_state, one, *_ = run_steps(1, steps=2, m=m)
    state, history, step, inputs = run_steps(8, steps=2, m=m, neurons=4)
    assert step._cache_size() == 1
    sent = collectives(step, inputs)
    assert sent["all-gather"] > 0 == sent["all-to-all"]
    for name in ("loss", "poisson", "penalty", "grad_norm"):
        if name != "grad_norm" or readout == "factorised":  # else it has sigma's random draw
            assert [h[name] for h in one] == pytest.approx([h[name] for h in history], rel=1e-5)
    for a, b in zip(comparable(one_state), comparable(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    features = state.params.weights["readout"]["features"]
    assert features.sharding.shard_shape(features.shape)[1] == 8 // 4


def test_adam_keeps_its_moments_where_the_neurons_are(monkeypatch):
    monkeypatch.setattr(small, "NEURONS", (5, 8))
    state = start(parallel.make_mesh(4, neuron_devices=2), optimizer=optax.adamw(1e-3))
    for tree in (state.params.weights, state.opt[0].mu, state.opt[0].nu):
        readout = dict(tree["readout"])
        for name in ("features", "sigma", "bias"):
            assert readout.pop(name).sharding.spec[1] == "neurons"
        for x in jax.tree.leaves((tree["core"], readout)):
            assert "neurons" not in x.sharding.spec


def test_neurons_that_devices_cannot_share():
    mesh = parallel.make_mesh(4, neuron_devices=2)
    with pytest.raises(UserError, match="padded to a multiple of neuron_devices=2, got 7"):
        parallel.shard_batch(small.batch(), mesh)
    with pytest.raises(UserError, match="neuron_devices=3 divides evenly, got 8"):
        parallel.make_mesh(8, neuron_devices=3)


def test_gradient_equals_that_of_the_plain_loss():
    """The trap: averaging gradients that shard_map has already summed."""
    mesh = parallel.make_mesh(8)
    step = parallel.make_train_step(small.MODEL, losses.Scaling(), KEEPS_GRADIENT, mesh)
    inputs = (small.neurons(), small.statistics())
    params = first_params()
    rest = parallel.replicate((*inputs, jax.random.key(1), jnp.float32(1)), mesh)
    after, _ = step(
        start(mesh, optimizer=KEEPS_GRADIENT), parallel.shard_batch(small.batch(), mesh), *rest
    )
    moved = params.weights["readout"]["bias"] - after.params.weights["readout"]["bias"]

    def plain(bias):
        weights = params.weights | {"readout": params.weights["readout"] | {"bias": bias}}
        key = jax.random.key(0)
        whole = small.MODEL, params._replace(weights=weights), small.batch(), *inputs
        rate = model.apply(*whole, train=True, key=key)[0]
        response = model.normalise_response(small.batch(), small.statistics())
        mask = jnp.broadcast_to(small.neurons().mask[:, None, None], response.shape)
        return jnp.sum(jnp.where(mask, losses.poisson(rate, response), 0)) / jnp.sum(mask)

    expected = jax.grad(plain)(params.weights["readout"]["bias"])
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_prediction_takes_the_memory_of_one_mouse(monkeypatch):
    def needed(mice):
        monkeypatch.setattr(small, "S", mice)
        monkeypatch.setattr(small, "NEURONS", (7,) * mice)
        params = jax.eval_shape(lambda: first_params())  # traced anew for these mice
        predict = parallel.make_predict_step(small.MODEL, parallel.make_mesh(1))
        inputs = params, small.batch(frames=30), small.neurons(), small.statistics()
        return predict.lower(*inputs).compile().memory_analysis().temp_size_in_bytes

    one, eight = needed(1), needed(8)
    assert 0 < eight < 2 * one


def test_one_compilation_serves_all_batches():
    assert run_steps(2, steps=3)[2]._cache_size() == 1


@pytest.mark.parametrize(
    ("m", "scaling"), [(small.MODEL, "mean"), (PLAIN, "reference")], ids=["recurrent", "plain"]
)
def test_mice_in_turn_and_computed_again_are_mice_at_once(m, scaling, monkeypatch):
    """Loss, gradients, running statistics and the numbers of every mouse."""
    monkeypatch.setattr(remat, "IMAGES", 4)
    monkeypatch.setattr(small, "NEURONS", (5, 8))
    options = {"steps": 1, "scaling": scaling, "m": m, "optimizer": KEEPS_GRADIENT}
    expected, (metrics,), *_ = run_steps(1, **options)
    cases = (
        [(1, 1, "core"), (8, 2, "all")] if scaling == "mean" else [(1, 1, "none"), (2, 1, "all")]
    )
    for devices, neurons, level in cases:
        plan = {"mice_at_once": 1, "rematerialise": level}
        state, (found,), step, _ = run_steps(devices, neurons=neurons, plan=plan, **options)
        assert step._cache_size() == 1
        drawn = m is small.MODEL and devices > 1  # each device draws positions for itself
        names = [n for n in metrics if not (drawn and "grad_norm" in n)]
        assert [found[n] for n in names] == pytest.approx([metrics[n] for n in names], rel=1e-5)
        for a, b in zip(comparable(expected), comparable(state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def test_computing_again_takes_less_memory():
    """Also on a CPU, whose compiler removes the barriers of ``jax.checkpoint``."""

    def layer(w, x):
        for _ in range(4):
            x = jnp.tanh(x @ w) + jnp.sin(x)
        return x

    def loss(weights, x, step, level):
        with remat.rematerialise(level, step=step):
            for w in weights:
                x = (remat.checkpoint(layer) if remat.includes("core") else layer)(w, x)
        return jnp.sum(x**2)

    weights, x, step = [jnp.eye(32)] * 6, jnp.ones((4000, 32)), jnp.int32(1)
    programs = [
        jax.jit(jax.grad(functools.partial(loss, level=level))).lower(weights, x, step).compile()
        for level in ("none", "core")
    ]
    plain, again = (program.memory_analysis().temp_size_in_bytes for program in programs)
    assert again < 0.5 * plain
    gradients = (program(weights, x, step) for program in programs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), *gradients)


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
