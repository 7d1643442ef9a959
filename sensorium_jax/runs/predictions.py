"""Predictions of whole tiers, trial by trial, in the units of the official scorer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from sensorium_jax import parallel, protocol, scores
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import Diverged, UserError
from sensorium_jax.models import Model, select_sessions
from sensorium_jax.scores.evaluate import Evaluate, Predictions, frames_cut
from sensorium_jax.scores.tally import PredictedTrial
from sensorium_jax.types import Params


def make_evaluate(
    model: Model | tuple[Model, ...],
    recordings: Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
) -> Evaluate:
    """Build ``evaluate(params, split) -> Report`` (``Evaluate``) for a model.

    Args:
        model: what to evaluate; of several, the mean rate, and ``params`` is a tuple too.
        recordings: the sessions, in the order of the model's readouts.
        mesh: devices to predict on. In several processes all get all predictions.
        statistics: the kind that the model was trained with.
        trials: full-length trials of every session predicted at a time, rounded up to a multiple
            of the number of devices.
    """
    options = {"mesh": mesh, "statistics": statistics, "trials": trials}
    return scores.make_evaluate(make_predictions(model, recordings, **options), recordings)


def make_predictions(
    model: Model | tuple[Model, ...],
    recordings: Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
) -> Predictions:
    """Build ``predictions(params, split)`` (``Predictions``); arguments as of ``make_evaluate``.

    Responses and predictions are over the released frame-by-frame std (competition site,
    2023-09-15): the official scorer's units.
    """
    trials = -(-trials // mesh.size) * mesh.size
    if isinstance(model, tuple):
        predict = parallel.make_ensemble_predict_step(model, mesh)
    else:
        predict = parallel.make_predict_step(model, mesh)

    def select(params, sessions: Sequence[int]):
        if isinstance(model, tuple):
            return tuple(select_sessions(member, sessions) for member in params)
        return select_sessions(params, sessions)

    units = recordings.statistics(statistics)  # of the model
    official = recordings.statistics("released").response.std  # [S f N]
    data = parallel.replicate((recordings.neurons, units), mesh)

    def predictions(
        params: Params | tuple[Params, ...],
        split: str,
        *,
        window: str = "starter",
        sessions: Sequence[int] | None = None,
        by_clip: bool = False,
    ) -> Iterator[PredictedTrial]:
        cut = frames_cut(window)
        everyone = list(range(len(recordings.session_names)))
        sessions = everyone if sessions is None else list(sessions)
        inputs = data
        if sessions != everyone:
            params = select(params, sessions)
            inputs = jax.tree.map(lambda x: x[np.asarray(sessions)], data)
        plan = {"trials": trials, "rate": recordings.simulated, "sessions": sessions}
        batches = pipeline.eval_batches(recordings, split, **plan, by_clip=by_clip)
        started = (
            (b, predict(params, parallel.shard_batch(b.batch, mesh), *inputs)) for b in batches
        )
        # The device has the next batch to do while this one is looked at.
        for (item, rate), _ in itertools.pairwise(itertools.chain(started, [None])):
            rate = parallel.fetch(rate)  # [S B T' N]
            for at in zip(*np.nonzero(item.index >= 0), strict=True):
                session = sessions[at[0]]
                n = int(recordings.neurons.mask[session].sum())
                std = units.response.std[session, :, :n], official[session, :, :n]
                yield _scored(item, rate[at][:, :n], at=at, session=session, std=std, cut=cut)

    return predictions


def _scored(
    item: pipeline.EvalBatch,
    rate: np.ndarray,  # [T' N] in units of the model
    *,
    at: tuple[int, int],
    session: int,
    std: tuple[np.ndarray, np.ndarray],  # [f N] of the model, of the scorer
    cut: int,  # frames left out at the end
) -> PredictedTrial:
    """Cut one trial to its scored frames, in the official scorer's units."""
    model_std, official = std
    n = rate.shape[1]
    length = int(item.batch.frame_mask[at].sum()) - cut
    warmup = item.batch.response.shape[2] - len(rate)
    if warmup > protocol.SKIP_FRAMES:
        raise UserError(
            f"expected a core that drops at most {protocol.SKIP_FRAMES} frames, since frames after "
            f"that are scored; this one drops {warmup}"
        )
    frames = np.arange(protocol.SKIP_FRAMES, length)
    unit = _at(official, frames)
    rate = rate[frames - warmup]
    prediction = rate * _at(model_std, frames) / unit
    bad = int((~np.isfinite(prediction)).any(0).sum())
    if bad:
        raise Diverged(
            f"expected finite predictions, got NaN or infinite ones for {bad} of {n} neurons: "
            "training diverged or the weights are damaged; lower optimizer.learning_rate"
        )
    truth = None if item.rate is None else item.rate[at][frames, :n] / unit
    response = item.batch.response[at][frames, :n] / unit
    return PredictedTrial(session, int(item.index[at]), response, prediction, rate, truth)


def _at(std: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The std [f N] of given frames [T]: [T N]; pooled ones have f = 1."""
    return std[np.minimum(frames, len(std) - 1)]
