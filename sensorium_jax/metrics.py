"""Scores, from sums that are updated trial by trial: no tier is ever held in memory.

All arithmetic is float64 on the host. A neuron whose response or prediction is constant has no
correlation: it scores 0, as in the starter kit, and is counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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
        self._count = 0
        self._mean = np.zeros((2, neurons))  # response, prediction
        self._square = np.zeros((2, neurons))  # sums of squared deviations from the mean
        self._cross = np.zeros(neurons)
        self._low = np.full((2, neurons), np.inf)
        self._high = np.full((2, neurons), -np.inf)

    def add(self, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add frames: response and prediction [T N]."""
        x = np.stack([response, prediction]).astype(np.float64)  # [2 T N]
        count = x.shape[1]
        if count == 0:
            return
        mean = x.mean(1)
        deviation = x - mean[:, None]
        apart = mean - self._mean
        weight = self._count * count / (self._count + count)
        self._square += (deviation**2).sum(1) + apart**2 * weight
        self._cross += (deviation[0] * deviation[1]).sum(0) + apart[0] * apart[1] * weight
        self._mean += apart * count / (self._count + count)
        self._count += count
        self._low = np.minimum(self._low, x.min(1))
        self._high = np.maximum(self._high, x.max(1))

    def correlation(self) -> Correlation:
        """Pearson r of every neuron over all frames added."""
        constant = (self._low >= self._high).any(0)
        norm = np.sqrt(self._square[0] * self._square[1])
        value = np.divide(self._cross, norm, out=np.zeros_like(norm), where=~constant & (norm > 0))
        return Correlation(value, constant)


class SingleTrialCorrelation:
    """The benchmark's primary score (starter kit, ``utility/scores.py``).

    Per neuron, Pearson r between responses and predictions of all trials joined along time.
    """

    def __init__(self, neurons: int):
        self._sums = CorrelationSums(neurons)

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        del clip
        self._sums.add(response, prediction)

    def correlation(self) -> Correlation:
        """[N] over all trials added."""
        return self._sums.correlation()


class CorrelationToAverage:
    """Pearson r after averaging responses and predictions over the repeats of each clip.

    The clips' averages are joined along time: the analogue, for films, of the definition of
    SENSORIUM 2022 (``metrics.py`` of sinzlab/sensorium). Repeats may differ by a frame or two in
    length (flashed images); the average ends with the shortest.
    """

    def __init__(self, neurons: int):
        self._neurons = neurons
        self._sums: dict[str, np.ndarray] = {}  # clip -> [2 T N]
        self._repeats: dict[str, int] = {}

    def add(self, clip: str, response: np.ndarray, prediction: np.ndarray) -> None:
        """Add one trial of scored frames: response and prediction [T N]."""
        x = np.stack([response, prediction])
        if clip in self._sums:
            frames = min(x.shape[1], self._sums[clip].shape[1])
            self._sums[clip] = self._sums[clip][:, :frames] + x[:, :frames]
        else:
            self._sums[clip] = x.astype(np.float64)
        self._repeats[clip] = self._repeats.get(clip, 0) + 1

    def correlation(self) -> Correlation:
        """[N] over all clips added."""
        sums = CorrelationSums(self._neurons)
        for clip, total in self._sums.items():
            sums.add(*(total / self._repeats[clip]))
        return sums.correlation()
