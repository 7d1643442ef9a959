"""The device mesh, and how arrays lie on it."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sensorium_jax.errors import UserError
from sensorium_jax.models.nn.mesh import NEURONS, TRIALS
from sensorium_jax.types import Array, Batch, PyTree, Statistics

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
    return place_arrays(tree, jax.tree.map(lambda _: replicated(mesh), tree))


def place_arrays(tree: PyTree, shardings: PyTree) -> PyTree:
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
