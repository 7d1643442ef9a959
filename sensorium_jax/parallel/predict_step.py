"""The compiled prediction."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.sharding import Mesh

from sensorium_jax import models
from sensorium_jax.parallel.mesh import BY_TRIAL, WHOLE
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics

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
