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
from sensorium_jax.models.nn import remat
from sensorium_jax.models.nn.mesh import NEURONS
from sensorium_jax.parallel.mesh import (
    AXES,
    BATCH_SPECS,
    NEURON_SPEC,
    REPLICATED,
    STATISTICS_SPECS,
    place_arrays,
)
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics, TrainState

TrainStep = Callable[
    [TrainState, Batch, Neurons, Statistics, Array, Array], tuple[TrainState, dict[str, Array]]
]
EnsembleStep = Callable[
    [
        tuple[TrainState, ...],
        tuple[Batch, ...],
        Neurons,
        Statistics,
        tuple[Array, ...],
        tuple[Array, ...],
    ],
    tuple[tuple[TrainState, ...], tuple[dict[str, Array], ...]],
]


def make_train_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    mice_at_once: int | None = None,
    rematerialise: remat.Level = "none",
) -> TrainStep:
    """Compile one optimiser step over one batch of every mouse.

        weights += lr_scale optimizer_update(grad loss)

    The step takes (state, batch, neurons, statistics, key, lr_scale) and returns the new state
    and metrics: "loss", "poisson", "penalty" and "grad_norm", and of every mouse "mouse_loss" [S],
    its mean Poisson loss, and "mouse_grad_norm" [S], of the weights that are its own. Where the
    loss, the norm of the gradient or that of the new weights is not a finite number, "finite" is
    False and the state is returned as it was. ``lr_scale`` is an argument, so that lowering the
    learning rate does not compile again. The state's buffers are donated.

    ``mice_at_once`` mice (``group_size``; None: all) are computed side by side, one such group
    after the other, in the memory of one group. ``rematerialise`` says what the gradient computes
    again in place of keeping it (``models.nn.remat``).
    """
    specs = _state_specs(model, optimizer, mesh)
    step = _make_step(model, scaling, optimizer, specs.params.weights, mice_at_once, rematerialise)
    return jax.jit(_shard(step, mesh, specs, BATCH_SPECS), donate_argnums=0)


def place_state(
    state: TrainState, model: models.Model, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Put a state on the devices as ``make_train_step`` with the same arguments expects it.

    Arrays that are already placed so are not copied; the first step donates their buffers.
    """
    specs = _state_specs(model, optimizer, mesh)
    return place_arrays(
        state, jax.tree.map(lambda _, spec: NamedSharding(mesh, spec), state, specs)
    )


@functools.lru_cache(maxsize=8)
def _state_specs(
    model: models.Model, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Partition specs of a state: arrays whose size depends on the number of neurons are split."""

    def state(neurons: int) -> TrainState:
        image = protocol.HEIGHT, protocol.WIDTH
        clip = (model.core.warmup_frames + 1,)
        shapes = (*clip, *image), (*clip, 2), (*clip, 2), (*clip, neurons), (), clip
        batch = Batch(*(np.zeros((1, 1, *shape), np.float32) for shape in shapes))
        zeros = (np.zeros((1, neurons, *axes), np.float32) for axes in ((3,), (), ()))
        params = models.init(model, jax.random.key(0), batch, Neurons(*zeros))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))

    two_neurons, three_neurons = (jax.eval_shape(functools.partial(state, n)) for n in (2, 3))

    def spec(x: jax.ShapeDtypeStruct, y: jax.ShapeDtypeStruct) -> P:
        is_neuron_axis = [a != b for a, b in zip(x.shape, y.shape, strict=True)]
        # In the form of jit's output specs; any other would compile again at the second call.
        is_split = any(is_neuron_axis) and mesh.shape[NEURONS] > 1
        return P(*[None] * is_neuron_axis.index(True), NEURONS) if is_split else REPLICATED

    return jax.tree.map(spec, two_neurons, three_neurons)


