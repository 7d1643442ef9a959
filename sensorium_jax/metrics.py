"""Scores, from sums that are updated trial by trial: no tier is ever held in memory.

All arithmetic is float64 on the host. A neuron whose response or prediction is constant has no
correlation: it scores 0, as in the starter kit, and is counted. One with a NaN or infinite number
among its responses or predictions scores NaN. Scores of repeats that are not defined are NaN, and
left out of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEV_FLOOR = (
    0.15  # explainable share of variance from which on FEVE means something (SENSORIUM 2022)
)
SIGNAL_FLOOR = 1e-4  # of a clip's signal power (bryanlimy/ViV1T-closed-loop, ``get_cc_norm``)
OF_RESPONSE, OF_PREDICTION = (1, 3), (2, 4, 5)  # among the six moments of ``about``
_TINY = 1e-12  # below it, a variance is rounding


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


class _ByClip:
    """Moments of each clip apart, so that clips can be drawn again (``uncertainty``)."""

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clips: dict[str, CorrelationSums] = {}

    def add(self, clip: str, sums: CorrelationSums) -> None:
        self._clips.setdefault(clip, CorrelationSums(self._neurons)).merge(sums)

    def whole(self) -> CorrelationSums:
        whole = CorrelationSums(self._neurons)
        for clip in self._clips.values():
            whole.merge(clip)
        return whole

    def moments(self) -> np.ndarray:
        """About the neurons' means, clips in order of names: [K 6 N]."""
        centre = self.whole().mean
        return np.stack([self._clips[clip].about(centre) for clip in sorted(self._clips)])


class SingleTrialCorrelation:
    """The benchmark's primary score (starter kit, ``utility/scores.py``).

    Per neuron, Pearson r between responses and predictions of all trials joined along time.
    """

    def __init__(self, neurons: int):
        self._clips = _ByClip(neurons)
        self._per_trial = np.zeros((2, neurons))  # sum of trials' correlations, their number

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        trial = CorrelationSums.of(response, prediction)
        value, constant = trial.correlation()
        self._per_trial += np.where(constant, 0, value), ~constant
        self._clips.add(clip, trial)

    def correlation(self) -> Correlation:
        """[N] over all trials added."""
        return self._clips.whole().correlation()

    def per_trial(self) -> Defined:
        """Pearson r within each trial, mean over those in which it exists.

        ``single_trial_correlation`` in bryanlimy/ViV1T-closed-loop. Higher or lower than the
        benchmark's score: differences between trials do not count.
        """
        return _divide(*self._per_trial, above=0)

    def clip_moments(self) -> np.ndarray:
        """Moments of each clip about the neurons' means, clips in order of names: [K 6 N]."""
        return self._clips.moments()


def correlate(moments: np.ndarray) -> np.ndarray:
    """Pearson r from raw moments [... 6 N] (``CorrelationSums.about``): [... N].

    0 where the prediction or the response is constant, NaN where not all numbers are finite.
    """
    count, y, p, yy, pp, yp = np.moveaxis(moments, -2, 0)
    norm = np.sqrt(np.maximum(yy - y**2 / count, 0) * np.maximum(pp - p**2 / count, 0))
    return _ratio(yp - y * p / count, norm, where=norm > _TINY * count)


