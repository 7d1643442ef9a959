"""All running sums of one mouse over the trials of a tier."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax.scores.correlation import PREDICTION_MOMENTS, SingleTrialCorrelation
from sensorium_jax.scores.likelihood import PoissonSums
from sensorium_jax.scores.repeats import Repeats
from sensorium_jax.scores.score import CEILING, SINGLE_TRIAL, TO_AVERAGE, DefinedMean, Score


class PredictedTrial(NamedTuple):
    """The scored frames of one trial without padded neurons, in the official scorer's units."""

    session: int  # position in ``session_names``
    row: int  # of the session's trial table
    response: np.ndarray  # [T N] zeros where it is withheld
    prediction: np.ndarray  # [T N]
    rate: np.ndarray  # [T N] the prediction in the model's units
    truth: np.ndarray | None  # [T N] the true rate of a simulated mouse; None on recordings


class Tally:
    """All running sums of one session over a tier, or over one stimulus family of it.

    Examples:
        >>> trial = PredictedTrial(
        ...     session=0,
        ...     row=0,
        ...     response=np.array([[0.0, 0.0], [1.0, 2.0]]),
        ...     prediction=np.array([[0.0, 1.0], [3.0, 1.0]]),
        ...     rate=np.array([[0.0, 1.0], [3.0, 1.0]]),
        ...     truth=None,
        ... )
        >>> tally = Tally(trial)
        >>> tally.add("clip", trial, common=2)
        >>> score = tally.score(session="mouse", tier="oracle", family="all")
        >>> round(score.single_trial, 6), score.constant  # the second prediction is constant
        (0.5, 1)
    """

    def __init__(self, trial: PredictedTrial):
        n = trial.response.shape[1]
        sources = ["prediction"] if trial.truth is None else ["prediction", "truth"]
        self.meters = {s: (SingleTrialCorrelation(n), Repeats(n)) for s in sources}
        self.poisson = PoissonSums(n)
        self.trials = 0
        self.low, self.high = np.full(n, np.inf), np.full(n, -np.inf)

    def add(self, clip: str, trial: PredictedTrial, *, common: int) -> None:
        """Add a trial; ``common``: number of scored frames that all repeats of its clip have."""
        self.trials += 1
        self.low = np.minimum(self.low, trial.rate.min(0))
        self.high = np.maximum(self.high, trial.rate.max(0))
        self.poisson.add(clip, trial.response, trial.prediction)
        for source, (single, repeats) in self.meters.items():
            predicted = getattr(trial, source)
            single.add(clip, trial.response, predicted)
            repeats.add(clip, trial.response[:common], predicted[:common])

    def score(self, *, session: str, tier: str, family: str) -> Score:
        """The scores of all trials added."""
        trials, repeats = self.meters["prediction"]
        single, average = trials.correlation(), repeats.to_average()
        # Also count a constant rate, which division by a std that varies over frames would hide.
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
            true_trials, true_repeats = self.meters["truth"]
            by_neuron[CEILING] = true_trials.correlation().value
            single_ceiling = float(by_neuron[CEILING].mean())
            average_ceiling = float(true_repeats.to_average().value.mean())
        clips = {SINGLE_TRIAL: trials.clip_moments(), TO_AVERAGE: repeats.clip_moments()}
        for moments in clips.values():
            for column in PREDICTION_MOMENTS:
                moments[:, column, constant] = 0
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
                "per_trial": DefinedMean.from_score(trials.per_trial()),
                "to_average_by_clip": DefinedMean.from_score(repeats.to_average_by_clip()),
                "feve": DefinedMean.from_score(repeats.feve()),
                "cc_norm": DefinedMean.from_score(cc_norm),
                "oracle": DefinedMean.from_score(oracle),
                "oracle_conservative": DefinedMean.from_score(conservative),
                "log_likelihood": DefinedMean.from_score(self.poisson.log_likelihood()),
                "bits": DefinedMean.from_score(self.poisson.bits()),
            },
        )
