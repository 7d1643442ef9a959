"""What a training will take, before anything runs: memory by part and by plan, time, disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    shapes = step_shapes(experiment, neurons, frames=frames)
    state, batch, people, statistics = shapes
    found, chosen, program = {}, None, None
    for plan in plans(experiment, mice=len(neurons), devices=mesh.size):
        program = compile_step(experiment, plan, shapes, mesh)
        found[plan] = needed_bytes(program)
        if fits(program):
            chosen = plan
            break
    step_s = None
    if chosen and steps:
        (seconds,) = time_steps(experiment, [program], shapes, mesh, rounds=steps)
        step_s = float(np.median(seconds))
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


def step_shapes(
    experiment: Experiment, neurons: list[int], *, frames: int = 300
) -> tuple[TrainState, Batch, Neurons, Statistics]:
    """Shapes of a training step's inputs: state, batch, neurons, statistics.

    Args:
        experiment: model and training.
        neurons: of every mouse; the arrays are padded to the largest.
        frames: length of the longest trial.
    """
    data, multiple = experiment.data, experiment.neuron_devices
    width = -(-max(neurons) // multiple) * multiple
    moments = 1 if data.statistics == "pooled" else min(frames, protocol.CLIP_FRAMES)
    size = {"mice": len(neurons), "trials": data.trials, "frames": data.frames, "neurons": width}
    arrays = data_shapes(**size, moments=moments)
    batch, people, _ = arrays

    def start(batch: Batch, people: Neurons) -> TrainState:
        params = models.init(experiment.model, jax.random.key(0), batch, people)
        opt = _optimizer(experiment).init(params.weights)
        return TrainState(jnp.zeros((), jnp.int32), params, opt)

    return jax.eval_shape(start, batch, people), *arrays


def data_shapes(
    *, mice: int, trials: int, frames: int, neurons: int, moments: int = 1
) -> tuple[Batch, Neurons, Statistics]:
    """Shapes of a batch, neurons and statistics at the benchmark's image size.

    ``moments`` is the number of frames of the statistics; 1: pooled over frames.

    Examples:
        >>> batch, _, statistics = data_shapes(mice=2, trials=3, frames=5, neurons=7)
        >>> batch.response.shape, statistics.response.mean.shape
        ((2, 3, 5, 7), (2, 1, 7))
    """

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
    frames = min(frames, protocol.CLIP_FRAMES)
    batch, _, _ = data_shapes(mice=len(neurons), trials=trials, frames=frames, neurons=width)
    step = parallel.make_predict_step(experiment.model, mesh)
    return needed_bytes(step.lower(state.params, batch, people, statistics).compile())


def time_steps(
    experiment: Experiment, programs: Sequence[Any], shapes: tuple, mesh: Mesh, *, rounds: int
) -> list[list[float]]:
    """Seconds of compiled training steps on random numbers, by program and round.

    All run in turn in every round; a first round is not counted.
    """
    rng = np.random.default_rng(0)

    def fill(x: jax.ShapeDtypeStruct) -> np.ndarray:
        return rng.uniform(0.5, 1.5, x.shape).astype(x.dtype)

    batch, people, statistics = jax.tree.map(fill, shapes[1:])
    optimizer = _optimizer(experiment)
    rest = people, statistics, jax.random.key(1), jnp.float32(1)
    rest, placed = parallel.replicate(rest, mesh), parallel.shard_batch(batch, mesh)
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds + 1):
        for program, taken in zip(programs, seconds, strict=True):
            params = models.init(experiment.model, jax.random.key(0), batch, people)
            state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
            state = parallel.place_state(state, experiment.model, optimizer, mesh)
            jax.block_until_ready((state, placed))
            began = time.perf_counter()
            jax.block_until_ready(program(state, placed, *rest))
            taken.append(time.perf_counter() - began)
    return [taken[1:] for taken in seconds]


def _bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree."""

    def size(x: Array) -> int:
        return int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize

    return sum(map(size, jax.tree.leaves(tree)))
