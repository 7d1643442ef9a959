"""Scores, from sums that are updated trial by trial: no tier is ever held in memory.

All arithmetic is float64 on the host. A neuron whose response or prediction is constant has no
correlation: it scores 0, as in the starter kit, and is counted. Scores of repeats that are not
defined are NaN, and left out of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEV_FLOOR = (
    0.15  # explainable share of variance from which on FEVE means something (SENSORIUM 2022)
)
SIGNAL_FLOOR = 1e-4  # of a clip's signal power (bryanlimy/ViV1T-closed-loop, ``get_cc_norm``)
_TINY = 1e-12  # below it, a variance is rounding


class Correlation(NamedTuple):
    """Pearson correlations of neurons.

    ``value`` [N]; ``constant`` [N], True where the prediction or the response never changed.
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
        value = np.divide(self._cross, norm, out=np.zeros_like(norm), where=~constant & (norm > 0))
        return Correlation(value, constant)


class SingleTrialCorrelation:
    """The benchmark's primary score (starter kit, ``utility/scores.py``).

    Per neuron, Pearson r between responses and predictions of all trials joined along time. It
    keeps one set of moments a clip, so that clips can be drawn again (``uncertainty``).
    """

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clips: dict[str, CorrelationSums] = {}
        self._per_trial = np.zeros((2, neurons))  # sum of trials' correlations, their number

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        trial = CorrelationSums.of(response, prediction)
        value, constant = trial.correlation()
        self._per_trial += np.where(constant, 0, value), ~constant
        self._clips.setdefault(clip, CorrelationSums(self._neurons)).merge(trial)

    def correlation(self) -> Correlation:
        """[N] over all trials added."""
        return self._whole().correlation()

    def per_trial(self) -> Defined:
        """Pearson r within each trial, mean over those in which it exists.

        ``single_trial_correlation`` in bryanlimy/ViV1T-closed-loop. Higher or lower than the
        benchmark's score: differences between trials do not count.
        """
        return _divide(*self._per_trial, above=0)

    def clip_moments(self) -> np.ndarray:
        """Moments of each clip about the neurons' means, clips in order of names: [K 6 N]."""
        centre = self._whole().mean
        return np.stack([self._clips[clip].about(centre) for clip in sorted(self._clips)])

    def _whole(self) -> CorrelationSums:
        whole = CorrelationSums(self._neurons)
        for clip in self._clips.values():
            whole.merge(clip)
        return whole


def correlate(moments: np.ndarray) -> np.ndarray:
    """Pearson r from raw moments [... 6 N] (``CorrelationSums.about``): [... N].

    0 where the prediction or the response is constant.
    """
    count, y, p, yy, pp, yp = np.moveaxis(moments, -2, 0)
    norm = np.sqrt(np.maximum(yy - y**2 / count, 0) * np.maximum(pp - p**2 / count, 0))
    enough = norm > _TINY * count
    return np.divide(yp - y * p / count, norm, out=np.zeros_like(norm), where=enough)


class PoissonSums:
    """How likely responses are if each frame's is Poisson with the predicted rate."""

    def __init__(self, neurons: int):
        self._frames = 0
        self._sums = np.zeros((3, neurons))  # y log p, p, y
        self._impossible = np.zeros(neurons, bool)  # a response where the rate is 0

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        del clip
        y, p = response.astype(np.float64), prediction.astype(np.float64)
        log = np.log(p, out=np.zeros_like(p), where=p > 0)
        self._sums += np.stack([y * log, p, y]).sum(1)
        self._impossible |= ((p <= 0) & (y > 0)).any(0)
        self._frames += len(y)

    def log_likelihood(self) -> Defined:
        """Mean over frames of y log p - p, in nats; log y! is left out, as in the training loss.

        Not defined where a response meets a rate of 0 (its likelihood is 0).
        """
        log, rate, _ = self._sums
        defined = ~self._impossible & (self._frames > 0)
        return Defined(np.where(defined, (log - rate) / max(self._frames, 1), np.nan), defined)

    def bits(self) -> Defined:
        """Information gained over the neuron's mean rate, in bits per unit of response.

        (L(prediction) - L(mean)) / (log 2 * sum of responses): "bits per spike" of Pillow et al.
        2008 (Nature 454) for responses that are no counts. One factor on both response and
        prediction changes nothing. Not defined for silent neurons either.
        """
        log, rate, response = self._sums
        active = response > 0
        mean = np.where(active, response, 1) / max(self._frames, 1)
        gained = log - rate - (response * np.log(mean) - response)
        found = _divide(gained, np.log(2) * response, above=0)
        defined = found.defined & ~self._impossible
        return Defined(np.where(defined, found.value, np.nan), defined)


