"""The compiled training step."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sensorium_jax import models, protocol
from sensorium_jax.models import losses
from sensorium_jax.models.nn.mesh import NEURONS
from sensorium_jax.parallel.mesh import (
    AXES,
    OF_BATCH,
    OF_NEURONS,
    OF_STATISTICS,
    WHOLE,
    place_arrays,
)
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics, TrainState

TrainStep = Callable[
    [TrainState, Batch, Neurons, Statistics, Array, Array], tuple[TrainState, dict[str, Array]]
]


def make_train_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> TrainStep:
    """Compile one optimiser step over one batch of every session.

    The step takes (state, batch, neurons, statistics, key, lr_scale) and returns the new state
    and {"loss", "poisson", "penalty", "grad_norm"}. ``lr_scale`` [] multiplies the optimiser's
    update, so that lowering the learning rate does not compile again. The state's buffers are
    donated.
    """
    specs = _state_specs(model, optimizer, mesh)
    step = _make_step(model, scaling, optimizer, specs.params.weights)
    return jax.jit(_sharded(step, mesh, specs, OF_BATCH), donate_argnums=0)


def place_state(
    state: TrainState, model: models.Model, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Put a state where ``make_train_step`` with the same arguments wants it.

    What lies there already is not copied, and the first step takes its memory.
    """
    specs = _state_specs(model, optimizer, mesh)
    return place_arrays(
        state, jax.tree.map(lambda _, spec: NamedSharding(mesh, spec), state, specs)
    )


@functools.lru_cache(maxsize=8)
def _state_specs(
    model: models.Model, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """How every array of a state lies on a mesh: those that grow with the neurons are split."""

    def state(neurons: int) -> TrainState:
        image = protocol.HEIGHT, protocol.WIDTH
        clip = (model.core.warmup_frames + 1,)
        shapes = (*clip, *image), (*clip, 2), (*clip, 2), (*clip, neurons), (), clip
        batch = Batch(*(np.zeros((1, 1, *shape), np.float32) for shape in shapes))
        zeros = (np.zeros((1, neurons, *more), np.float32) for more in ((3,), (), ()))
        params = models.init(model, jax.random.key(0), batch, Neurons(*zeros))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))

    few, more = (jax.eval_shape(functools.partial(state, n)) for n in (2, 3))

    def spec(few: jax.ShapeDtypeStruct, more: jax.ShapeDtypeStruct) -> P:
        grows = [a != b for a, b in zip(few.shape, more.shape, strict=True)]
        # As jit writes it, or the second call would compile again.
        split = any(grows) and mesh.shape[NEURONS] > 1
        return P(*[None] * grows.index(True), NEURONS) if split else WHOLE

    return jax.tree.map(spec, few, more)


def make_ensemble_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> TrainStep:
    """As ``make_train_step`` for several models side by side, by one program that maps over them.

    State, batch, key and lr_scale are tuples, one entry for each model; so is what it returns.
    """
    specs = _state_specs(model, optimizer, mesh)
    step = _make_step(model, scaling, optimizer, specs.params.weights)

    def together(states, batches, neurons, statistics, keys, lr_scales):
        mapped = jax.vmap(step, in_axes=(0, 0, None, None, 0, 0))
        stacked = [jax.tree.map(lambda *x: jnp.stack(x), *xs) for xs in (states, batches)]
        new = mapped(*stacked, neurons, statistics, jnp.stack(keys), jnp.stack(lr_scales))
        each = [jax.tree.map(lambda x, i=i: x[i], new) for i in range(len(states))]
        return tuple(state for state, _ in each), tuple(metrics for _, metrics in each)

    def program(states, batches, *rest):
        of_states, of_batches = (specs,) * len(states), (OF_BATCH,) * len(states)
        return _sharded(together, mesh, of_states, of_batches)(states, batches, *rest)

    return jax.jit(program, donate_argnums=0)


def _make_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    specs: PyTree,  # of the weights
) -> TrainStep:
    """The step as a pure function of what lies on one device."""

    def step(state, batch, neurons, statistics, key, lr_scale):
        key = jax.random.fold_in(key, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(AXES))
        trials = batch.video.shape[1] * jax.lax.axis_size(AXES)

        def objective(weights):
            # From here on every device has weights of its own, so that their gradients are summed
            # over devices where they enter, in float32, whatever they are cast to further on.
            params = Params(jax.tree.map(_own, weights, specs), state.params.stats)
            sums, counts, stats = _poisson_sums(model, params, batch, neurons, statistics, key=key)
            # Summed inside the differentiated function: shard_map then sums the gradients of
            # the replicated weights by itself, and reducing them again would be wrong.
            sums, counts = jax.lax.psum((sums, counts), AXES)
            penalties = models.penalty(model, weights)
            loss = scaling(sums, counts, penalties, statistics=statistics, trials=trials)
            return loss, (jnp.sum(sums) / jnp.sum(counts), sum(penalties), stats)

        (loss, (poisson, penalty, stats)), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params.weights
        )
        updates, opt = optimizer.update(grads, state.opt, state.params.weights)
        updates = jax.tree.map(lambda u: lr_scale * u, updates)
        weights = optax.apply_updates(state.params.weights, updates)
        metrics = {
            "loss": loss,
            "poisson": poisson,
            "penalty": penalty,
            "grad_norm": jnp.sqrt(sum(jax.tree.leaves(jax.tree.map(_square, grads, specs)))),
        }
        return TrainState(state.step + 1, Params(weights, stats), opt), metrics

    return step


def _square(x: Array, spec: P) -> Array:
    """The sum of squares over an array of which a device may hold a share of the neurons."""
    square = jnp.sum(x**2)
    return jax.lax.psum(square, NEURONS) if NEURONS in spec else square


def _sharded(step: TrainStep, mesh: Mesh, of_state: PyTree, of_batch: PyTree) -> TrainStep:
    return jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(of_state, of_batch, OF_NEURONS, OF_STATISTICS, WHOLE, WHOLE),
        out_specs=(of_state, WHOLE),
    )


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
    inputs = model, params, batch, neurons, statistics
    rate, stats = models.apply(*inputs, train=True, key=key, gather=_gather)
    batch = batch._replace(first_frame=_gather(batch.first_frame))
    frames = rate.shape[2]
    assert frames == batch.video.shape[2] - model.core.warmup_frames, "time is aligned at its end"
    response = models.normalise_response(batch, statistics)[:, :, -frames:]
    mask = batch.frame_mask[:, :, -frames:, None] & neurons.mask[:, None, None, :]
    elementwise = jnp.where(mask, losses.poisson(rate, response), 0)
    return elementwise.sum((1, 2, 3)), mask.sum((1, 2, 3)), stats


def _own(x: Array, spec: P) -> Array:
    """An array as each device's own."""
    return jax.lax.pcast(x, tuple(axis for axis in AXES if axis not in spec), to="varying")


def _gather(tree: PyTree) -> PyTree:
    """Arrays [S B ...] of the trials of all devices that share the neurons."""
    if jax.lax.axis_size(NEURONS) == 1:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, NEURONS, axis=1, tiled=True), tree)
