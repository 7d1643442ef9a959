"""One compiled step over a device mesh. The only file with ``shard_map``.

The mesh has one axis, ``"data"``, which splits the trials of every session; weights are whole on
every device.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sensorium_jax import losses
from sensorium_jax import model as models
from sensorium_jax.errors import UserError
from sensorium_jax.nn.norm import DATA_AXIS
from sensorium_jax.types import (
    Array,
    Batch,
    Neurons,
    Params,
    PyTree,
    Statistics,
    TrainState,
)

TrainStep = Callable[
    [TrainState, Batch, Neurons, Statistics, Array, Array], tuple[TrainState, dict[str, Array]]
]
BY_TRIAL = P(None, DATA_AXIS)


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first ``devices`` devices (all of them by default)."""
    available = jax.devices()
    if devices is not None and not 0 < devices <= len(available):
        raise UserError(
            f"expected 1 to {len(available)} devices, got {devices}; "
            "jax.devices() lists what this process can use"
        )
    return jax.make_mesh(
        (devices or len(available),),
        (DATA_AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=available[:devices],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, P())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put a whole copy of every array on every device."""
    return jax.device_put(tree, replicated(mesh))


def devices_for(trials: int) -> int:
    """The most devices of this process that divide ``trials`` evenly."""
    return max(n for n in range(1, jax.device_count() + 1) if trials % n == 0)


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Split the trials of every session over the mesh.

    Raises:
        UserError: the number of trials is no multiple of the number of devices.
    """
    trials = batch.video.shape[1]
    if trials % mesh.size:
        raise UserError(
            f"expected a number of trials that {mesh.size} devices divide evenly, got {trials}; "
            f"set trials to a multiple of {mesh.size}, or use fewer devices"
        )
    return jax.device_put(batch, NamedSharding(mesh, BY_TRIAL))


def make_train_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> TrainStep:
    """Compile one optimiser step over one batch of every session.

    The step takes (state, batch, neurons, statistics, key, rate) and returns the new state and
    {"loss", "poisson", "penalty", "grad_norm"}. ``rate`` [] multiplies the optimiser's update, so
    that lowering the learning rate does not compile again. The state's buffers are donated.
    """
    return _compile(_make_step(model, scaling, optimizer), mesh)


def make_ensemble_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> TrainStep:
    """As ``make_train_step`` for several models side by side, by one program that maps over them.

    State, batch, key and rate are tuples, one entry for each model; so is what it returns.
    """
    step = _make_step(model, scaling, optimizer)

    def together(states, batches, neurons, statistics, keys, rates):
        mapped = jax.vmap(step, in_axes=(0, 0, None, None, 0, 0))
        stacked = [jax.tree.map(lambda *x: jnp.stack(x), *xs) for xs in (states, batches)]
        new = mapped(*stacked, neurons, statistics, jnp.stack(keys), jnp.stack(rates))
        each = [jax.tree.map(lambda x, i=i: x[i], new) for i in range(len(states))]
        return tuple(state for state, _ in each), tuple(metrics for _, metrics in each)

    return _compile(together, mesh)


def _make_step(
    model: models.Model, scaling: losses.Scaling, optimizer: optax.GradientTransformation
) -> TrainStep:
    """The step as a pure function of what lies on one device."""

    def step(state, batch, neurons, statistics, key, rate):
        key = jax.random.fold_in(key, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(DATA_AXIS))
        trials = batch.video.shape[1] * jax.lax.axis_size(DATA_AXIS)

        def objective(weights):
            params = Params(weights, state.params.stats)
            sums, counts, stats = _poisson_sums(model, params, batch, neurons, statistics, key=key)
            # Summed inside the differentiated function: shard_map then sums the gradients of
            # the replicated weights by itself, and reducing them again would be wrong.
            sums, counts = jax.lax.psum((sums, counts), DATA_AXIS)
            penalties = models.penalty(model, weights)
            loss = scaling(sums, counts, penalties, statistics=statistics, trials=trials)
            return loss, (jnp.sum(sums) / jnp.sum(counts), sum(penalties), stats)

        (loss, (poisson, penalty, stats)), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params.weights
        )
        updates, opt = optimizer.update(grads, state.opt, state.params.weights)
        updates = jax.tree.map(lambda u: rate * u, updates)
        weights = optax.apply_updates(state.params.weights, updates)
        metrics = {
            "loss": loss,
            "poisson": poisson,
            "penalty": penalty,
            "grad_norm": optax.tree.norm(grads),
        }
        return TrainState(state.step + 1, Params(weights, stats), opt), metrics

    return step


def _compile(step: TrainStep, mesh: Mesh) -> TrainStep:
    whole = P()
    sharded = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(whole, BY_TRIAL, whole, whole, whole, whole),
        out_specs=(whole, whole),
    )
    return jax.jit(sharded, donate_argnums=0)


def _poisson_sums(
    model: models.Model,
    params: Params,
    batch: Batch,
    neurons: Neurons,
    statistics: Statistics,
    *,
    key: Array,
) -> tuple[Array, Array, PyTree]:
    """Sum and number of the elementwise losses of this device's trials: [S], [S], stats."""
    # From here on every device has weights of its own, so that their gradients are summed over
    # devices where they enter, in float32, whatever they are cast to further on.
    weights = jax.tree.map(lambda w: jax.lax.pcast(w, DATA_AXIS, to="varying"), params.weights)
    params = params._replace(weights=weights)
    rate, stats = models.apply(model, params, batch, neurons, statistics, train=True, key=key)
    frames = rate.shape[2]
    assert frames == batch.video.shape[2] - model.core.warmup_frames, "time is aligned at its end"
    response = models.normalise_response(batch, statistics)[:, :, -frames:]
    mask = batch.frame_mask[:, :, -frames:, None] & neurons.mask[:, None, None, :]
    elementwise = jnp.where(mask, losses.poisson(rate, response), 0)
    return elementwise.sum((1, 2, 3)), mask.sum((1, 2, 3)), stats


PredictStep = Callable[[PyTree, Batch, Neurons, Statistics], Array]


def make_predict_step(model: models.Model, mesh: Mesh) -> PredictStep:
    """Compile prediction in evaluation mode: (params, batch, neurons, statistics) -> [S B T' N]."""

    def step(params, batch, neurons, statistics):
        return models.apply(model, params, batch, neurons, statistics)[0]

    whole = P()
    return jax.jit(
        jax.shard_map(step, mesh=mesh, in_specs=(whole, BY_TRIAL, whole, whole), out_specs=BY_TRIAL)
    )


def make_ensemble_predict_step(ensemble: tuple[models.Model, ...], mesh: Mesh) -> PredictStep:
    """As ``make_predict_step`` for several models, whose mean rate it predicts.

    It takes a tuple of their params. Rates are aligned at the end; T' is that of the model with
    the longest warm-up.
    """
    steps = {model: make_predict_step(model, mesh) for model in ensemble}

    def predict(params, batch, neurons, statistics):
        rates = [
            steps[model](p, batch, neurons, statistics)
            for model, p in zip(ensemble, params, strict=True)
        ]
        frames = min(rate.shape[2] for rate in rates)
        return sum(rate[:, :, -frames:] for rate in rates) / len(rates)

    return predict
