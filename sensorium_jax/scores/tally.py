"""All running sums of one mouse over the trials of a tier."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax.scores.correlation import PREDICTION_MOMENTS, SingleTrialCorrelation
from sensorium_jax.scores.likelihood import PoissonSums
from sensorium_jax.scores.repeats import Repeats
from sensorium_jax.scores.score import CEILING, FLOOR, SINGLE_TRIAL, TO_AVERAGE, DefinedMean, Score
from sensorium_jax.scores.units import OFFICIAL, RAW, UNITS

CONSTANT = 1e-6  # range of a prediction over its largest value, below which it is rounding error
PREDICTION, TRUTH = "prediction", "truth"


class PredictedTrial(NamedTuple):
    """The scored frames of one trial without padded neurons, in the recording's units.

    Attributes:
        session: position in ``session_names``.
        row: of the session's trial table.
        response: [T N], zeros where it is withheld.
        prediction: [T N].
        truth: [T N], the true rate of a simulated mouse; None on recordings.
        released_std: [T N], the official scorer's std of every neuron and frame.
        pooled_std: [N], the std of every neuron over all frames of the train tier.
    """

    session: int
    row: int
    response: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None
    released_std: np.ndarray
    pooled_std: np.ndarray

    def in_units(self, units: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The response, and what is correlated with it by name, in "official" or "raw" units.

        These are the prediction, the true rate of a simulated mouse and, in official units, a
        constant rate (the floor): [T N] each.

        Examples:
            >>> y = np.array([[2.0], [4.0]])
            >>> trial = PredictedTrial(0, 0, y, y, None, np.array([[1.0], [2.0]]), np.array([4.0]))
            >>> response, rates = trial.in_units("official")
            >>> response.ravel().tolist(), rates["floor"].ravel().tolist()
            ([2.0, 2.0], [1.0, 0.5])
            >>> trial.in_units("raw")[0].ravel().tolist()
            [0.5, 1.0]
        """
        std = self.released_std if units == OFFICIAL else self.pooled_std
        rates = {PREDICTION: self.prediction / std}
        if self.truth is not None:
            rates[TRUTH] = self.truth / std
        if units == OFFICIAL:
            rates[FLOOR] = 1 / std
        return self.response / std, rates


class Tally:
    """All running sums of one session over a tier, or over one stimulus family of it.

    Examples:
        >>> trial = PredictedTrial(
        ...     session=0,
        ...     row=0,
        ...     response=np.array([[0.0, 0.0], [1.0, 2.0]]),
        ...     prediction=np.array([[0.0, 1.0], [3.0, 1.0]]),
        ...     truth=None,
        ...     released_std=np.array([[1.0, 2.0], [1.0, 1.0]]),
        ...     pooled_std=np.ones(2),
        ... )
        >>> tally = Tally(trial)
        >>> tally.add("clip", trial, common=2)
        >>> official, raw = tally.scores(session="mouse", tier="oracle", family="all")
        >>> round(raw.single_trial, 6), raw.constant  # the second prediction is constant
        (0.5, 1)
        >>> round(official.single_trial, 6), official.floor  # the floor of the second neuron is 1
        (1.0, 0.5)
    """

    def __init__(self, trial: PredictedTrial):
        self._trials = 0
        self._sums = {units: _Sums(units, *trial.in_units(units)) for units in UNITS}
        self._constant = Constant(trial.response.shape[1])

    def add(self, clip: str, trial: PredictedTrial, *, common: int) -> None:
        """Add a trial; ``common``: number of scored frames that all repeats of its clip have."""
        self._trials += 1
        self._constant.add(trial.prediction)
        for units, sums in self._sums.items():
            sums.add(clip, *trial.in_units(units), common=common)

    def scores(self, *, session: str, tier: str, family: str) -> tuple[Score, Score]:
        """The scores of all trials added, in official and in raw units."""
        names = {"session": session, "tier": tier, "family": family, "trials": self._trials}
        return (
            self._sums[OFFICIAL].score(**names),
            self._sums[RAW].score(constant=self._constant.mask(), **names),
        )


