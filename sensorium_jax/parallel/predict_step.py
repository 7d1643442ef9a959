"""The compiled prediction step."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.sharding import Mesh

from sensorium_jax import models
from sensorium_jax.parallel.mesh import REPLICATED, TRIAL_SPEC
from sensorium_jax.types import Array, Batch, Neurons, Params, PyTree, Statistics

PredictStep = Callable[[PyTree, Batch, Neurons, Statistics], Array]


def make_predict_step(model: models.Model, mesh: Mesh) -> PredictStep:
    """Compile prediction in evaluation mode: (params, batch, neurons, statistics) -> [S B T' N].

    Mice are processed one after the other, so that memory is that of one mouse's trials.
    """

    def step(params, batch, neurons, statistics):
        shared = {"core": params.weights["core"]}
        per_session = {name: x for name, x in params.weights.items() if name not in shared}

        def predict_session(session: tuple) -> Array:
            weights, *data = jax.tree.map(lambda x: x[None], session)
            return models.apply(model, Params(shared | weights, params.stats), *data)[0][0]

        return jax.lax.map(predict_session, (per_session, batch, neurons, statistics))

    batch_specs = Batch(*(TRIAL_SPEC for _ in Batch._fields))  # every device has all neurons
    specs = (REPLICATED, batch_specs, REPLICATED, REPLICATED)
    return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=TRIAL_SPEC))


def make_ensemble_predict_step(ensemble: tuple[models.Model, ...], mesh: Mesh) -> PredictStep:
    """Compile the mean prediction of several models, rate = sum_m rate_m / M.

    The step takes a tuple of their params, else the arguments of ``make_predict_step``'s. Rates are
    aligned at the last frame; T' is that of the model with the longest warm-up.
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
