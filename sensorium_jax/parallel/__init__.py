"""One compiled step over a device mesh: the one wing that knows ``shard_map``.

The mesh has two axes. Trials are split over both: every device runs the core on its own. Along the
axis of neurons, which has one device unless an experiment asks for more, devices then gather each
other's feature maps, and each reads its share of every mouse's neurons: of these, a device holds
weights, optimiser state and responses of that share only. All else is whole on every device.

Several processes (``jax.distributed``) run the same program, each with the trials of its own
devices.
"""

from sensorium_jax.parallel.check import check_core
from sensorium_jax.parallel.mesh import (
    devices_for,
    make_mesh,
    replicate,
    replicated,
    shard_batch,
)
from sensorium_jax.parallel.predict_step import make_ensemble_predict_step, make_predict_step
from sensorium_jax.parallel.processes import any_process, fetch, in_turn
from sensorium_jax.parallel.train_step import make_ensemble_step, make_train_step, place_state

__all__ = [
    "any_process",
    "check_core",
    "devices_for",
    "fetch",
    "in_turn",
    "make_ensemble_predict_step",
    "make_ensemble_step",
    "make_mesh",
    "make_predict_step",
    "make_train_step",
    "place_state",
    "replicate",
    "replicated",
    "shard_batch",
]