def make_ensemble_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    mice_at_once: int | None = None,
    rematerialise: remat.Level = "none",
) -> EnsembleStep:
    """Compile one optimiser step of several models of equal shape in one program (``vmap``).

    The step is that of ``make_train_step``; state, batch, key, lr_scale and both results are tuples
    with one entry per model.
    """
    specs = _state_specs(model, optimizer, mesh)
    step = _make_step(model, scaling, optimizer, specs.params.weights, mice_at_once, rematerialise)

    def ensemble_step(states, batches, neurons, statistics, keys, lr_scales):
        vmapped_step = jax.vmap(step, in_axes=(0, 0, None, None, 0, 0))
        state, batch, key, lr_scale = (
            jax.tree.map(lambda *x: jnp.stack(x), *xs) for xs in (states, batches, keys, lr_scales)
        )
        output = vmapped_step(state, batch, neurons, statistics, key, lr_scale)
        outputs = [jax.tree.map(lambda x, i=i: x[i], output) for i in range(len(states))]
        return tuple(state for state, _ in outputs), tuple(metrics for _, metrics in outputs)

    def program(states, batches, *args):
        state_specs, batch_specs = (specs,) * len(states), (BATCH_SPECS,) * len(states)
        return _shard(ensemble_step, mesh, state_specs, batch_specs)(states, batches, *args)

    return jax.jit(program, donate_argnums=0)


def _make_step(
    model: models.Model,
    scaling: losses.Scaling,
    optimizer: optax.GradientTransformation,
    specs: PyTree,  # of the weights
    mice_at_once: int | None,
    rematerialise: remat.Level,
) -> TrainStep:
    """The step as a pure function of one device's shards."""

    def step(state, batch, neurons, statistics, key, lr_scale):
        key = jax.random.fold_in(key, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(AXES))
        trials = batch.video.shape[1] * jax.lax.axis_size(AXES)
        counts = jax.lax.psum(_count(model, batch, neurons), AXES)

        def objective(sums, weights):
            penalties = models.penalty(model, weights)
            loss = scaling(sums, counts, penalties, statistics=statistics, trials=trials)
            return loss, sum(penalties)

        # The loss is linear in the mice's sums: what a mouse counts for is known before.
        nothing = jnp.zeros(counts.shape)
        share = jax.grad(objective, has_aux=True)(nothing, state.params.weights)[0]
        data = batch, neurons, statistics, models.mouse_keys(key, len(counts)).T
        with remat.rematerialise(rematerialise, step=state.step):
            sums, grads, stats = _sum_over_mice(
                model, state.params, data, share, specs, at_once=mice_at_once
            )
        (loss, penalty), penalty_grads = jax.value_and_grad(objective, argnums=1, has_aux=True)(
            sums, state.params.weights
        )
        grads = jax.tree.map(jnp.add, grads, penalty_grads)
        updates, opt = optimizer.update(grads, state.opt, state.params.weights)
        updates = jax.tree.map(lambda u: lr_scale * u, updates)
        weights = optax.apply_updates(state.params.weights, updates)
        metrics = {
            "loss": loss,
            "poisson": jnp.sum(sums) / jnp.sum(counts),
            "penalty": penalty,
            "grad_norm": _norm(grads, specs),
            "mouse_loss": sums / counts,
            "mouse_grad_norm": _norm_by_mouse(grads, specs),
        }
        norms = loss, metrics["grad_norm"], _norm(weights, specs), optax.tree.norm(stats)
        metrics["finite"] = finite = jnp.isfinite(jnp.stack(norms)).all()
        updated = TrainState(state.step + 1, Params(weights, stats), opt)
        return jax.tree.map(functools.partial(jnp.where, finite), updated, state), metrics

    return step


def _norm(tree: PyTree, specs: PyTree) -> Array:
    """sqrt(sum x^2) over all arrays, and all devices that share the neurons: -> []."""
    return jnp.sqrt(sum(jax.tree.leaves(jax.tree.map(_square, tree, specs))))


def _norm_by_mouse(weights: PyTree, specs: PyTree) -> Array:
    """``_norm`` of every mouse's own weights, those of all parts but the core: -> [S]."""
    by_mouse, specs = ({k: v for k, v in x.items() if k != "core"} for x in (weights, specs))
    square = functools.partial(_square, first_axis=1)
    return jnp.sqrt(sum(jax.tree.leaves(jax.tree.map(square, by_mouse, specs))))


def _square(x: Array, spec: P, *, first_axis: int = 0) -> Array:
    """sum x^2 over the axes from ``first_axis``, of all devices if the array is split over them."""
    square = jnp.sum(x**2, axis=tuple(range(first_axis, x.ndim)))
    return jax.lax.psum(square, NEURONS) if NEURONS in spec else square


def _shard(step: Callable, mesh: Mesh, state_specs: PyTree, batch_specs: PyTree) -> Callable:
    return jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(state_specs, batch_specs, NEURON_SPEC, STATISTICS_SPECS, REPLICATED, REPLICATED),
        out_specs=(state_specs, REPLICATED),
    )