def _ratio(x: np.ndarray, norm: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """A correlation: 0 where it does not exist, NaN where its norm is no number."""
    return np.divide(x, norm, out=np.where(np.isnan(norm), np.nan, 0.0), where=where)


class PoissonSums:
    """How likely responses are if each frame's is Poisson with the predicted rate."""

    def __init__(self, neurons: int):
        self._frames = 0
        self._sums = np.zeros((3, neurons))  # y log p, p, y
        self._impossible = np.zeros(neurons, bool)  # a negative rate, or a response where it is 0

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        del clip
        y, p = response.astype(np.float64), prediction.astype(np.float64)
        log = np.log(p, out=np.zeros_like(p), where=p > 0)
        self._sums += np.stack([y * log, p, y]).sum(1)
        self._impossible |= ((p < 0) | ((p <= 0) & (y > 0))).any(0)
        self._frames += len(y)

    def log_likelihood(self) -> Defined:
        """Mean over frames of y log p - p, in nats; log y! is left out, as in the training loss.

        y and p are in the units of what was added. Not defined where a rate is negative, or 0 in a
        frame with a response (its likelihood is 0).
        """
        log, rate, _ = self._sums
        value = (log - rate) / max(self._frames, 1)
        defined = ~self._impossible & (self._frames > 0) & np.isfinite(value)
        return Defined(np.where(defined, value, np.nan), defined)

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

    def __init__(self, name: str, response: np.ndarray, prediction: np.ndarray):
        self.name, self.repeats = name, 0
        self.sums = np.zeros((3, *response.shape))  # y, p, y^2
        self.error, self.variance = np.zeros((2, response.shape[1]))  # over frames; along time

    def add(self, response: np.ndarray, prediction: np.ndarray) -> None:
        self.sums += response, prediction, response**2
        self.error += ((response - prediction) ** 2).sum(0)
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

    The repeats of a clip are added one after the other and have one length. Sums over repeats,
    [T N], are there for one clip at a time; of those before, sums over frames remain.
    """

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clip: _Clip | None = None  # whose repeats are being added
        self._closed: set[str] = set()
        self._shift: np.ndarray | None = None
        self._example: tuple | None = None
        self._average = _ByClip(neurons)
        self._by_clip, self._cc_norm = np.zeros((2, 2, neurons))  # sum over clips, their number
        self._count = self._frames = 0  # of repeated clips: frames of all repeats, and of averages
        self._sums = np.zeros((7, neurons))

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N].

        Raises:
            ValueError: repeats of another length, or a clip whose repeats were interrupted.
        """
        if self._shift is None:  # all scores are the same, and large means cost no digits
            self._shift = response.mean(0, dtype=np.float64)
        pair = [x.astype(np.float64) - self._shift for x in (response, prediction)]
        if self._clip is None or self._clip.name != clip:
            self._close()
            if clip in self._closed:
                raise ValueError(f"expected all repeats of clip {clip!r} one after the other")
            self._clip = _Clip(clip, *pair)
        if pair[0].shape != self._clip.sums.shape[1:]:
            raise ValueError(
                f"expected repeats of clip {clip!r} of {self._clip.sums.shape[1]} frames, got "
                f"{len(response)}; cut them to the shortest"
            )
        self._clip.add(*pair)

    def _close(self) -> None:
        """Keep of the clip at hand what scores are made of."""
        clip, self._clip = self._clip, None
        if clip is None:
            return
        self._closed.add(clip.name)
        r, (y, p, y2) = clip.repeats, clip.sums
        average = CorrelationSums.of(y / r, p / r)
        self._average.add(clip.name, average)
        value, constant = average.correlation()
        self._by_clip += np.where(constant, 0, value), ~constant
        if self._example is None or r > self._example[1]:
            std = np.sqrt(np.maximum(y2 / r - (y / r) ** 2, 0))
            drawn = y / r + self._shift, std, p / r + self._shift
            self._example = clip.name, r, *(x.astype(np.float32) for x in drawn)
        if r > 1 and len(y):
            self._close_repeated(clip)

    def _close_repeated(self, clip: _Clip) -> None:
        r, (y, p, y2) = clip.repeats, clip.sums
        total, square, squares = y.sum(0), (y**2).sum(0), y2.sum(0)
        self._count += r * len(y)
        self._frames += len(y)
        self._sums += (
            total,
            squares,
            ((r - 2) * square + squares) / (r - 1) ** 2,  # of the mean of the others, squared
            (square - squares) / (r - 1),  # of a response times the mean of the others
            square / r,  # of the mean of all, squared; and of a response times it
            (squares - square / r) / (r - 1),  # of the variance over repeats
            clip.error,
        )
        signal = (y.var(0) - clip.variance) / (r * (r - 1))
        normalised = _divide(
            ((y - y.mean(0)) * (p - p.mean(0))).mean(0) / r**2,
            np.sqrt(p.var(0) / r**2 * np.maximum(signal, 0)),
            above=_TINY,
        )
        defined = normalised.defined & (signal > SIGNAL_FLOOR)
        self._cc_norm += np.where(defined, normalised.value, 0), defined

    def example(self, neurons: Sequence[int]) -> Example:
        """Some neurons on the clip with most repeats."""
        self._close()
        clip, repeats, *means = self._example
        y, std, p = (x[:, list(neurons)] for x in means)
        return Example(clip, repeats, list(neurons), y, std, p)

    def to_average(self) -> Correlation:
        """Pearson r after averaging responses and predictions over the repeats of each clip.

        The clips' averages are joined along time: the analogue, for films, of the definition of
        SENSORIUM 2022 (``metrics.py`` of sinzlab/sensorium).
        """
        self._close()
        return self._average.whole().correlation()

    def clip_moments(self) -> np.ndarray:
        """Moments of each clip's averages, as ``SingleTrialCorrelation`` has of trials: [K 6 N]."""
        self._close()
        return self._average.moments()

    def to_average_by_clip(self) -> Defined:
        """As ``to_average`` within each clip, mean over the clips in which it exists.

        ``correlation_to_average`` in bryanlimy/ViV1T-closed-loop.
        """
        self._close()
        return _divide(*self._by_clip, above=0)

    def oracle(self) -> Defined:
        """Pearson r of each repeat with the mean of the others, over all repeats and clips.

        A neuron's reliability, and a low estimate of what can be predicted (neuralpredictors,
        ``oracle_corr_jackknife``). Undefined without repeats and for constant responses.
        """
        self._close()
        y, y2, others2, y_others, *_ = self._sums
        return self._correlated(y, y2, others2, y_others)

    def oracle_conservative(self) -> Defined:
        """As ``oracle``, with each repeat in its own mean: a high estimate.

        neuralpredictors, ``oracle_corr_conservative``.
        """
        self._close()
        y, y2, _, _, all2, *_ = self._sums
        return self._correlated(y, y2, all2, all2)

    def _correlated(self, y: np.ndarray, *sums: np.ndarray) -> Defined:
        """Pearson r from sums of y, y^2, x^2 and x y, of an x with the mean of y."""
        count = max(self._count, 1)
        own, other, cross = (x / count - (y / count) ** 2 for x in sums)
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
        self._close()
        if not self._count:
            return tuple(np.zeros((3, self._neurons)))
        y, y2, *_, noise, error = self._sums
        total = (y2 - y**2 / self._count) / (self._count - 1)
        return total, noise / self._frames, error / self._count

    def cc_norm(self) -> Defined:
        """Correlation with the average response over the highest that noise allows.

        Schoppe et al. 2016 (Front Comput Neurosci 10:10, equations 3 to 5), for each clip, then the
        mean over clips: Cov(y, p) / sqrt(Var(p) SP) of averages y and p over R repeats, with signal
        power SP = (Var(sum of repeats) - sum of their variances) / (R (R - 1)), variances along
        time. Not defined for a clip with SP of ``SIGNAL_FLOOR`` or less, or a constant prediction.

        SP is an estimate: of noisy neurons the ratio can be far above 1, so look at its median.
        What behaviour adds to the few repeats of a clip is no signal, yet models can predict it:
        that may exceed 1 too.
        """
        self._close()
        return _divide(*self._cc_norm, above=0)


def _divide(x: np.ndarray, y: np.ndarray, *, above: float) -> Defined:
    defined = (y > above) & np.isfinite(x)
    return Defined(np.divide(x, y, out=np.full(len(y), np.nan), where=defined), defined)
