"""One compiled step over a device mesh. The only file with ``shard_map``.

The mesh has two axes. Trials are split over both: every device runs the core on its own. Along the
axis of neurons, which has one device unless an experiment asks for more, devices then gather each
other's feature maps, and each reads its share of every mouse's neurons: of these, a device holds
weights, optimiser state and responses of that share only. All else is whole on every device.

Several processes (``jax.distributed``) run the same program, each with the trials of its own
devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sensorium_jax import losses, protocol
from sensorium_jax import model as models
from sensorium_jax.errors import UserError
from sensorium_jax.nn.mesh import NEURONS, TRIALS
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
AXES = TRIALS, NEURONS
WHOLE, BY_TRIAL = P(), P(None, AXES)
OF_BATCH = Batch(
    video=BY_TRIAL,
    behavior=BY_TRIAL,
    pupil_center=BY_TRIAL,
    response=P(None, TRIALS, None, NEURONS),
    first_frame=BY_TRIAL,
    frame_mask=P(None, TRIALS),
)
OF_NEURONS = P(None, NEURONS)
OF_STATISTICS = Statistics(WHOLE, WHOLE, WHOLE, response=P(None, None, NEURONS), trials=WHOLE)


def make_mesh(devices: int | None = None, *, neuron_devices: int = 1) -> Mesh:
    """A mesh over the first ``devices`` devices (all of them by default).

    Every ``neuron_devices`` of them share the neurons of every mouse.
    """
    available = jax.devices()
    if devices is not None and not 0 < devices <= len(available):
        raise UserError(
            f"expected 1 to {len(available)} devices, got {devices}; "
            "jax.devices() lists what this process can use"
        )
    devices = devices or len(available)
    if jax.process_count() > 1 and jax.local_device_count() % neuron_devices:
        raise UserError(
            f"expected devices that share neurons in one process, got {jax.local_device_count()} "
            f"devices a process and neuron_devices={neuron_devices}; start fewer processes with "
            "more devices each, or change neuron_devices"
        )
    if devices % neuron_devices:
        raise UserError(
            f"expected a number of devices that neuron_devices={neuron_devices} divides evenly, "
            f"got {devices}; change --devices, or neuron_devices"
        )
    return jax.make_mesh(
        (devices // neuron_devices, neuron_devices),
        (TRIALS, NEURONS),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=available[:devices],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, WHOLE)


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put a whole copy of every array on every device."""
    return _place(tree, jax.tree.map(lambda _: replicated(mesh), tree))


def _place(tree: PyTree, shardings: PyTree) -> PyTree:
    """Put arrays that every process has on the devices of all."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)


def devices_for(trials: int, *, neuron_devices: int = 1) -> int:
    """The most devices that divide ``trials`` evenly, so many of them together for the neurons.

    Raises:
        UserError: there is no such number; or, of several processes, some would have nothing to do.
    """
    possible = range(neuron_devices, jax.device_count() + 1, neuron_devices)
    most = max((n for n in possible if trials % n == 0), default=0)
    if most == 0 or (jax.process_count() > 1 and most < jax.device_count()):
        raise UserError(
            f"expected data.trials that devices divide evenly, got {trials} for "
            f"{jax.device_count()} devices in {jax.process_count()} processes and "
            f"neuron_devices={neuron_devices}; change one of them"
        )
    return most


def shard_batch(batch: Batch, mesh: Mesh, *, own: bool = False) -> Batch:
    """Split the trials of every session over the mesh.

    Args:
        batch: the same on every process, or with ``own`` the trials of this one.
        mesh: the devices.
        own: of ``n`` processes each has a ``n``-th of the trials.

    Raises:
        UserError: the number of trials is no multiple of the number of devices.
    """
    processes = jax.process_count() if own else 1
    trials, neurons = batch.video.shape[1] * processes, batch.response.shape[3]
    if trials % mesh.size:
        raise UserError(
            f"expected a number of trials that {mesh.size} devices divide evenly, got {trials}; "
            f"set trials to a multiple of {mesh.size}, or use fewer devices"
        )
    if neurons % mesh.shape[NEURONS]:
        raise UserError(
            f"expected neurons padded to a multiple of neuron_devices={mesh.shape[NEURONS]}, got "
            f"{neurons}; open the store with load_recordings(..., multiple=)"
        )

    def place(x: np.ndarray, spec: P) -> Array:
        sharding = NamedSharding(mesh, spec)
        if not own:
            return jax.device_put(x, sharding) if jax.process_count() == 1 else _take(x, sharding)
        shape = (x.shape[0], trials, *x.shape[2:])
        return jax.make_array_from_process_local_data(sharding, x, shape)

    return Batch(*map(place, batch, OF_BATCH))


def _take(x: np.ndarray, sharding: NamedSharding) -> Array:
    """This process's part of an array that every process has."""
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def fetch(x: Array) -> np.ndarray:
    """An array on the host of every process."""
    if jax.process_count() == 1:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)


def any_process(flag: bool) -> bool:
    """Whether it is true in any process; all must ask together."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def in_turn(action: Callable[[], Any]) -> Any:
    """What ``action`` returns in this process; the first process is through before others begin."""
    if jax.process_index() > 0:
        multihost_utils.sync_global_devices("first process")
        return action()
    result = action()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("first process")
    return result


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
    return _place(state, jax.tree.map(lambda _, spec: NamedSharding(mesh, spec), state, specs))


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

    State, batch, key and rate are tuples, one entry for each model; so is what it returns.
    """
    specs = _state_specs(model, optimizer, mesh)
    step = _make_step(model, scaling, optimizer, specs.params.weights)

    def together(states, batches, neurons, statistics, keys, rates):
        mapped = jax.vmap(step, in_axes=(0, 0, None, None, 0, 0))
        stacked = [jax.tree.map(lambda *x: jnp.stack(x), *xs) for xs in (states, batches)]
        new = mapped(*stacked, neurons, statistics, jnp.stack(keys), jnp.stack(rates))
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

    def step(state, batch, neurons, statistics, key, rate):
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
        updates = jax.tree.map(lambda u: rate * u, updates)
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


PredictStep = Callable[[PyTree, Batch, Neurons, Statistics], Array]


def make_predict_step(model: models.Model, mesh: Mesh) -> PredictStep:
    """Compile prediction in evaluation mode: (params, batch, neurons, statistics) -> [S B T' N].

    One session after the other, so that memory is that of one session's trials.
    """

    def step(params, batch, neurons, statistics):
        shared = {"core": params.weights["core"]}
        own = {name: x for name, x in params.weights.items() if name not in shared}

        def of_session(one: tuple) -> Array:
            own, *rest = jax.tree.map(lambda x: x[None], one)
            return models.apply(model, Params(shared | own, params.stats), *rest)[0][0]

        return jax.lax.map(of_session, (own, batch, neurons, statistics))

    batches = Batch(*(BY_TRIAL for _ in Batch._fields))  # readouts are whole on every device
    specs = (WHOLE, batches, WHOLE, WHOLE)
    return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=BY_TRIAL))


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
