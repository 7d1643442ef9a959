"""``evaluate(params, split) -> Report``: the benchmark's scores, trial by trial."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from sensorium_jax import parallel, protocol
from sensorium_jax.data import pipeline
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import OF_PREDICTION, PoissonSums, Repeats, SingleTrialCorrelation
from sensorium_jax.model import Model, of_sessions
from sensorium_jax.report import ALL, CEILING, SINGLE_TRIAL, TO_AVERAGE, Partial, Report, Score
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

    def add(self, clip: str, trial: PredictedTrial, *, common: int) -> None:
        """Add a trial of a clip of which all repeats have ``common`` frames."""
        self.trials += 1
        self.low = np.minimum(self.low, trial.rate.min(0))
        self.high = np.maximum(self.high, trial.rate.max(0))
        self.poisson.add(clip, trial.response, trial.prediction)
        for source, (single, repeats) in self.meters.items():
            predicted = getattr(trial, source)
            single.add(clip, trial.response, predicted)
            repeats.add(clip, trial.response[:common], predicted[:common])

    def score(self, *, session: str, tier: str, family: str) -> Score:
        trials, repeats = self.meters["prediction"]
        single, average = trials.correlation(), repeats.to_average()
        # A silent neuron stays one when its rate is divided by a std that differs between frames.
        constant = single.constant | (self.low >= self.high)
        oracle, conservative = repeats.oracle(), repeats.oracle_conservative()
        cc_norm = repeats.cc_norm()
        by_neuron = {
            "oracle": oracle.value,
            "oracle_conservative": conservative.value,
            "cc_norm": cc_norm.value,
        }
        single_ceiling = average_ceiling = None
        if "truth" in self.meters:
            of_trials, of_repeats = self.meters["truth"]
            by_neuron[CEILING] = of_trials.correlation().value
            single_ceiling = float(by_neuron[CEILING].mean())
            average_ceiling = float(of_repeats.to_average().value.mean())
        clips = {SINGLE_TRIAL: trials.clip_moments(), TO_AVERAGE: repeats.clip_moments()}
        for moments in clips.values():
            for of_prediction in OF_PREDICTION:
                moments[:, of_prediction, constant] = 0
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
            by_neuron=by_neuron,
            example=repeats.example([order[-1], order[len(order) // 2], order[0]]),
            defined={
                "per_trial": Partial.of(trials.per_trial()),
                "to_average_by_clip": Partial.of(repeats.to_average_by_clip()),
                "feve": Partial.of(repeats.feve()),
                "cc_norm": Partial.of(cc_norm),
                "oracle": Partial.of(oracle),
                "oracle_conservative": Partial.of(conservative),
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
) -> Predictions:
    """Build ``predictions(params, split, *, window="starter", sessions=None, by_clip=False)``.

    Args:
        model: what to evaluate; of several, the mean rate, and ``params`` is a tuple too.
        recordings: the sessions, in the order of the model's readouts.
        mesh: devices to predict on. In several processes all get all predictions.
        statistics: the kind that the model was trained with.
        trials: full-length trials of every session predicted at a time, rounded up to a multiple
            of the number of devices.

    ``predictions`` yields the scored frames of every trial of a tier, in the official scorer's
    units: responses and predictions over the released frame-by-frame std (competition site,
    2023-09-15). The ``window`` "starter" has frames 50 to 299, "winners" 50 to 298
    (``protocol.WINDOWS``). ``sessions`` are some by position, predicted together; all by default.
    Trials come by file number, or with ``by_clip`` the repeats of each clip one after the other. It
    raises ``UserError`` for a split or window that does not exist and for predictions that are not
    finite.
    """
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

    def predictions(
        params: Params | tuple[Params, ...],
        split: str,
        *,
        window: str = "starter",
        sessions: Sequence[int] | None = None,
        by_clip: bool = False,
    ) -> Iterator[PredictedTrial]:
        cut = frames_cut(window)
        everyone = range(len(recordings.session_names))
        sessions = list(everyone if sessions is None else sessions)
        here = data
        if sessions != list(everyone):
            params = params_of(params, sessions)
            here = jax.tree.map(lambda x: x[np.asarray(sessions)], data)
        plan = {"trials": trials, "rate": recordings.simulated, "sessions": sessions}
        batches = pipeline.eval_batches(recordings, split, **plan, by_clip=by_clip)
        begun = ((b, predict(params, parallel.shard_batch(b.batch, mesh), *here)) for b in batches)
        # The device has the next batch to do while this one is looked at.
        for (item, rate), _ in itertools.pairwise(itertools.chain(begun, [None])):
            rate = parallel.fetch(rate)  # [S B T' N]
            for at in zip(*np.nonzero(item.index >= 0), strict=True):
                session = sessions[at[0]]
                n = int(recordings.neurons.mask[session].sum())
                units = own.response.std[session, :, :n], official[session, :, :n]
                yield _scored(item, rate[at][:, :n], at=at, session=session, units=units, cut=cut)

    return predictions


def make_evaluate(
    model: Model | tuple[Model, ...],
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    statistics: str = "released",
    trials: int = 4,
) -> Evaluate:
    """Build ``evaluate(params, split, *, window="starter") -> Report``; arguments as above.

    ``evaluate`` scores what ``predictions`` yields of the mice whose responses are public. Beside
    the score of the model stands that of the true rate, where the mice are simulated. A keyword
    ``on_trials``, a function of their number, is told of progress. It raises ``UserError`` as
    ``predictions`` does, and for a tier that has no trials, or whose responses are all withheld.
    """
    predictions = make_predictions(
        model, recordings, mesh=mesh, statistics=statistics, trials=trials
    )

    def evaluate(
        params: Params | tuple[Params, ...],
        split: str,
        *,
        window: str = "starter",
        on_trials: Callable[[int], None] = lambda n: None,
    ) -> Report:
        cut = frames_cut(window)
        public, withheld = _public(recordings, split)
        common = {s: _common_frames(recordings, s, rows, cut) for s, rows in public.items()}
        families = {str(f) for s, rows in public.items() for f in recordings.trials(s).family[rows]}
        tallies: dict[tuple[int, str], _Tally] = {}
        for trial in predictions(params, split, window=window, sessions=list(public), by_clip=True):
            on_trials(1)
            table, s = recordings.trials(trial.session), trial.session
            if not table.labelled[trial.row]:
                continue
            clip = str(table.clip[trial.row])
            # A natural tier has one family: the row of the whole says all.
            whole = [ALL] if families == {protocol.NATURAL} else [ALL, str(table.family[trial.row])]
            for family in whole:
                if (s, family) not in tallies:
                    tallies[s, family] = _Tally(trial)
                tallies[s, family].add(clip, trial, common=common[s][clip])
        names = recordings.session_names
        return Report(
            tuple(
                tallies[s, family].score(session=names[s], tier=split, family=family)
                for family in (ALL, *sorted(families))
                for s in range(len(names))
                if (s, family) in tallies
            ),
            tuple(f"{split}: {names[s]}" for s in withheld),
        )

    return evaluate


def frames_cut(window: str) -> int:
    """How many frames a window of scored frames leaves out at the end of every trial.

    Raises:
        UserError: no such window.
    """
    if window not in protocol.WINDOWS:
        raise UserError(f"expected a window of {', '.join(protocol.WINDOWS)}, got {window!r}")
    return protocol.WINDOWS[window]


def _public(
    recordings: pipeline.Recordings, split: str
) -> tuple[dict[int, np.ndarray], tuple[int, ...]]:
    """Sessions with public responses of a tier and their rows; sessions that have withheld ones."""
    rows = {s: recordings.rows(s, split) for s in range(len(recordings.session_names))}
    if not any(map(len, rows.values())):
        raise UserError(
            f"expected trials of {split} in {recordings.store.path}, found none; score another tier"
        )
    labelled = {s: recordings.trials(s).labelled[r] for s, r in rows.items()}
    public = {s: r[labelled[s]] for s, r in rows.items() if labelled[s].any()}
    if not public:
        raise UserError(
            f"responses of {split} are withheld: make a submission (python -m "
            f"sensorium_jax.submission write RUN --out FOLDER), or score {protocol.ORACLE}"
        )
    return public, tuple(s for s in rows if not labelled[s].all())


def _common_frames(
    recordings: pipeline.Recordings, session: int, rows: np.ndarray, cut: int
) -> dict[str, int]:
    """How many scored frames all repeats of each clip have; flashed images differ by a few."""
    table = recordings.trials(session)
    frames = np.minimum(table.frames[rows], protocol.CLIP_FRAMES)
    frames = frames - protocol.SKIP_FRAMES - cut
    shortest: dict[str, int] = {}
    for clip, n in zip(table.clip[rows], frames, strict=True):
        shortest[str(clip)] = min(int(n), shortest.get(str(clip), int(n)))
    return shortest


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
    bad = int((~np.isfinite(prediction)).any(0).sum())
    if bad:
        raise UserError(
            f"expected finite predictions, got NaN or infinite ones for {bad} of {n} neurons: "
            "training diverged or the weights are damaged; lower optimizer.learning_rate"
        )
    truth = None if item.rate is None else item.rate[at][frames, :n] / unit
    response = item.batch.response[at][frames, :n] / unit
    return PredictedTrial(session, int(item.index[at]), response, prediction, rate, truth)


def _at(std: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The std [f N] of given frames [T]: [T N]; pooled ones have f = 1."""
    return std[np.minimum(frames, len(std) - 1)]
