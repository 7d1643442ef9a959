"""Pearson correlations, from sums that are updated trial by trial: no tier is held in memory.

    r = sum (y - <y>)(p - <p>) / sqrt(sum (y - <y>)^2  sum (p - <p>)^2)

of responses y and predictions p over frames. All arithmetic is float64 on the host. A neuron whose
response or prediction is constant has no correlation: it scores 0, as in the starter kit, and is
counted. One with a NaN or infinite number among its responses or predictions scores NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

OF_RESPONSE, OF_PREDICTION = (1, 3), (2, 4, 5)  # among the six moments of ``about``
TINY = 1e-12  # below it, a variance is rounding


class Correlation(NamedTuple):
    """Pearson correlations of neurons.

    ``value`` [N], NaN where not all numbers are finite; ``constant`` [N], True where the prediction
    or the response never changed: there the value is 0.
    """

    value: np.ndarray
    constant: np.ndarray


class CorrelationSums:
    """Running moments of responses and predictions of N neurons, over everything added so far.

    Trials are merged with the update of Chan, Golub & LeVeque (1979), which does not lose digits
    to large means as raw sums of squares do.
    """

    def __init__(self, neurons: int):
        self.count = 0
        self.mean = np.zeros((2, neurons))  # response, prediction
        self._square = np.zeros((2, neurons))  # sums of squared deviations from the mean
        self._cross = np.zeros(neurons)
        self._low = np.full((2, neurons), np.inf)
        self._high = np.full((2, neurons), -np.inf)

    def add(self, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add frames: response and prediction [T N]."""
        self.merge(self.of(response, prediction))

    @classmethod
    def of(cls, response: np.ndarray, prediction: np.ndarray) -> CorrelationSums:
        """The moments of these frames alone: response and prediction [T N]."""
        x = np.stack([response, prediction]).astype(np.float64)  # [2 T N]
        new = cls(x.shape[2])
        if not x.shape[1]:
            return new
        new.count = x.shape[1]
        new.mean = x.mean(1)
        deviation = x - new.mean[:, None]
        new._square = (deviation**2).sum(1)
        new._cross = (deviation[0] * deviation[1]).sum(0)
        new._low, new._high = x.min(1), x.max(1)
        return new

    def merge(self, other: CorrelationSums) -> None:
        """Add the frames of others."""
        if not other.count:
            return
        apart = other.mean - self.mean
        weight = self.count * other.count / (self.count + other.count)
        self._square += other._square + apart**2 * weight
        self._cross += other._cross + apart[0] * apart[1] * weight
        self.mean = self.mean + apart * other.count / (self.count + other.count)
        self.count += other.count
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)

    def about(self, centre: np.ndarray) -> np.ndarray:
        """Raw moments about a centre [2 N], which ``correlate`` takes: [6 N].

        Sums over frames of 1, y, p, y^2, p^2 and y p, of response y and prediction p.
        """
        apart = self.mean - centre
        square = self._square + self.count * apart**2
        cross = self._cross + self.count * apart[0] * apart[1]
        count = np.full(len(cross), float(self.count))
        return np.stack([count, *(self.count * apart), *square, cross])

    def correlation(self) -> Correlation:
        """Pearson r of every neuron over all frames added."""
        constant = (self._low >= self._high).any(0)
        norm = np.sqrt(self._square[0] * self._square[1])
        return Correlation(_ratio(self._cross, norm, where=~constant & (norm > 0)), constant)


class ByClip:
    """Moments of each clip by itself, so that clips can be drawn again (``intervals``)."""

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clips: dict[str, CorrelationSums] = {}

    def add(self, clip: str, sums: CorrelationSums) -> None:
        """Add frames of a clip."""
        self._clips.setdefault(clip, CorrelationSums(self._neurons)).merge(sums)

    def total(self) -> CorrelationSums:
        """The moments over all clips."""
        total = CorrelationSums(self._neurons)
        for clip in self._clips.values():
            total.merge(clip)
        return total

    def moments(self) -> np.ndarray:
        """About the neurons' means, clips in order of names: [K 6 N]."""
        centre = self.total().mean
        return np.stack([self._clips[clip].about(centre) for clip in sorted(self._clips)])


class SingleTrialCorrelation:
    """The benchmark's primary score (starter kit, ``utility/scores.py``).

    Per neuron, Pearson r between responses and predictions of all trials joined along time.
    """

    def __init__(self, neurons: int):
        self._clips = ByClip(neurons)
        self._per_trial = np.zeros((2, neurons))  # sum of trials' correlations, their number

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        trial = CorrelationSums.of(response, prediction)
        value, constant = trial.correlation()
        self._per_trial += np.where(constant, 0, value), ~constant
        self._clips.add(clip, trial)

    def correlation(self) -> Correlation:
        """[N] over all trials added."""
        return self._clips.total().correlation()

    def per_trial(self) -> Defined:
        """Pearson r within each trial, mean over those in which it exists.

        ``single_trial_correlation`` in bryanlimy/ViV1T-closed-loop. Higher or lower than the
        benchmark's score: differences between trials do not count.
        """
        return divide_defined(*self._per_trial, above=0)

    def clip_moments(self) -> np.ndarray:
        """Moments of each clip about the neurons' means, clips in order of names: [K 6 N]."""
        return self._clips.moments()


def correlate(moments: np.ndarray) -> np.ndarray:
    """Pearson r from raw moments [... 6 N] (``CorrelationSums.about``): [... N].

    0 where the prediction or the response is constant, NaN where not all numbers are finite.
    """
    count, y, p, yy, pp, yp = np.moveaxis(moments, -2, 0)
    norm = np.sqrt(np.maximum(yy - y**2 / count, 0) * np.maximum(pp - p**2 / count, 0))
    return _ratio(yp - y * p / count, norm, where=norm > TINY * count)


def _ratio(x: np.ndarray, norm: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """A correlation: 0 where it does not exist, NaN where its norm is no number."""
    return np.divide(x, norm, out=np.where(np.isnan(norm), np.nan, 0.0), where=where)


class Defined(NamedTuple):
    """A score of neurons that may not exist.

    ``value`` [N], NaN where it does not; ``defined`` [N].
    """

    value: np.ndarray
    defined: np.ndarray

    def mean(self) -> float | None:
        """Over the neurons that have one; None if there is none."""
        return float(self.value[self.defined].mean()) if self.defined.any() else None


def divide_defined(x: np.ndarray, y: np.ndarray, *, above: float) -> Defined:
    """x / y [N], defined where y is above a number and x is finite."""
    defined = (y > above) & np.isfinite(x)
    return Defined(np.divide(x, y, out=np.full(len(y), np.nan), where=defined), defined)
