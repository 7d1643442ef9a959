"""Compiled training and prediction steps over a device mesh. The only package with ``shard_map``.

The mesh has two axes, "data" and "neurons". Trials are split over both: every device runs the core
on its share of the trials. The axis "neurons" has one device unless ``neuron_devices`` sets more.
Devices along it then gather each other's feature maps, and each computes its share of every mouse's
neurons: it holds readout weights, optimiser state and responses of this share only. All other
arrays are replicated.

Several processes (``jax.distributed``) run the same program, each with the trials of its devices.
"""

from sensorium_jax import _moved
from sensorium_jax.parallel.check import check_core
from sensorium_jax.parallel.mesh import (
    devices_for,
    make_mesh,
    replicate,
    replicated_sharding,
    shard_batch,
)
from sensorium_jax.parallel.predict_step import make_ensemble_predict_step, make_predict_step
from sensorium_jax.parallel.processes import any_process, fetch, first_process_first
from sensorium_jax.parallel.train_step import (
    group_size,
    make_ensemble_step,
    make_train_step,
    place_state,
)

__all__ = [
    "any_process",
    "check_core",
    "devices_for",
    "fetch",
    "first_process_first",
    "group_size",
    "make_ensemble_predict_step",
    "make_ensemble_step",
    "make_mesh",
    "make_predict_step",
    "make_train_step",
    "place_state",
    "replicate",
    "replicated_sharding",
    "shard_batch",
]


def __getattr__(name: str):  # names of before version 0.2
    return _moved.look_up(__name__, name)
