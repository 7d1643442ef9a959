"""How likely responses are, frame by frame, where each is Poisson with the predicted rate.

    log L = sum y log p - p

of responses y and predictions p; log y! depends on the responses alone and is left out.
"""

from __future__ import annotations

import numpy as np

from sensorium_jax.scores.correlation import Defined, divide_defined


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
        found = divide_defined(gained, np.log(2) * response, above=0)
        defined = found.defined & ~self._impossible
        return Defined(np.where(defined, found.value, np.nan), defined)
