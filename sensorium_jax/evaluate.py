"""``evaluate(params, split) -> Report``: the benchmark's scores, trial by trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from sensorium_jax import parallel, protocol
from sensorium_jax.data import pipeline
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import PoissonSums, Repeats, SingleTrialCorrelation
from sensorium_jax.model import Model, of_sessions
from sensorium_jax.report import ALL, Partial, Report, Score
from sensorium_jax.types import Params

Evaluate = Callable[..., Report]


class PredictedTrial(NamedTuple):
    """The scored frames of one trial, real neurons only, in the official scorer's units."""

    session: int  # by position
    row: int  # of the session's trial table
    response: np.ndarray  # [T N] zeros where it is withheld
    prediction: np.ndarray  # [T N]
    rate: np.ndarray  # [T N] the prediction in the model's own units
    truth: np.ndarray | None  # [T N] the true rate of a simulated mouse


Predictions = Callable[..., Iterator[PredictedTrial]]


class _Tally:
    """What is summed for one session over a tier, or over one stimulus family of it."""

    def __init__(self, trial: PredictedTrial):
        n = trial.response.shape[1]
        sources = ["prediction"] if trial.truth is None else ["prediction", "truth"]
        self.meters = {s: (SingleTrialCorrelation(n), Repeats(n)) for s in sources}
        self.poisson = PoissonSums(n)
        self.trials = 0
        self.low, self.high = np.full(n, np.inf), np.full(n, -np.inf)

    def add(self, clip: str, trial: PredictedTrial) -> None:
        self.trials += 1
        self.low = np.minimum(self.low, trial.rate.min(0))
        self.high = np.maximum(self.high, trial.rate.max(0))
        self.poisson.add(clip, trial.response, trial.prediction)
        for source, meters in self.meters.items():
            for meter in meters:
                meter.add(clip, trial.response, getattr(trial, source))

    def score(self, *, session: str, tier: str, family: str) -> Score:
        trials, repeats = self.meters["prediction"]
        single, average = trials.correlation(), repeats.to_average()
        # A silent neuron stays one when its rate is divided by a std that differs between frames.
        constant = single.constant | (self.low >= self.high)
        single_ceiling = average_ceiling = ceilings = None
        if "truth" in self.meters:
            of_trials, of_repeats = self.meters["truth"]
            ceilings = of_trials.correlation().value
            single_ceiling = float(ceilings.mean())
            average_ceiling = float(of_repeats.to_average().value.mean())
        clips = trials.clip_moments()
        clips[:, 1:, constant] = 0
        order = np.argsort(np.where(constant, 0, single.value))
        return Score(
            session=session,
            tier=tier,
            family=family,
            trials=self.trials,
            neurons=len(constant),
            single_trial=float(np.where(constant, 0, single.value).mean()),
            to_average=float(np.where(constant, 0, average.value).mean()),
            single_trial_ceiling=single_ceiling,
            to_average_ceiling=average_ceiling,
            constant=int(constant.sum()),
            clips=clips,
            reliability=repeats.oracle().value,
            ceilings=ceilings,
            example=repeats.example([order[-1], order[len(order) // 2], order[0]]),
            defined={
                "per_trial": Partial.of(trials.per_trial()),
                "to_average_by_clip": Partial.of(repeats.to_average_by_clip()),
                "feve": Partial.of(repeats.feve()),
                "cc_norm": Partial.of(repeats.cc_norm()),
                "oracle": Partial.of(repeats.oracle()),
                "oracle_conservative": Partial.of(repeats.oracle_conservative()),
                "log_likelihood": Partial.of(self.poisson.log_likelihood()),
                "bits": Partial.of(self.poisson.bits()),
            },
        )


def make_predictions(
    model: Model | tuple[Model, ...],
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
    window: str = "starter",
) -> Predictions:
    """Build ``predictions(params, split, *, sessions=None) -> Iterator[PredictedTrial]``.

    Args:
        model: what to evaluate; of several, the mean rate, and ``params`` is a tuple too.
        recordings: the sessions, in the order of the model's readouts.
        mesh: devices to predict on. In several processes all get all predictions.
        statistics: the kind that the model was trained with.
        trials: full-length trials of every session predicted at a time, rounded up to a multiple
            of the number of devices.
        window: "starter" scores frames 50 to 299, "winners" 50 to 298 (``protocol.WINDOWS``).

    ``predictions`` yields these frames of every trial of a tier, in the official scorer's
    units: responses and predictions over the released frame-by-frame std (competition site,
    2023-09-15). ``sessions``, some by position, come one after the other; all together by default.
    It raises ``UserError`` for a split that does not exist and for NaN predictions.
    """
    if window not in protocol.WINDOWS:
        raise UserError(f"expected a window of {', '.join(protocol.WINDOWS)}, got {window!r}")
    cut = protocol.WINDOWS[window]
    trials = -(-trials // mesh.size) * mesh.size
    if isinstance(model, tuple):
        predict = parallel.make_ensemble_predict_step(model, mesh)
    else:
        predict = parallel.make_predict_step(model, mesh)

    def params_of(params, sessions: Sequence[int]):
        if isinstance(model, tuple):
            return tuple(of_sessions(member, sessions) for member in params)
        return of_sessions(params, sessions)

    own = recordings.statistics(statistics)
    official = recordings.statistics("released").response.std  # [S f N]
    data = parallel.replicate((recordings.neurons, own), mesh)

    def together(params, split: str, sessions: Sequence[int]) -> Iterator[PredictedTrial]:
        whole = len(sessions) == len(recordings.session_names)
        here = data if whole else jax.tree.map(lambda x: x[np.asarray(sessions)], data)
        for item in pipeline.eval_batches(
            recordings, split, trials=trials, rate=recordings.simulated, sessions=sessions
        ):
            batch = parallel.shard_batch(item.batch, mesh)
            rate = parallel.fetch(predict(params, batch, *here))  # [S B T' N]
            for at in zip(*np.nonzero(item.index >= 0), strict=True):
                session = sessions[at[0]]
                n = int(recordings.neurons.mask[session].sum())
                units = own.response.std[session, :, :n], official[session, :, :n]
                yield _scored(item, rate[at][:, :n], at=at, session=session, units=units, cut=cut)

    def predictions(
        params: Params | tuple[Params, ...], split: str, *, sessions: Sequence[int] | None = None
    ) -> Iterator[PredictedTrial]:
        if sessions is None:
            yield from together(params, split, range(len(recordings.session_names)))
            return
        for session in sessions:
            yield from together(params_of(params, [session]), split, [session])

    return predictions


def make_evaluate(
    model: Model | tuple[Model, ...],
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
    window: str = "starter",
) -> Evaluate:
    """Build ``evaluate(params, split, *, on_trials=None) -> Report``; arguments as above.

    ``evaluate`` scores what ``make_predictions`` yields of a tier whose responses are public.
    Beside the score of the model stands that of the true rate, where the mice are simulated.
    ``on_trials(n)`` is told of progress. It raises ``UserError`` as ``predictions`` does, and for a
    tier whose responses are all withheld.
    """
    predictions = make_predictions(
        model, recordings, mesh=mesh, statistics=statistics, trials=trials, window=window
    )

    def evaluate(
        params: Params | tuple[Params, ...],
        split: str,
        *,
        on_trials: Callable[[int], None] = lambda n: None,
    ) -> Report:
        tallies: dict[tuple[int, str], _Tally] = {}
        withheld: set[int] = set()
        for trial in predictions(params, split):
            on_trials(1)
            table = recordings.trials(trial.session)
            if not table.labelled[trial.row]:
                withheld.add(trial.session)
                continue
            for family in (ALL, str(table.family[trial.row])):
                tally = tallies.setdefault((trial.session, family), _Tally(trial))
                tally.add(str(table.clip[trial.row]), trial)
        return _report(split, tallies, withheld, recordings.session_names)

    return evaluate


def _scored(
    item: pipeline.EvalBatch,
    rate: np.ndarray,  # [T' N] in units of the model
    *,
    at: tuple[int, int],
    session: int,
    units: tuple[np.ndarray, np.ndarray],  # [f N] std of the model, of the scorer
    cut: int,  # frames left out at the end
) -> PredictedTrial:
    """Cut one trial to its scored frames, in the official scorer's units."""
    own, official = units
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
    prediction = rate * _at(own, frames) / unit
    if np.isnan(prediction).any():
        raise UserError(
            "expected numbers as predictions, got NaN: training diverged or the weights are "
            "damaged; lower optimizer.learning_rate"
        )
    truth = None if item.rate is None else item.rate[at][frames, :n] / unit
    response = item.batch.response[at][frames, :n] / unit
    return PredictedTrial(session, int(item.index[at]), response, prediction, rate, truth)


def _at(std: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The std [f N] of given frames [T]: [T N]; pooled ones have f = 1."""
    return std[np.minimum(frames, len(std) - 1)]


def _report(
    split: str,
    tallies: dict[tuple[int, str], _Tally],
    withheld: set[int],
    names: Sequence[str],
) -> Report:
    if not tallies:
        raise UserError(
            f"responses of {split} are withheld in every session, so there is nothing to score; "
            f"the public tier is {protocol.ORACLE}"
        )
    families = sorted({family for _, family in tallies} - {ALL})
    # A tier of one family would say the same twice.
    shown = [ALL] if families == [protocol.NATURAL] else [ALL, *families]
    return Report(
        tuple(
            tallies[session, family].score(session=names[session], tier=split, family=family)
            for family in shown
            for session in range(len(names))
            if (session, family) in tallies
        ),
        tuple(f"{split}: {names[s]}" for s in sorted(withheld)),
    )
