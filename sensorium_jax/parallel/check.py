"""Whether a core trains on several devices as on one: shapes only, before training."""

from __future__ import annotations

import functools

import jax
from jax.sharding import PartitionSpec as P

from sensorium_jax.errors import UserError
from sensorium_jax.models.check import core_variables, film
from sensorium_jax.models.parts import Core
from sensorium_jax.parallel.mesh import AXES, WHOLE, make_mesh


@functools.lru_cache(maxsize=64)
def check_core(core: Core) -> None:
    """Trace a core's running statistics on a mesh: they must be those of the whole batch.

    Raises:
        UserError: they depend on the device, as those of ``flax.linen.BatchNorm`` do.
    """
    frames = core.warmup_frames + 2
    inputs, variables = film(frames), core_variables(core, frames=frames)

    def statistics(variables, *inputs):
        rngs = {"dropout": jax.random.key(0)}
        _, updated = core.apply(variables, *inputs, train=True, rngs=rngs, mutable=["batch_stats"])
        return updated

    specs = (WHOLE, *(P(AXES) for _ in inputs))
    step = jax.shard_map(statistics, mesh=make_mesh(1), in_specs=specs, out_specs=WHOLE)
    try:
        jax.eval_shape(step, variables, *inputs)
    except Exception as error:  # of JAX, many lines long
        raise UserError(
            f"expected the core {type(core).__name__} to keep running statistics of the whole "
            "batch, found ones that differ between devices; normalise with "
            "models.nn.norm.BatchNorm in place of flax.linen.BatchNorm, or reduce moments with "
            "models.nn.mesh.mean_over_trials"
        ) from error
