"""Scores of one mouse on one tier."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError, hint
from sensorium_jax.scores.correlation import Defined, correlate
from sensorium_jax.scores.repeats import Example
from sensorium_jax.scores.units import RAW

ALL = "all"  # the family of a score over all trials of a tier
SINGLE_TRIAL, TO_AVERAGE = "single_trial", "to_average"
CEILING, AVERAGE_CEILING = "single_trial_ceiling", "to_average_ceiling"
FLOOR, AVERAGE_FLOOR = "floor", "to_average_floor"
INTERVAL_SCORES = SINGLE_TRIAL, TO_AVERAGE  # scores with an interval
DEFINED_SCORES = (  # scores that are not defined for every neuron, and exist in raw units only
    "to_average_by_clip",
    "cc_norm",
    "feve",
    "oracle",
    "oracle_conservative",
    "per_trial",
    "log_likelihood",
    "bits",
)
ALL_NEURONS = SINGLE_TRIAL, TO_AVERAGE, CEILING, AVERAGE_CEILING, FLOOR, AVERAGE_FLOOR
SCORES = *ALL_NEURONS, *DEFINED_SCORES


class DefinedMean(NamedTuple):
    """The mean of a score over the neurons for which it is defined, and the number of these.

    ``mean`` is None if there is no such neuron.

    Examples:
        >>> score = Defined(np.array([0.25, np.nan, 0.75]), np.array([True, False, True]))
        >>> DefinedMean.from_score(score)
        DefinedMean(mean=0.5, neurons=2)
    """

    mean: float | None = None
    neurons: int = 0

    @classmethod
    def from_score(cls, score: Defined) -> DefinedMean:
        """The mean over the neurons of one session."""
        return cls(score.mean(), int(score.defined.sum()))


@dataclasses.dataclass(frozen=True)
class Score:
    """Scores of one session on one tier, or on one stimulus family of it, in one unit.

    Attributes:
        session: session name.
        tier: tier name.
        family: stimulus family, or "all".
        trials: number of trials scored.
        neurons: number of neurons.
        single_trial: mean over neurons of the single-trial correlation.
        to_average: mean over neurons of the correlation to average.
        single_trial_ceiling: single-trial correlation of the true rate of a simulated mouse; None
            on recordings.
        to_average_ceiling: correlation to average of the true rate; None on recordings.
        constant: number of neurons whose prediction or response is constant; each counts as 0. In
            official units a constant rate is not constant, and scores the floor.
        defined: scores that are not defined for every neuron, by name (``DEFINED_SCORES``).
        clips: for "single_trial" and "to_average", raw moments [K 6 N] of each clip, from which
            intervals are computed (``intervals``).
        example: traces of the best, the median and the worst neuron on one clip.
        by_neuron: scores [N] of every neuron, NaN where undefined: "oracle" (jackknife),
            "oracle_conservative" and "cc_norm" in raw units, "floor" in official ones and, for
            simulated mice, "single_trial_ceiling".
        units: "raw" or "official" (``scores.units``).
        floor: single-trial correlation of each neuron's mean rate; 0 in raw units.
        to_average_floor: correlation to average of each neuron's mean rate; 0 in raw units.

    Examples:
        >>> score = Score(
        ...     "mouse",
        ...     "oracle",
        ...     "all",
        ...     trials=60,
        ...     neurons=2,
        ...     single_trial=0.3,
        ...     to_average=0.5,
        ...     single_trial_ceiling=None,
        ...     to_average_ceiling=None,
        ...     constant=0,
        ... )
        >>> score.mean("to_average")
        DefinedMean(mean=0.5, neurons=2)
        >>> score.mean("cc_norm")
        DefinedMean(mean=None, neurons=0)
    """

    session: str
    tier: str
    family: str
    trials: int
    neurons: int
    single_trial: float
    to_average: float
    single_trial_ceiling: float | None
    to_average_ceiling: float | None
    constant: int
    defined: dict[str, DefinedMean] = dataclasses.field(default_factory=dict)
    clips: dict[str, np.ndarray] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    example: Example | None = dataclasses.field(default=None, repr=False, compare=False)
    by_neuron: dict[str, np.ndarray] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    units: str = RAW
    floor: float = 0.0
    to_average_floor: float = 0.0

    def values(self) -> np.ndarray:
        """Single-trial correlation of each neuron: [N]."""
        return correlate(self.clips[SINGLE_TRIAL].sum(0))

    def mean(self, field: str) -> DefinedMean:
        """A score by name: its mean over neurons, and the number of neurons in the mean.

        Raises:
            UserError: no such score.
        """
        if field not in SCORES:
            raise UserError(f"no score {field!r}; {hint(field, SCORES)}")
        if field in DEFINED_SCORES:
            return self.defined.get(field, DefinedMean())
        return DefinedMean(getattr(self, field), self.neurons)

    def to_json(self) -> dict:
        """The score as plain values, without arrays."""
        values = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("defined", "clips", "example", "by_neuron")
        }
        for name, (mean, neurons) in self.defined.items():
            values |= {name: mean, f"{name}_neurons": neurons}
        return values
