"""Check that a core's training does not depend on the number of devices, on abstract shapes."""

from __future__ import annotations

import functools

import jax
from jax.sharding import PartitionSpec as P

from sensorium_jax.errors import UserError
from sensorium_jax.models.check import core_variables, film
from sensorium_jax.models.parts import Core
from sensorium_jax.parallel.mesh import AXES, REPLICATED, make_mesh


@functools.lru_cache(maxsize=64)
def check_core(core: Core) -> None:
    """Check that a core's running statistics are those of the batch on all devices; traces only.

    Raises:
        UserError: they differ between devices, as those of ``flax.linen.BatchNorm`` do.

    Examples:
        >>> from sensorium_jax.models import cores
        >>> check_core(cores.Stacked2D.example())  # no error
    """
    frames = core.warmup_frames + 2
    inputs, variables = film(frames), core_variables(core, frames=frames)

    def statistics(variables, *inputs):
        rngs = {"dropout": jax.random.key(0)}
        _, updated = core.apply(variables, *inputs, train=True, rngs=rngs, mutable=["batch_stats"])
        return updated

    specs = (REPLICATED, *(P(AXES) for _ in inputs))
    step = jax.shard_map(statistics, mesh=make_mesh(1), in_specs=specs, out_specs=REPLICATED)
    try:
        jax.eval_shape(step, variables, *inputs)
    except Exception as error:  # JAX's message has many lines
        raise UserError(
            f"expected the core {type(core).__name__} to keep running statistics of the whole "
            "batch, found ones that differ between devices; normalise with "
            "models.nn.norm.BatchNorm in place of flax.linen.BatchNorm, or reduce moments with "
            "models.nn.mesh.mean_over_trials"
        ) from error
