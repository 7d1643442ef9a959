"""Predictions of all trials of a tier, in the recording's units.

    prediction = rate * std

for each neuron and frame, of the model's rate in units of the std that it was trained with.
"""

from __future__ import annotations

import itertools
import weakref
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
from sensorium_jax.types import Neurons, Params, Statistics


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
        model: the model; for a tuple of models, their mean rate is scored, and ``params`` is a
            tuple too.
        recordings: the sessions, in the order of the weights' session axis.
        mesh: devices to predict on. With several processes, each gets all predictions.
        statistics: kind of the statistics that the model was trained with.
        trials: full-length trials of every session in a batch, rounded up to a multiple of the
            number of devices.
    """
    options = {"mesh": mesh, "statistics": statistics, "trials": trials}
    return scores.make_evaluate(make_predictions(model, recordings, **options), recordings)


def place_recordings(
    recordings: Recordings, statistics: str, mesh: Mesh
) -> tuple[Neurons, Statistics]:
    """Neurons and statistics of recordings, replicated on every device of a mesh.

    They are copied to the devices once, and freed with the recordings.
    """
    copies = _DEVICE_COPIES.setdefault(recordings, {})
    if (statistics, mesh) not in copies:
        arrays = recordings.neurons, recordings.statistics(statistics)
        copies[statistics, mesh] = parallel.replicate(arrays, mesh)
    return copies[statistics, mesh]


_DEVICE_COPIES: weakref.WeakKeyDictionary[Recordings, dict] = weakref.WeakKeyDictionary()


def make_predictions(
    model: Model | tuple[Model, ...],
    recordings: Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
) -> Predictions:
    """Build ``predictions(params, split)`` (``Predictions``); arguments as for ``make_evaluate``.

    Responses and predictions are divided by the released std of each neuron and frame (competition
    site, 2023-09-15): the official scorer's units.
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

    model_statistics = recordings.statistics(statistics)
    released, pooled = (recordings.statistics(k).response.std for k in ("released", "pooled"))
    data = place_recordings(recordings, statistics, mesh)

    def predictions(
        params: Params | tuple[Params, ...],
        split: str,
        *,
        window: str = "starter",
        sessions: Sequence[int] | None = None,
        by_clip: bool = False,
    ) -> Iterator[PredictedTrial]:
        cut = frames_cut(window)
        all_sessions = list(range(len(recordings.session_names)))
        sessions = all_sessions if sessions is None else list(sessions)
        neurons, moments = data
        if sessions != all_sessions:
            params = select(params, sessions)
            neurons, moments = jax.tree.map(lambda x: x[np.asarray(sessions)], data)
        options = {"trials": trials, "rate": recordings.simulated, "sessions": sessions}
        batches = pipeline.eval_batches(recordings, split, **options, by_clip=by_clip)
        pending = (
            (b, predict(params, parallel.shard_batch(b.batch, mesh), neurons, moments))
            for b in batches
        )
        # The device predicts the next batch while the host cuts this one into trials.
        for current, _ in itertools.pairwise(itertools.chain(pending, [None])):
            assert current is not None, "None is the last, and in no first place of a pair"
            item, rate = current[0], parallel.fetch(current[1])  # [S B T' N]
            for entry in zip(*np.nonzero(item.index >= 0), strict=True):
                session = sessions[entry[0]]
                n = int(recordings.neurons.mask[session].sum())
                std = (x[session, :, :n] for x in (model_statistics.response.std, released, pooled))
                options = {"entry": entry, "session": session, "cut": cut}
                yield _cut_trial(item, rate[entry][:, :n], *std, **options)

    return predictions


def _cut_trial(
    item: pipeline.EvalBatch,
    rate: np.ndarray,  # [T' N] in units of the model
    model_std: np.ndarray,  # [f N] each
    released_std: np.ndarray,
    pooled_std: np.ndarray,
    *,
    entry: tuple[int, int],  # position of the trial in the batch [S B]
    session: int,
    cut: int,  # frames left out at the end
) -> PredictedTrial:
    """One trial of a batch, cut to its scored frames."""
    n = rate.shape[1]
    length = int(item.batch.frame_mask[entry].sum()) - cut
    warmup = item.batch.response.shape[2] - len(rate)
    if warmup > protocol.SKIP_FRAMES:
        raise UserError(
            f"expected a core that drops at most {protocol.SKIP_FRAMES} frames, since frames after "
            f"that are scored; this one drops {warmup}"
        )
    frames = np.arange(protocol.SKIP_FRAMES, length)
    prediction = rate[frames - warmup] * _frame_std(model_std, frames)
    bad = int((~np.isfinite(prediction)).any(0).sum())
    if bad:
        raise Diverged(
            f"expected finite predictions, got NaN or infinite ones for {bad} of {n} neurons: "
            "training diverged or the weights are damaged; lower optimizer.learning_rate"
        )
    return PredictedTrial(
        session,
        int(item.index[entry]),
        response=item.batch.response[entry][frames, :n],
        prediction=prediction,
        truth=None if item.rate is None else item.rate[entry][frames, :n],
        released_std=_frame_std(released_std, frames),
        pooled_std=pooled_std[0],
    )


def _frame_std(std: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The std [f N] at frames [T]: [T N]; pooled statistics have f = 1."""
    return std[np.minimum(frames, len(std) - 1)]
