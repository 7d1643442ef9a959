"""Pearson correlations, from sums that are updated trial by trial: no tier is held in memory.

    r = sum (y - <y>)(p - <p>) / sqrt(sum (y - <y>)^2  sum (p - <p>)^2)

for responses y and predictions p, summed over frames; <> is the mean over frames. All arithmetic is
float64 on the host. A neuron whose response or prediction is constant has no correlation: it scores
0, as in the starter kit, and is counted. A neuron with a NaN or infinite response or prediction
scores NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Indices among the six moments of ``CorrelationSums.about``.
RESPONSE_MOMENTS, PREDICTION_MOMENTS = (1, 3), (2, 4, 5)
TINY = 1e-12  # a smaller variance is rounding error


class Correlation(NamedTuple):
    """Pearson correlations of N neurons.

    Attributes:
        value: [N], NaN where a response or prediction is not finite.
        constant: [N], True where the prediction or the response is constant: the value is 0.
    """

    value: np.ndarray
    constant: np.ndarray


class CorrelationSums:
    """Running moments of the responses and predictions of N neurons, over all frames added.

    Trials are merged with the update of Chan, Golub & LeVeque (1979), which does not lose digits
    to large means as raw sums of squares do.

    Examples:
        >>> sums = CorrelationSums(neurons=1)
        >>> sums.add(response=np.array([[0.0], [1.0]]), prediction=np.array([[1.0], [3.0]]))
        >>> sums.add(response=np.array([[2.0]]), prediction=np.array([[5.0]]))
        >>> sums.count, sums.mean.tolist()
        (3, [[1.0], [3.0]])
        >>> round(float(sums.correlation().value[0]), 6)
        1.0
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
        self.merge(self.from_frames(response, prediction))

    @classmethod
    def from_frames(cls, response: np.ndarray, prediction: np.ndarray) -> CorrelationSums:
        """The moments of these frames alone: response and prediction [T N]."""
        x = np.stack([response, prediction]).astype(np.float64)  # [2 T N]
        sums = cls(x.shape[2])
        if not x.shape[1]:
            return sums
        sums.count = x.shape[1]
        sums.mean, sums._low, sums._high = x.mean(1), x.min(1), x.max(1)
        x -= sums.mean[:, None]  # in place, and no arrays of products: three times faster
        sums._square = np.einsum("ktn,ktn->kn", x, x)
        sums._cross = np.einsum("tn,tn->n", x[0], x[1])
        return sums

    of = from_frames  # the name before version 0.2

    def merge(self, other: CorrelationSums) -> None:
        """Add the frames of other sums."""
        if not other.count:
            return
        delta = other.mean - self.mean
        weight = self.count * other.count / (self.count + other.count)
        self._square += other._square + delta**2 * weight
        self._cross += other._cross + delta[0] * delta[1] * weight
        self.mean = self.mean + delta * other.count / (self.count + other.count)
        self.count += other.count
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)

    def about(self, centre: np.ndarray) -> np.ndarray:
        """Raw moments about a centre [2 N], as ``correlate`` takes them: [6 N].

        Sums over frames of 1, y, p, y^2, p^2 and y p, where the centre is subtracted from response
        y and prediction p.

        Examples:
            >>> y, p = np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]])  # [T N] each
            >>> CorrelationSums.from_frames(y, p).about(np.zeros((2, 1))).ravel().tolist()
            [2.0, 4.0, 4.0, 10.0, 8.0, 8.0]
        """
        delta = self.mean - centre
        square = self._square + self.count * delta**2
        cross = self._cross + self.count * delta[0] * delta[1]
        count = np.full(len(cross), float(self.count))
        return np.stack([count, *(self.count * delta), *square, cross])

    def correlation(self) -> Correlation:
        """Pearson r of each neuron over all frames added."""
        constant = np.any(self._low >= self._high, axis=0)
        norm = np.sqrt(self._square[0] * self._square[1])
        return Correlation(_ratio(self._cross, norm, where=~constant & (norm > 0)), constant)


class ClipSums:
    """Moments of each clip on its own, so that a bootstrap can resample clips (``intervals``)."""

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clips: dict[str, CorrelationSums] = {}

    def add(self, clip: str, sums: CorrelationSums) -> None:
        """Add the frames of a clip."""
        self._clips.setdefault(clip, CorrelationSums(self._neurons)).merge(sums)

    def total(self) -> CorrelationSums:
        """The moments over all clips."""
        total = CorrelationSums(self._neurons)
        for clip in self._clips.values():
            total.merge(clip)
        return total

    def moments(self) -> np.ndarray:
        """Raw moments of K clips about the neurons' means, clips sorted by name: [K 6 N]."""
        centre = self.total().mean
        return np.stack([self._clips[clip].about(centre) for clip in sorted(self._clips)])


