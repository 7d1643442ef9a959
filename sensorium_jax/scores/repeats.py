"""Scores of repeated clips: how much of a response can be predicted, and how much of it is.

    y_r = signal + noise_r    for repeats r = 1 .. R of a clip

The repeats of a clip differ by noise alone. Sums over repeats therefore give the signal power
(Schoppe et al. 2016), the explainable variance (FEVE) and the correlation of a repeat with the mean
of the other repeats (oracle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.scores.correlation import (
    TINY,
    ClipSums,
    Correlation,
    CorrelationSums,
    Defined,
    divide_defined,
)

FEV_FLOOR = 0.15  # lowest explainable share of variance for which FEVE is defined (SENSORIUM 2022)
SIGNAL_FLOOR = 1e-4  # of a clip's signal power (bryanlimy/ViV1T-closed-loop, ``get_cc_norm``)


class _Clip:
    """Sums over the repeats of one clip, from which all scores of repeats are computed."""

    def __init__(self, name: str, response: np.ndarray, prediction: np.ndarray):
        self.name, self.repeats = name, 0
        self.sums: np.ndarray = np.zeros((3, *response.shape))  # y, p, y^2: [3 T N]
        # [N], sums over repeats: of squared errors over frames, and of the variance along time.
        self.error, self.variance = np.zeros((2, response.shape[1]))

    def add(self, response: np.ndarray, prediction: np.ndarray) -> None:
        for total, x in zip(self.sums, (response, prediction, response**2), strict=True):
            total += x
        error, deviation = response - prediction, response - response.mean(0)
        self.error += np.einsum("tn,tn->n", error, error)
        self.variance += np.einsum("tn,tn->n", deviation, deviation) / max(len(response), 1)
        self.repeats += 1


class Example(NamedTuple):
    """Traces of a few neurons on one clip, for figures.

    Attributes:
        clip: id of the clip.
        repeats: number of its repeats.
        neurons: indices of the n neurons.
        response: [T n], mean over repeats.
        std: [T n], standard deviation of the responses over repeats.
        prediction: [T n], mean over repeats.
    """

    clip: str
    repeats: int
    neurons: list[int]
    response: np.ndarray
    std: np.ndarray
    prediction: np.ndarray


class Repeats:
    """Scores of N neurons on repeated clips.

    The repeats of a clip are added one after the other and have one length. Sums over repeats
    [T N] are held for one clip at a time; of earlier clips only sums over frames remain.

    Examples:
        Two repeats of a clip, with independent noise of the same variance as the signal. The
        prediction is the signal:

        >>> signal, meter = np.array([[1.0], [1.0], [3.0], [3.0]]), Repeats(neurons=1)
        >>> meter.add("clip", signal + [[1], [-1], [1], [-1]], prediction=signal)
        >>> meter.add("clip", signal + [[1], [-1], [-1], [1]], prediction=signal)
        >>> round(float(meter.to_average().value[0]), 2), round(meter.cc_norm().mean(), 2)
        (0.82, 1.0)
    """

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._clip: _Clip | None = None  # whose repeats are being added
        self._finished: set[str] = set()  # clips whose repeats are all added
        self._shift: np.ndarray | None = None  # [N], subtracted from responses and predictions
        self._example: tuple | None = None
        self._average = ClipSums(neurons)
        # Sums over clips, and numbers of clips, of scores that are defined: [2 N] each.
        self._by_clip, self._cc_norm = np.zeros((2, 2, neurons))
        self._count = self._frames = 0  # of repeated clips: frames of all repeats, and of averages
        self._sums = np.zeros((7, neurons))  # see ``_finish_repeats``

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N].

        Raises:
            ValueError: repeats of another length, or a clip whose repeats were interrupted.
        """
        # The shift changes no score, and large means cost no digits.
        shift = response.mean(0, dtype=np.float64) if self._shift is None else self._shift
        y, p = (x.astype(np.float64) - shift for x in (response, prediction))
        self._shift = shift
        if self._clip is None or self._clip.name != clip:
            self._finish_clip()
            if clip in self._finished:
                raise ValueError(f"expected all repeats of clip {clip!r} one after the other")
            self._clip = _Clip(clip, y, p)
        if y.shape != self._clip.sums.shape[1:]:
            raise ValueError(
                f"expected repeats of clip {clip!r} of {self._clip.sums.shape[1]} frames, got "
                f"{len(response)}; cut them to the shortest"
            )
        self._clip.add(y, p)

    def _finish_clip(self) -> None:
        """Reduce the sums [T N] of the current clip to sums over frames [N]."""
        clip, self._clip = self._clip, None
        if clip is None:
            return
        self._finished.add(clip.name)
        r, (y, p, y2) = clip.repeats, clip.sums
        average = CorrelationSums.from_frames(y / r, p / r)
        self._average.add(clip.name, average)
        value, constant = average.correlation()
        self._by_clip += np.where(constant, 0, value), ~constant
        if self._example is None or r > self._example[1]:
            std = np.sqrt(np.maximum(y2 / r - (y / r) ** 2, 0))
            traces = y / r + self._shift, std, p / r + self._shift
            self._example = clip.name, r, *(x.astype(np.float32) for x in traces)
        if r > 1 and len(y):
            self._finish_repeats(clip)

    def _finish_repeats(self, clip: _Clip) -> None:
        """Add a clip of two repeats or more to ``_sums`` and to the normalised correlation."""
        r, (y, p, y2) = clip.repeats, clip.sums
        total, square, squares = y.sum(0), (y**2).sum(0), y2.sum(0)
        self._count += r * len(y)
        self._frames += len(y)
        self._sums += (
            total,  # of the response
            squares,  # of its square
            ((r - 2) * square + squares) / (r - 1) ** 2,  # of the squared mean of other repeats
            (square - squares) / (r - 1),  # of a response times the mean of other repeats
            square / r,  # of the squared mean of all repeats, and of a response times that mean
            (squares - square / r) / (r - 1),  # of the variance over repeats
            clip.error,  # of the squared error
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
        """Traces of these neurons, given by index, on the clip with the most repeats."""
        self._finish_clip()
        assert self._example is not None, "a trial was added"
        clip, repeats, *means = self._example
        y, std, p = (x[:, list(neurons)] for x in means)
        return Example(clip, repeats, list(neurons), y, std, p)

    def to_average(self) -> Correlation:
        """Pearson r after averaging responses and predictions over the repeats of each clip.

            r = corr(<y>, <p>),    <> the mean over repeats

        The averages of all clips are joined along time: the analogue, for films, of the definition
        of SENSORIUM 2022 (``metrics.py`` of sinzlab/sensorium).

        Examples:
            Noise that cancels in the average does not count:

            >>> meter = Repeats(neurons=1)
            >>> meter.add("clip", np.array([[0.0], [3.0]]), prediction=np.array([[0.0], [1.0]]))
            >>> meter.add("clip", np.array([[2.0], [1.0]]), prediction=np.array([[0.0], [1.0]]))
            >>> round(float(meter.to_average().value[0]), 6)
            1.0
        """
        self._finish_clip()
        return self._average.total().correlation()

    def clip_moments(self) -> np.ndarray:
        """Raw moments of the averages of K clips, as of ``SingleTrialCorrelation``: [K 6 N]."""
        self._finish_clip()
        return self._average.moments()

    def to_average_by_clip(self) -> Defined:
        """``to_average`` within each clip, then the mean over the clips in which it is defined.

        ``correlation_to_average`` in bryanlimy/ViV1T-closed-loop.
        """
        self._finish_clip()
        return divide_defined(*self._by_clip, above=0)

    def oracle(self) -> Defined:
        """Jackknife oracle: Pearson r of each repeat with the mean of the other repeats.

            r = corr(y_r, (sum_q y_q - y_r) / (R - 1)),    over all frames, repeats and clips

        A neuron's reliability, and a low estimate of what can be predicted (neuralpredictors,
        ``oracle_corr_jackknife``). Not defined without repeats and for constant responses.

        Examples:
            Half of the variance is signal:

            >>> signal, meter = np.array([[1.0], [1.0], [3.0], [3.0]]), Repeats(neurons=1)
            >>> meter.add("clip", signal + [[1], [-1], [1], [-1]], prediction=signal)
            >>> meter.add("clip", signal + [[1], [-1], [-1], [1]], prediction=signal)
            >>> round(meter.oracle().mean(), 6)
            0.5
        """
        self._finish_clip()
        y, y2, others2, y_others, *_ = self._sums
        return self._pearson(y, y2, others2, y_others)

    def oracle_conservative(self) -> Defined:
        """Conservative oracle: Pearson r of each repeat with the mean of all repeats.

            r = corr(y_r, sum_q y_q / R),    over all frames, repeats and clips

        The mean includes the repeat itself, so this is a high estimate of what can be predicted
        (neuralpredictors, ``oracle_corr_conservative``).
        """
        self._finish_clip()
        y, y2, _, _, all2, *_ = self._sums
        return self._pearson(y, y2, all2, all2)

    def _pearson(self, y: np.ndarray, *sums: np.ndarray) -> Defined:
        """Pearson r of y and x from their sums y, y^2, x^2 and x y, where x has the mean of y."""
        count = max(self._count, 1)
        var_y, var_x, cov = (x / count - (y / count) ** 2 for x in sums)
        return divide_defined(cov, np.sqrt(np.maximum(var_y, 0) * np.maximum(var_x, 0)), above=TINY)

    def fev(self) -> Defined:
        """Fraction of explainable variance: of the responses' variance, the share without noise.

            FEV = (total - noise) / total

        of the total variance of responses, and the noise variance: over repeats, then the mean over
        frames (neuralpredictors, ``fev``). Not defined without repeats and for constant responses.

        Examples:
            Repeats without noise:

            >>> meter = Repeats(neurons=1)
            >>> for _ in range(2):
            ...     meter.add("clip", np.array([[0.0], [3.0]]), prediction=np.ones((2, 1)))
            >>> round(meter.fev().mean(), 6)
            1.0
        """
        total, noise, _ = self._variances()
        return divide_defined(total - noise, total, above=TINY)

    def feve(self) -> Defined:
        """Fraction of explainable variance explained.

            FEVE = 1 - (mean squared error - noise) / (total - noise)

        of the variances of ``fev`` (neuralpredictors, ``fev``). Not defined where ``fev`` is below
        ``FEV_FLOOR``, as in SENSORIUM 2022, since the denominator is then almost zero.

        Examples:
            The prediction is the signal: the mean squared error is the noise variance.

            >>> signal, meter = np.array([[1.0], [1.0], [3.0], [3.0]]), Repeats(neurons=1)
            >>> meter.add("clip", signal + [[1], [-1], [1], [-1]], prediction=signal)
            >>> meter.add("clip", signal + [[1], [-1], [-1], [1]], prediction=signal)
            >>> round(meter.feve().mean(), 6)
            1.0
        """
        total, noise, error = self._variances()
        share = divide_defined(error - noise, total - noise, above=TINY)
        reliable = self.fev()
        defined = share.defined & reliable.defined
        defined[defined] = reliable.value[defined] >= FEV_FLOOR
        return Defined(np.where(defined, 1 - share.value, np.nan), defined)

    def _variances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Total and noise variance of responses, and the mean squared error: [N] each."""
        self._finish_clip()
        if not self._count:
            total, noise, error = np.zeros((3, self._neurons))
            return total, noise, error
        y, y2, *_, noise, error = self._sums
        total = (y2 - y**2 / self._count) / (self._count - 1)
        return total, noise / self._frames, error / self._count

    def cc_norm(self) -> Defined:
        """Normalised correlation coefficient: r with the average response over its upper bound.

            CC_norm = Cov(<y>, <p>) / sqrt(Var(<p>) SP)
            SP = (Var(sum_r y_r) - sum_r Var(y_r)) / (R (R - 1))

        of the averages <y> and <p> over R repeats and the signal power SP; Var and Cov along time
        (Schoppe et al. 2016, Front Comput Neurosci 10:10, equations 3 to 5). It is computed for
        each clip and averaged over clips. Not defined for a clip whose SP is at most
        ``SIGNAL_FLOOR``, or whose prediction is constant.

        SP is an estimate: for noisy neurons the ratio can be far above 1, so look at its median
        over neurons. Behaviour changes the responses to the few repeats of a clip; a model that
        predicts these changes can also exceed 1.

        Examples:
            Noise does not lower it, as it does lower the correlation to average:

            >>> signal, meter = np.array([[1.0], [1.0], [3.0], [3.0]]), Repeats(neurons=1)
            >>> meter.add("clip", signal + [[1], [-1], [1], [-1]], prediction=signal)
            >>> meter.add("clip", signal + [[1], [-1], [-1], [1]], prediction=signal)
            >>> round(meter.cc_norm().mean(), 6)
            1.0
        """
        self._finish_clip()
        return divide_defined(*self._cc_norm, above=0)