class Constant:
    """Which of N predictions are constant over all trials, up to rounding error.

    Examples:
        >>> constant = Constant(2)
        >>> constant.add(np.array([[1.0, 2.0], [1.0 + 1e-9, 3.0]]))
        >>> constant.mask().tolist()
        [True, False]
    """

    def __init__(self, neurons: int):
        self._low, self._high = np.full(neurons, np.inf), np.full(neurons, -np.inf)

    def add(self, prediction: np.ndarray) -> None:
        """Add a trial's prediction [T N], in the recording's units."""
        self._low = np.minimum(self._low, prediction.min(0))
        self._high = np.maximum(self._high, prediction.max(0))

    def mask(self) -> np.ndarray:
        """Whether each prediction is constant: [N]."""
        return self._high - self._low <= CONSTANT * np.maximum(abs(self._low), abs(self._high))


class _Sums:
    """Running sums in one unit."""

    def __init__(self, units: str, response: np.ndarray, rates: dict[str, np.ndarray]):
        self._units = units
        n = response.shape[1]
        self._meters = {name: (SingleTrialCorrelation(n), Repeats(n)) for name in rates}
        self._poisson = PoissonSums(n)

    def add(
        self, clip: str, response: np.ndarray, rates: dict[str, np.ndarray], *, common: int
    ) -> None:
        if self._units == RAW:
            self._poisson.add(clip, response, rates[PREDICTION])
        for name, rate in rates.items():
            single, repeats = self._meters[name]
            single.add(clip, response, rate)
            repeats.add(clip, response[:common], rate[:common])

    def score(self, *, constant: np.ndarray | None = None, **names) -> Score:
        """The scores; predictions that are ``constant`` [N] count as 0."""
        trials, repeats = self._meters[PREDICTION]
        single, average = trials.correlation(), repeats.to_average()
        constant = single.constant if constant is None else single.constant | constant
        clips = {SINGLE_TRIAL: trials.clip_moments(), TO_AVERAGE: repeats.clip_moments()}
        for moments in clips.values():
            for column in PREDICTION_MOMENTS:
                moments[:, column, constant] = 0
        values = np.where(constant, 0, single.value)
        order = np.argsort(values)
        ceilings, floors = self._values(TRUTH), self._values(FLOOR)
        by_neuron = {
            name: pair[0]
            for name, pair in ((CEILING, ceilings), (FLOOR, floors))
            if pair is not None
        }
        return Score(
            **names,
            units=self._units,
            neurons=len(constant),
            single_trial=float(values.mean()),
            to_average=float(np.where(constant, 0, average.value).mean()),
            single_trial_ceiling=None if ceilings is None else float(ceilings[0].mean()),
            to_average_ceiling=None if ceilings is None else float(ceilings[1].mean()),
            floor=0.0 if floors is None else float(floors[0].mean()),
            to_average_floor=0.0 if floors is None else float(floors[1].mean()),
            constant=int(constant.sum()),
            clips=clips,
            by_neuron=by_neuron | (self._reliability(repeats) if self._units == RAW else {}),
            example=repeats.example([order[-1], order[len(order) // 2], order[0]]),
            defined=self._defined(trials, repeats) if self._units == RAW else {},
        )

    def _values(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Single-trial correlation and correlation to average of a rate: [N] each."""
        if name not in self._meters:
            return None
        trials, repeats = self._meters[name]
        return trials.correlation().value, repeats.to_average().value

    def _reliability(self, repeats: Repeats) -> dict[str, np.ndarray]:
        return {
            "oracle": repeats.oracle().value,
            "oracle_conservative": repeats.oracle_conservative().value,
            "cc_norm": repeats.cc_norm().value,
        }

    def _defined(self, trials: SingleTrialCorrelation, repeats: Repeats) -> dict[str, DefinedMean]:
        scores = {
            "per_trial": trials.per_trial(),
            "to_average_by_clip": repeats.to_average_by_clip(),
            "feve": repeats.feve(),
            "cc_norm": repeats.cc_norm(),
            "oracle": repeats.oracle(),
            "oracle_conservative": repeats.oracle_conservative(),
            "log_likelihood": self._poisson.log_likelihood(),
            "bits": self._poisson.bits(),
        }
        return {name: DefinedMean.from_score(score) for name, score in scores.items()}
