"""Poisson likelihood of responses given predicted rates.

    log L = sum (y log p - p)

for responses y and predicted rates p, summed over frames; log y! depends on the responses alone and
is left out.
"""

from __future__ import annotations

import numpy as np

from sensorium_jax.scores.correlation import Defined, divide_defined


class PoissonSums:
    """Sums over frames for the Poisson log-likelihood of N neurons.

    Examples:
        Responses 0 and 2, predicted exactly, against their mean rate of 1:

        >>> sums = PoissonSums(neurons=1)
        >>> sums.add("clip", response=np.array([[0.0], [2.0]]), prediction=np.array([[0.0], [2.0]]))
        >>> round(sums.bits().mean(), 6)
        1.0
    """

    def __init__(self, neurons: int):
        self._frames = 0
        self._sums = np.zeros((3, neurons))  # y log p, p, y
        self._impossible = np.zeros(neurons, bool)  # p < 0, or p = 0 where y > 0

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        del clip
        y, p = response.astype(np.float64), prediction.astype(np.float64)
        log = np.log(p, out=np.zeros_like(p), where=p > 0)
        self._sums += np.stack([y * log, p, y]).sum(1)
        self._impossible |= ((p < 0) | ((p <= 0) & (y > 0))).any(0)
        self._frames += len(y)

    def log_likelihood(self) -> Defined:
        """Mean over frames of y log p - p, in nats a frame; log y! is left out, as in training.

        y and p are in the units in which they were added. Not defined where a rate is negative, or
        where it is 0 in a frame with a response, whose likelihood is then 0.

        Examples:
            >>> sums = PoissonSums(neurons=1)
            >>> sums.add("clip", response=np.array([[3.0], [5.0]]), prediction=np.ones((2, 1)))
            >>> sums.log_likelihood().mean()  # log 1 = 0, so that -p remains
            -1.0
        """
        log, rate, _ = self._sums
        value = (log - rate) / max(self._frames, 1)
        defined = ~self._impossible & (self._frames > 0) & np.isfinite(value)
        return Defined(np.where(defined, value, np.nan), defined)

    def bits(self) -> Defined:
        """Information gained over the neuron's mean rate, in bits per unit of response.

            bits = (log L(p) - log L(<y>)) / (log 2 * sum y)

        "Bits per spike" of Pillow et al. 2008 (Nature 454), for responses that are not spike
        counts. Scaling response and prediction by one factor does not change it. Not defined where
        ``log_likelihood`` is not, nor for silent neurons.

        Examples:
            Predicting the mean rate gains nothing:

            >>> sums = PoissonSums(neurons=1)
            >>> sums.add("clip", response=np.array([[0.0], [2.0]]), prediction=np.ones((2, 1)))
            >>> round(sums.bits().mean(), 6)
            0.0
        """
        log, rate, response = self._sums
        active = response > 0
        mean = np.where(active, response, 1) / max(self._frames, 1)
        gain = log - rate - (response * np.log(mean) - response)
        bits = divide_defined(gain, np.log(2) * response, above=0)
        defined = bits.defined & ~self._impossible
        return Defined(np.where(defined, bits.value, np.nan), defined)
