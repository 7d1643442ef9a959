"""Scores of trials that repeat clips: how much of a response repeats show to be predictable.

The repeats of a clip differ by noise: sums over them give the power of the signal (Schoppe et al.
2016), the explainable variance (FEVE) and the correlation with the mean of the others (oracle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.scores.correlation import (
    TINY,
    ByClip,
    Correlation,
    CorrelationSums,
    Defined,
    divide_defined,
)

FEV_FLOOR = (
    0.15  # explainable share of variance from which on FEVE means something (SENSORIUM 2022)
)
SIGNAL_FLOOR = 1e-4  # of a clip's signal power (bryanlimy/ViV1T-closed-loop, ``get_cc_norm``)


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
        self._average = ByClip(neurons)
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
        normalised = divide_defined(
            ((y - y.mean(0)) * (p - p.mean(0))).mean(0) / r**2,
            np.sqrt(p.var(0) / r**2 * np.maximum(signal, 0)),
            above=TINY,
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
        return self._average.total().correlation()

    def clip_moments(self) -> np.ndarray:
        """Moments of each clip's averages, as ``SingleTrialCorrelation`` has of trials: [K 6 N]."""
        self._close()
        return self._average.moments()

    def to_average_by_clip(self) -> Defined:
        """As ``to_average`` within each clip, mean over the clips in which it exists.

        ``correlation_to_average`` in bryanlimy/ViV1T-closed-loop.
        """
        self._close()
        return divide_defined(*self._by_clip, above=0)

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
        return divide_defined(cross, np.sqrt(np.maximum(own, 0) * np.maximum(other, 0)), above=TINY)

    def fev(self) -> Defined:
        """Share of the responses' variance that is not noise (neuralpredictors, ``fev``).

        (total - noise) / total, where noise is the variance over repeats, mean over frames. Not
        defined without repeats and for constant responses.
        """
        total, noise, _ = self._variances()
        return divide_defined(total - noise, total, above=TINY)

    def feve(self) -> Defined:
        """Share of the explainable variance that is explained (neuralpredictors, ``fev``).

        1 - (mean squared error - noise) / (total - noise). Not defined where ``fev`` is below
        ``FEV_FLOOR``, as in SENSORIUM 2022: it divides by what is almost nothing.
        """
        total, noise, error = self._variances()
        share = divide_defined(error - noise, total - noise, above=TINY)
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
        return divide_defined(*self._cc_norm, above=0)
