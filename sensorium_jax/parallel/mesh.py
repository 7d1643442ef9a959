"""The device mesh, and the partition of arrays over it."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sensorium_jax.errors import UserError
from sensorium_jax.models.nn.mesh import NEURONS, TRIALS
from sensorium_jax.types import Array, Batch, Moments, PyTree, Statistics

AXES = TRIALS, NEURONS
REPLICATED, TRIAL_SPEC = P(), P(None, AXES)  # TRIAL_SPEC: of arrays [S B ...]
BATCH_SPECS = Batch(
    video=TRIAL_SPEC,
    behavior=TRIAL_SPEC,
    pupil_center=TRIAL_SPEC,
    response=P(None, TRIALS, None, NEURONS),
    first_frame=TRIAL_SPEC,
    frame_mask=P(None, TRIALS),
)
NEURON_SPEC = P(None, NEURONS)
RESPONSE_SPEC = P(None, None, NEURONS)
STATISTICS_SPECS = Statistics(
    video=Moments(REPLICATED, REPLICATED),
    behavior=Moments(REPLICATED, REPLICATED),
    pupil_center=Moments(REPLICATED, REPLICATED),
    response=Moments(RESPONSE_SPEC, RESPONSE_SPEC),
    trials=REPLICATED,
)


def make_mesh(devices: int | None = None, *, neuron_devices: int = 1) -> Mesh:
    """A mesh [devices / neuron_devices, neuron_devices] over the first ``devices`` devices.

    Args:
        devices: number of devices; None for all.
        neuron_devices: number of devices that share the neurons of every mouse.

    Raises:
        UserError: more devices than there are, or a number that ``neuron_devices`` does not divide.

    Examples:
        >>> dict(make_mesh(1).shape)
        {'data': 1, 'neurons': 1}
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


def replicated_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays of which every device has a full copy.

    Examples:
        >>> replicated_sharding(make_mesh(1)).is_fully_replicated
        True
    """
    return NamedSharding(mesh, REPLICATED)


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put a full copy of every array on every device."""
    return place_arrays(tree, jax.tree.map(lambda _: replicated_sharding(mesh), tree))


def place_arrays(tree: PyTree, shardings: PyTree) -> PyTree:
    """Distribute arrays that every process has over the devices of all processes."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)


def devices_for(trials: int, *, neuron_devices: int = 1) -> int:
    """The largest number of devices that divides ``trials`` and is a multiple of neuron_devices.

    Raises:
        UserError: there is no such number, or some of several processes would have no trials.

    Examples:
        >>> devices_for(trials=1)
        1
    """
    candidates = range(neuron_devices, jax.device_count() + 1, neuron_devices)
    devices = max((n for n in candidates if trials % n == 0), default=0)
    if devices == 0 or (jax.process_count() > 1 and devices < jax.device_count()):
        raise UserError(
            f"expected data.trials that devices divide evenly, got {trials} for "
            f"{jax.device_count()} devices in {jax.process_count()} processes and "
            f"neuron_devices={neuron_devices}; change one of them"
        )
    return devices


def shard_batch(batch: Batch, mesh: Mesh, *, process_local: bool = False) -> Batch:
    """Split the trials of every mouse over the mesh.

    Args:
        batch: host arrays.
        mesh: the devices.
        process_local: ``batch`` has this process's share of the trials; else all trials, the same
            on every process.

    Raises:
        UserError: the number of trials is no multiple of the number of devices, or the neurons are
            not padded to a multiple of ``neuron_devices``.
    """
    processes = jax.process_count() if process_local else 1
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
        if not process_local and jax.process_count() == 1:
            return jax.device_put(x, sharding)
        if not process_local:
            return _local_shards(x, sharding)
        shape = (x.shape[0], trials, *x.shape[2:])
        return jax.make_array_from_process_local_data(sharding, x, shape)

    return Batch(*map(place, batch, BATCH_SPECS))


def _local_shards(x: np.ndarray, sharding: NamedSharding) -> Array:
    """A global array from one that every process has; each process uploads its shards."""
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
