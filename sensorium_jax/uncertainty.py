"""How far a score would move with other clips and other neurons of the same mice.

Clips (with all their repeats) and neurons are drawn again with replacement, within each mouse
(Efron & Tibshirani 1993, "An introduction to the bootstrap"). With the few clips of a test tier the
intervals are rough, and they say nothing about other mice or other seeds of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium_jax.metrics import correlate

DRAWS = 1000
_AT_ONCE = 50  # draws; bounds memory: 50 x 6 x 8,000 numbers


def bootstrap(sessions: Sequence[np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Single-trial correlation, mean over neurons, of new draws of clips and neurons.

    The same seed draws the same clips and neurons: the difference between two models on the same
    trials is the difference of what this returns for them.

    Args:
        sessions: moments [K 6 N] of each session's clips (``SingleTrialCorrelation``).
        draws: how many.
        seed: of the draws.

    Returns:
        [draws].
    """
    totals = np.zeros(draws)
    for index, clips in enumerate(sessions):
        rng = np.random.default_rng((seed, index))
        count, _, neurons = clips.shape
        for first in range(0, draws, _AT_ONCE):
            some = slice(first, min(first + _AT_ONCE, draws))
            d = some.stop - some.start
            of_clips = rng.multinomial(count, np.full(count, 1 / count), d)
            of_neurons = rng.multinomial(neurons, np.full(neurons, 1 / neurons), d)
            values = correlate(np.tensordot(of_clips, clips, 1))  # [d N]
            totals[some] += (values * of_neurons).sum(1)
    return totals / sum(clips.shape[2] for clips in sessions)


def interval(draws: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Percentiles between which a share ``level`` of the draws lies."""
    low, high = np.percentile(draws, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
