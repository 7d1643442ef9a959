"""How far a score would move with other clips and other neurons of the same mice.

Clips (with all their repeats) and neurons are drawn again with replacement, within each mouse
(Efron & Tibshirani 1993, "An introduction to the bootstrap"). What draws of few clips lack in width
is given back, and intervals are about the score itself: they are for the mean score of as many
other clips. With the few clips of a test tier they are rough all the same, and they say nothing
about other mice or other seeds of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from sensorium_jax.scores.correlation import correlate

DRAWS = 1000
LEVEL = 0.95
_AT_ONCE = 50  # draws; bounds memory: 50 x 6 x 8,000 numbers


def bootstrap(sessions: Sequence[np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """A correlation, mean over neurons, of new draws of clips and neurons.

    The same seed draws the same clips and neurons: the difference between two models on the same
    trials is the difference of what this returns for them.

    Scores of clips drawn again lie below or above the score of all, and, of few, too close
    together: their part is centred on the score and stretched.

    Args:
        sessions: moments [K 6 N] of each session's clips (``clip_moments`` of ``metrics``'
            ``SingleTrialCorrelation`` or ``Repeats``).
        draws: how many.
        seed: of the draws.

    Returns:
        [draws].
    """
    total = np.zeros(draws)
    stretches = _stretches([len(clips) for clips in sessions])
    for index, (clips, stretch) in enumerate(zip(sessions, stretches, strict=True)):
        of_clips, of_both = _draw(clips, draws, np.random.default_rng((seed, index)))
        score = correlate(clips.sum(0)).sum()
        total += score + stretch * (of_clips - of_clips.mean()) + of_both - of_clips
    return total / sum(clips.shape[2] for clips in sessions)


def _draw(clips: np.ndarray, draws: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Correlations summed over neurons, of new clips and of new clips and neurons: [draws] each."""
    count, _, neurons = clips.shape
    found = np.zeros((2, draws))
    for first in range(0, draws, _AT_ONCE):
        some = slice(first, min(first + _AT_ONCE, draws))
        d = some.stop - some.start
        of_clips = rng.multinomial(count, np.full(count, 1 / count), d)
        of_neurons = rng.multinomial(neurons, np.full(neurons, 1 / neurons), d)
        values = correlate(np.tensordot(of_clips, clips, 1))  # [d N]
        found[:, some] = values.sum(1), (values * of_neurons).sum(1)
    return found[0], found[1]


def _stretches(clips: Sequence[int]) -> np.ndarray:
    """What draws of K clips lack, for each session.

    sqrt(K / (K - 1)), since the variance of K numbers drawn again is that much too small; times
    Student's t over the normal quantile, since that variance is an estimate (Hesterberg 2015, "What
    teachers should know about the bootstrap", The American Statistician 69:371, on narrowness
    bias). One clip says nothing about clips: where a session has no more, neurons alone are drawn.
    """
    k = np.asarray(clips, float)
    freedom = (k - 1).sum()
    if not freedom:
        return np.ones(len(k))
    tail = 0.5 * (1 + LEVEL)
    lacking = np.sqrt(k / np.maximum(k - 1, 1))
    return lacking * stdtrit(freedom, tail) / ndtri(tail)


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Percentiles between which 95 of 100 draws lie."""
    low, high = np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