class Defined(NamedTuple):
    """A score of neurons that may not exist.

    ``value`` [N], NaN where it does not; ``defined`` [N].
    """

    value: np.ndarray
    defined: np.ndarray

    def mean(self) -> float | None:
        """Over the neurons that have one; None if there is none."""
        return float(self.value[self.defined].mean()) if self.defined.any() else None


class _Clip:
    """Sums over the repeats of one clip, from which every score of repeats follows."""

    def __init__(self, response: np.ndarray, prediction: np.ndarray):
        self.repeats = 1
        self.sums = self._terms(response, prediction)  # [4 T N]
        self.variance = response.var(0)  # [N] along time, summed over repeats

    @staticmethod
    def _terms(response: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return np.stack([response, prediction, response**2, (response - prediction) ** 2])

    def add(self, response: np.ndarray, prediction: np.ndarray) -> None:
        frames = min(len(response), self.sums.shape[1])
        self.sums = self.sums[:, :frames] + self._terms(response[:frames], prediction[:frames])
        self.variance += response.var(0)
        self.repeats += 1


class Example(NamedTuple):
    """Some neurons on one clip: what to draw.

    ``response`` and ``prediction`` [T n] are means over repeats, ``std`` [T n] is the responses'.
    """

    clip: str
    repeats: int
    neurons: list[int]
    response: np.ndarray
    std: np.ndarray
    prediction: np.ndarray


class Repeats:
    """Scores of trials that repeat clips: what of a neuron's response can be predicted, and is.

    Repeats may differ by a frame or two in length (flashed images); a clip ends with its shortest.
    For each clip it keeps four sums over repeats, [T N] in float64.
    """

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clips: dict[str, _Clip] = {}
        self._shift: np.ndarray | None = None

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        if self._shift is None:  # all scores are the same, and large means cost no digits
            self._shift = response.mean(0, dtype=np.float64)
        pair = [x.astype(np.float64) - self._shift for x in (response, prediction)]
        if clip in self._clips:
            self._clips[clip].add(*pair)
        else:
            self._clips[clip] = _Clip(*pair)

    def example(self, neurons: Sequence[int]) -> Example:
        """Some neurons on the clip with most repeats."""
        name = max(self._clips, key=lambda clip: self._clips[clip].repeats)
        clip, shift = self._clips[name], self._shift[neurons]
        y, p, y2 = clip.sums[:3, :, neurons] / clip.repeats
        std = np.sqrt(np.maximum(y2 - y**2, 0))
        return Example(name, clip.repeats, list(neurons), y + shift, std, p + shift)

    def to_average(self) -> Correlation:
        """Pearson r after averaging responses and predictions over the repeats of each clip.

        The clips' averages are joined along time: the analogue, for films, of the definition of
        SENSORIUM 2022 (``metrics.py`` of sinzlab/sensorium).
        """
        sums = CorrelationSums(self._neurons)
        for clip in self._clips.values():
            sums.add(*(clip.sums[:2] / clip.repeats))
        return sums.correlation()

    def to_average_by_clip(self) -> Defined:
        """As ``to_average`` within each clip, mean over the clips in which it exists.

        ``correlation_to_average`` in bryanlimy/ViV1T-closed-loop.
        """
        total = np.zeros((2, self._neurons))
        for clip in self._clips.values():
            value, constant = CorrelationSums.of(*(clip.sums[:2] / clip.repeats)).correlation()
            total += np.where(constant, 0, value), ~constant
        return _divide(*total, above=0)

    def oracle(self) -> Defined:
        """Pearson r of each repeat with the mean of the others, over all repeats and clips.

        A neuron's reliability, and a low estimate of what can be predicted (neuralpredictors,
        ``oracle_corr_jackknife``). Undefined without repeats and for constant responses.
        """

        def moments(r: int, y: np.ndarray, y2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            others2 = ((r - 2) * y**2 + y2) / (r - 1) ** 2  # sum of ((y - y_r) / (r - 1))^2
            return others2, (y**2 - y2) / (r - 1)

        return self._oracle(moments)

    def oracle_conservative(self) -> Defined:
        """As ``oracle``, with each repeat in its own mean: a high estimate.

        neuralpredictors, ``oracle_corr_conservative``.
        """
        return self._oracle(lambda r, y, y2: (y**2 / r, y**2 / r))

    def _oracle(self, moments) -> Defined:
        count, sums = 0, np.zeros((4, self._neurons))  # y, y^2, oracle^2, y oracle
        for clip in self._repeated():
            r, (y, _, y2, _) = clip.repeats, clip.sums
            count += r * len(y)
            sums += np.stack([y, y2, *moments(r, y, y2)]).sum(1)
        if not count:
            return self._undefined()
        mean, *squares = sums / count  # an oracle's mean is that of the responses
        own, other, cross = (x - mean**2 for x in squares)
        return _divide(cross, np.sqrt(np.maximum(own, 0) * np.maximum(other, 0)), above=_TINY)

    def fev(self) -> Defined:
        """Share of the responses' variance that is not noise (neuralpredictors, ``fev``).

        (total - noise) / total, where noise is the variance over repeats, mean over frames. Not
        defined without repeats and for constant responses.
        """
        total, noise, _ = self._variances()
        return _divide(total - noise, total, above=_TINY)

    def feve(self) -> Defined:
        """Share of the explainable variance that is explained (neuralpredictors, ``fev``).

        1 - (mean squared error - noise) / (total - noise). Not defined where ``fev`` is below
        ``FEV_FLOOR``, as in SENSORIUM 2022: it divides by what is almost nothing.
        """
        total, noise, error = self._variances()
        share = _divide(error - noise, total - noise, above=_TINY)
        reliable = self.fev()
        defined = share.defined & reliable.defined
        defined[defined] = reliable.value[defined] >= FEV_FLOOR
        return Defined(np.where(defined, 1 - share.value, np.nan), defined)

    def _variances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Total and noise variance of responses, and the mean squared error: [N] each."""
        trials, frames = 0, 0
        y_sum, y2_sum, noise, error = np.zeros((4, self._neurons))
        for clip in self._repeated():
            r, (y, _, y2, squared_error) = clip.repeats, clip.sums
            trials += r * len(y)
            frames += len(y)
            y_sum += y.sum(0)
            y2_sum += y2.sum(0)
            error += squared_error.sum(0)
            noise += ((y2 - y**2 / r) / (r - 1)).sum(0)
        if not trials:
            return tuple(np.zeros((3, self._neurons)))
        total = (y2_sum - y_sum**2 / trials) / (trials - 1)
        return total, noise / frames, error / trials

    def cc_norm(self) -> Defined:
        """Correlation with the average response over the highest that noise allows.

        Schoppe et al. 2016 (Front Comput Neurosci 10:10, equations 3 to 5), for each clip, then the
        mean over clips: Cov(y, p) / sqrt(Var(p) SP) of averages y and p over R repeats, with signal
        power SP = (Var(sum of repeats) - sum of their variances) / (R (R - 1)), variances along
        time. Not defined for a clip with SP of ``SIGNAL_FLOOR`` or less, or a constant prediction.
        """
        sums, clips = np.zeros(self._neurons), np.zeros(self._neurons)
        for clip in self._repeated():
            r, (y, p, _, _) = clip.repeats, clip.sums
            signal = (y.var(0) - clip.variance) / (r * (r - 1))
            of_clip = _divide(
                ((y - y.mean(0)) * (p - p.mean(0))).mean(0) / r**2,
                np.sqrt(p.var(0) / r**2 * np.maximum(signal, 0)),
                above=_TINY,
            )
            defined = of_clip.defined & (signal > SIGNAL_FLOOR)
            sums[defined] += of_clip.value[defined]
            clips += defined
        return _divide(sums, clips, above=0)

    def _repeated(self) -> list[_Clip]:
        return [clip for clip in self._clips.values() if clip.repeats > 1 and clip.sums.shape[1]]

    def _undefined(self) -> Defined:
        return Defined(np.full(self._neurons, np.nan), np.zeros(self._neurons, bool))


def _divide(x: np.ndarray, y: np.ndarray, *, above: float) -> Defined:
    defined = y > above
    return Defined(np.divide(x, y, out=np.full(len(y), np.nan), where=defined), defined)