def _sum_over_mice(
    model: models.Model,
    params: Params,
    data: tuple[Batch, Neurons, Statistics, Array],  # leaves lead with S
    share: Array,  # [S]
    specs: PyTree,
    *,
    at_once: int | None,
) -> tuple[Array, PyTree, PyTree]:
    """sums_s [S], the gradient of sum_s share_s sums_s, and the running statistics.

    Groups of mice are taken one after the other, so that memory is that of one group. Gradients are
    summed over devices once, at the end, in float32.
    """
    # Weights that vary over devices: each device's gradient is that of its own trials.
    weights = jax.tree.map(_mark_varying, params.weights, specs)
    core, by_mouse = weights["core"], {k: v for k, v in weights.items() if k != "core"}

    size = group_size(len(share), at_once)

    def group_sums(core, by_mouse, batch, neurons, statistics, key, share):
        group = Params({"core": core, **by_mouse}, params.stats)
        sums, stats = _poisson_sums(model, group, batch, neurons, statistics, key=key.T)
        return jnp.sum(share * sums), (sums, stats)

    def add_group(core_grads, first):
        group = jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, first, size), (by_mouse, *data, share)
        )
        (_, (sums, stats)), (core_grad, own_grad) = jax.value_and_grad(
            group_sums, argnums=(0, 1), has_aux=True
        )(core, *group)
        return jax.tree.map(jnp.add, core_grads, core_grad), (sums, own_grad, stats)

    zeros = jax.tree.map(jnp.zeros_like, core)
    if size == len(share):
        core_grads, (sums, own_grads, stats) = add_group(zeros, 0)
    else:
        firsts = jnp.arange(0, len(share), size)
        core_grads, (sums, own_grads, stats) = jax.lax.scan(add_group, zeros, firsts)
        sums, own_grads = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (sums, own_grads))
        stats = jax.tree.map(lambda x: x.mean(0), stats)
    grads = {"core": core_grads, **own_grads}
    return jax.lax.psum(sums, AXES), jax.tree.map(_sum_varying, grads, specs), stats


def group_size(mice: int, at_once: int | None) -> int:
    """Mice of a group: the largest number up to ``at_once`` that divides them; None: all.

    Examples:
        >>> [group_size(10, n) for n in (1, 4, 5, None)]
        [1, 2, 5, 10]
    """
    return max(n for n in range(1, min(at_once or mice, mice) + 1) if mice % n == 0)


def _count(model: models.Model, batch: Batch, neurons: Neurons) -> Array:
    """Number [S] of the elementwise losses of this device's trials."""
    return _mask(batch, neurons, batch.video.shape[2] - model.core.warmup_frames).sum((1, 2, 3))


def _mask(batch: Batch, neurons: Neurons, frames: int) -> Array:
    """Which of the last ``frames`` frames and which neurons count: [S B T' N]."""
    return batch.frame_mask[:, :, -frames:, None] & neurons.mask[:, None, None, :]


def _poisson_sums(
    model: models.Model,
    params: Params,
    batch: Batch,
    neurons: Neurons,
    statistics: Statistics,
    *,
    key: Array,
) -> tuple[Array, PyTree]:
    """Sums [S] of the elementwise losses of this device's trials, and running statistics."""
    inputs = model, params, batch, neurons, statistics
    rate, stats = models.apply(*inputs, train=True, key=key, gather=_gather)
    batch = batch._replace(first_frame=_gather(batch.first_frame))
    frames = rate.shape[2]
    assert frames == batch.video.shape[2] - model.core.warmup_frames, "time is aligned at its end"
    response = models.normalise_response(batch, statistics)[:, :, -frames:]
    elementwise = jnp.where(_mask(batch, neurons, frames), losses.poisson(rate, response), 0)
    return elementwise.sum((1, 2, 3)), stats


def _mark_varying(x: Array, spec: P) -> Array:
    """The same array, typed as varying over the mesh axes that it is not split over."""
    return jax.lax.pcast(x, tuple(axis for axis in AXES if axis not in spec), to="varying")


def _sum_varying(x: Array, spec: P) -> Array:
    """The sum over the mesh axes that an array is not split over."""
    return jax.lax.psum(x, tuple(axis for axis in AXES if axis not in spec))


def _gather(tree: PyTree) -> PyTree:
    """Gather the trials of arrays [S B ...] from all devices that share the neurons."""
    if jax.lax.axis_size(NEURONS) == 1:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, NEURONS, axis=1, tiled=True), tree)
