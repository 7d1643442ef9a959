"""What a training will take, before anything runs: memory by part and by plan, time, disk."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sensorium_jax import models, parallel, protocol
from sensorium_jax.experiment import Experiment
from sensorium_jax.runs.checkpoint import KEPT
from sensorium_jax.training.plan import Plan, fits, free_bytes, needed_bytes, plans
from sensorium_jax.types import Array, Batch, Moments, Neurons, PyTree, Statistics, TrainState


class Forecast(NamedTuple):
    """What a training takes, in bytes a device unless said otherwise.

    Attributes:
        parts: weights, optimiser, a batch, and neurons with statistics, of all devices together.
        plans: what a step needs beside these, by plan, from the fastest to the leanest tried.
        evaluation: what a step of scoring needs beside weights and a batch.
        free: free memory of a device.
        devices: number of devices.
        disk: checkpoints of the run, on the disk.
        chosen: the first plan that fits; None if none does.
        step_s: seconds of a step, or None.
    """

    parts: dict[str, int]
    plans: dict[Plan, int]
    evaluation: int
    free: int
    devices: int
    disk: int
    chosen: Plan | None
    step_s: float | None


def forecast(
    experiment: Experiment,
    neurons: list[int],
    *,
    devices: int | None = None,
    frames: int = 300,
    steps: int = 0,
) -> Forecast:
    """Compile the steps of a training by shape alone, and ask XLA what they need.

    Args:
        experiment: model and training.
        neurons: of every mouse.
        devices: number of devices; None: as many as divide a batch evenly, as in training.
        frames: length of the longest trial.
        steps: training steps that are timed, on random numbers; 0: none.

    Raises:
        UserError: there are fewer devices, or they do not divide a batch.
    """
    shared = experiment.neuron_devices
    devices = devices or parallel.devices_for(experiment.data.trials, neuron_devices=shared)
    mesh = parallel.make_mesh(devices, neuron_devices=shared)
    shapes = _shapes(experiment, neurons, frames=experiment.data.frames, clip=frames, mesh=mesh)
    state, batch, people, statistics = shapes
    found, chosen, program = {}, None, None
    for plan in plans(experiment, mice=len(neurons), devices=mesh.size):
        program = compile_step(experiment, plan, shapes, mesh)
        found[plan] = needed_bytes(program)
        if fits(program):
            chosen = plan
            break
    step_s = _time(experiment, program, shapes, mesh, steps) if chosen and steps else None
    size = {"weights": _bytes(state.params), "optimiser": _bytes(state.opt)}
    return Forecast(
        size | {"a batch": _bytes(batch), "neurons, statistics": _bytes((people, statistics))},
        found,
        _evaluation_bytes(experiment, neurons, shapes, mesh, frames=frames),
        free_bytes(),
        mesh.size,
        KEPT * (_bytes(state) + _bytes(state.params)),
        chosen,
        step_s,
    )


def compile_step(experiment: Experiment, plan: Plan, shapes: tuple, mesh: Mesh) -> Any:
    """The compiled training step of a plan, for inputs of these shapes."""
    parts = experiment.model, experiment.scaling, _optimizer(experiment), mesh
    key, scale = jax.eval_shape(lambda: (jax.random.key(0), jnp.float32(1)))
    return parallel.make_train_step(*parts, **plan._asdict()).lower(*shapes, key, scale).compile()


def _optimizer(experiment: Experiment):
    return experiment.optimizer.make(experiment.epoch_steps * experiment.max_epochs)


def _shapes(
    experiment: Experiment, neurons: list[int], *, frames: int, clip: int, mesh: Mesh
) -> tuple[TrainState, Batch, Neurons, Statistics]:
    """Shapes of a step's inputs: state, batch, neurons, statistics."""
    multiple = experiment.neuron_devices
    width = -(-max(neurons) // multiple) * multiple
    moments = 1 if experiment.data.statistics == "pooled" else min(clip, protocol.CLIP_FRAMES)
    data = _data(len(neurons), experiment.data.trials, frames, width, moments)
    batch, people, _ = data

    def start(batch: Batch, people: Neurons) -> TrainState:
        params = models.init(experiment.model, jax.random.key(0), batch, people)
        opt = _optimizer(experiment).init(params.weights)
        return TrainState(jnp.zeros((), jnp.int32), params, opt)

    return jax.eval_shape(start, batch, people), *data


def _data(
    mice: int, trials: int, frames: int, neurons: int, moments: int
) -> tuple[Batch, Neurons, Statistics]:
    """Shapes of a batch, neurons and statistics at the benchmark's image size."""

    def array(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((mice, *shape), dtype)

    image, clip = (protocol.HEIGHT, protocol.WIDTH), (trials, frames)
    batch = Batch(
        array(*clip, *image, dtype=np.uint8),
        array(*clip, 2),
        array(*clip, 2),
        array(*clip, neurons),
        array(trials, dtype=np.int32),
        array(*clip, dtype=np.bool_),
    )
    people = Neurons(array(neurons, 3), array(neurons), array(neurons, dtype=np.bool_))
    video, behavior, pupil, response = (
        Moments(array(moments, *s), array(moments, *s)) for s in (image, (2,), (2,), (neurons,))
    )
    return batch, people, Statistics(video, behavior, pupil, response, array())


def _evaluation_bytes(
    experiment: Experiment, neurons: list[int], shapes: tuple, mesh: Mesh, *, frames: int
) -> int:
    """What a step of scoring needs beside its arguments."""
    state, _, people, statistics = shapes
    trials = -(-experiment.evaluation_trials // mesh.size) * mesh.size
    width = people.mask.shape[1]
    batch, _, _ = _data(len(neurons), trials, min(frames, protocol.CLIP_FRAMES), width, 1)
    step = parallel.make_predict_step(experiment.model, mesh)
    return needed_bytes(step.lower(state.params, batch, people, statistics).compile())


def _time(experiment: Experiment, program: Any, shapes: tuple, mesh: Mesh, steps: int) -> float:
    """Median seconds of a step on random numbers, after one that is not counted."""
    rng = np.random.default_rng(0)

    def fill(x: jax.ShapeDtypeStruct) -> np.ndarray:
        return rng.uniform(0.5, 1.5, x.shape).astype(x.dtype)

    batch, people, statistics = jax.tree.map(fill, shapes[1:])
    params = models.init(experiment.model, jax.random.key(0), batch, people)
    optimizer = _optimizer(experiment)
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
    state = parallel.place_state(state, experiment.model, optimizer, mesh)
    batch = parallel.shard_batch(batch, mesh)
    rest = (people, statistics, jax.random.key(1), jnp.float32(1))
    rest = parallel.replicate(rest, mesh)
    seconds = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, batch, *rest))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


def _bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree."""

    def size(x: Array) -> int:
        return int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize

    return sum(map(size, jax.tree.leaves(tree)))