class SingleTrialCorrelation:
    """The benchmark's primary score (starter kit, ``utility/scores.py``).

    For each neuron, Pearson r between responses and predictions of all trials joined along time.

    Examples:
        The prediction of the second neuron is constant:

        >>> y, p = np.array([[0.0, 1.0], [2.0, 5.0]]), np.array([[1.0, 3.0], [2.0, 3.0]])  # [T N]
        >>> score = SingleTrialCorrelation(neurons=2)
        >>> score.add("clip", y, p)
        >>> score.correlation().value.round(6).tolist(), score.correlation().constant.tolist()
        ([1.0, 0.0], [False, True])
    """

    def __init__(self, neurons: int):
        self._clips = ClipSums(neurons)
        self._per_trial = np.zeros((2, neurons))  # sum over trials of r, number of trials

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        trial = CorrelationSums.from_frames(response, prediction)
        value, constant = trial.correlation()
        self._per_trial += np.where(constant, 0, value), ~constant
        self._clips.add(clip, trial)

    def correlation(self) -> Correlation:
        """Pearson r of each neuron over all trials added: [N]."""
        return self._clips.total().correlation()

    def per_trial(self) -> Defined:
        """Pearson r within each trial, then the mean over the trials in which it is defined.

        ``single_trial_correlation`` in bryanlimy/ViV1T-closed-loop. It can be higher or lower than
        the benchmark's score, because differences between the means of trials do not count.

        Examples:
            The order within both trials is right, the order of the trials is wrong:

            >>> low, high = np.array([[0.0], [1.0]]), np.array([[5.0], [6.0]])  # [T N] each
            >>> score = SingleTrialCorrelation(neurons=1)
            >>> score.add("a", response=low, prediction=high)
            >>> score.add("b", response=high, prediction=low)
            >>> round(score.per_trial().mean(), 6)
            1.0
            >>> round(float(score.correlation().value[0]), 2)
            -0.92
        """
        return divide_defined(*self._per_trial, above=0)

    def clip_moments(self) -> np.ndarray:
        """Raw moments of K clips about the neurons' means, clips sorted by name: [K 6 N]."""
        return self._clips.moments()


def correlate(moments: np.ndarray) -> np.ndarray:
    """Pearson r from raw moments [... 6 N] (``CorrelationSums.about``): [... N].

        r = (<yp> - <y><p>) / sqrt((<yy> - <y>^2)(<pp> - <p>^2))

    It is 0 where the prediction or the response is constant, NaN where a moment is not finite.
    Moments of clips add up: the correlation over several clips is that of their sum.

    Examples:
        >>> moments = np.array([3, 0, 0, 2, 8, 4.0])[:, None]  # y = -1, 0, 1 and p = 2 y
        >>> round(float(correlate(moments)[0]), 6)
        1.0
        >>> correlate(np.ones((100, 6, 8))).shape
        (100, 8)
    """
    count, y, p, yy, pp, yp = np.moveaxis(moments, -2, 0)
    norm = np.sqrt(np.maximum(yy - y**2 / count, 0) * np.maximum(pp - p**2 / count, 0))
    return _ratio(yp - y * p / count, norm, where=norm > TINY * count)


def _ratio(x: np.ndarray, norm: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """x / norm [... N]: 0 where ``where`` is False, NaN where the norm is NaN."""
    return np.divide(x, norm, out=np.where(np.isnan(norm), np.nan, 0.0), where=where)


class Defined(NamedTuple):
    """A score that is not defined for every neuron.

    Attributes:
        value: [N], NaN where the score is not defined.
        defined: [N], whether it is.

    Examples:
        >>> score = Defined(np.array([0.2, np.nan, 0.4]), np.array([True, False, True]))
        >>> round(score.mean(), 6)
        0.3
    """

    value: np.ndarray
    defined: np.ndarray

    def mean(self) -> float | None:
        """Mean over the neurons for which the score is defined; None if there is no such neuron."""
        return float(self.value[self.defined].mean()) if self.defined.any() else None


def divide_defined(x: np.ndarray, y: np.ndarray, *, above: float) -> Defined:
    """x / y [N], defined where y is larger than ``above`` and x is finite.

    Examples:
        >>> divide_defined(np.array([1.0, 1.0]), np.array([2.0, 0.0]), above=0).value.tolist()
        [0.5, nan]
    """
    defined = (y > above) & np.isfinite(x)
    return Defined(np.divide(x, y, out=np.full(len(y), np.nan), where=defined), defined)
