"""Bootstrap intervals of a score, over clips and neurons of the same mice.

    resampled score = r + s (r* - <r*>) + (r** - r*)

for the score r of all clips and neurons, r* of resampled clips, r** of resampled clips and neurons,
and a stretch s for the number of clips (``_stretches``). Clips (with all their repeats) and neurons
are resampled with replacement within each mouse (Efron & Tibshirani 1993, "An introduction to the
bootstrap"). The interval is that of the mean score on as many other clips. With the few clips of a
test tier it is rough, and it does not cover other mice or other seeds of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from sensorium_jax.scores.correlation import correlate

DRAWS = 1000
LEVEL = 0.95
_BLOCK_DRAWS = 50  # computed together; bounds memory: 50 x 6 x 8,000 numbers


def bootstrap(sessions: Sequence[np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Correlations, mean over neurons, of resampled clips and neurons: [draws].

    The same seed resamples the same clips and neurons, so the draws of the difference between two
    models on the same trials are the difference of their draws.

    The mean score of resampled clips is biased, and with few clips the scores vary too little: they
    are centred on the score of all clips and stretched.

    Args:
        sessions: moments [K 6 N] of each session's K clips (``clip_moments`` of
            ``SingleTrialCorrelation`` or ``Repeats``).
        draws: number of resampled scores.
        seed: of the random numbers.

    Returns:
        Resampled scores [draws].

    Examples:
        Two clips with the same moments (y = -1, 0, 1 and p = 2 y) leave nothing to vary:

        >>> clip = np.array([3, 0, 0, 2, 8, 4.0])[:, None]  # [6 N] of one neuron
        >>> draws = bootstrap([np.stack([clip, clip])], draws=100)
        >>> draws.shape, [round(x, 6) for x in interval(draws)]
        ((100,), [1.0, 1.0])
    """
    total = np.zeros(draws)
    stretches = _stretches([len(clips) for clips in sessions])
    for index, (clips, stretch) in enumerate(zip(sessions, stretches, strict=True)):
        clip_scores, scores = _draw(clips, draws, np.random.default_rng((seed, index)))
        score = correlate(clips.sum(0)).sum()
        total += score + stretch * (clip_scores - clip_scores.mean()) + scores - clip_scores
    return total / sum(clips.shape[2] for clips in sessions)


def _draw(clips: np.ndarray, draws: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Correlations summed over neurons: of resampled clips, and of clips and neurons; [draws]."""
    count, _, neurons = clips.shape
    scores = np.zeros((2, draws))
    for first in range(0, draws, _BLOCK_DRAWS):
        block = slice(first, min(first + _BLOCK_DRAWS, draws))
        d = block.stop - block.start
        clip_counts = rng.multinomial(count, np.full(count, 1 / count), d)
        neuron_counts = rng.multinomial(neurons, np.full(neurons, 1 / neurons), d)
        values = correlate(np.tensordot(clip_counts, clips, 1))  # [d N]
        scores[:, block] = values.sum(1), (values * neuron_counts).sum(1)
    return scores[0], scores[1]


def _stretches(clips: Sequence[int]) -> np.ndarray:
    """Factor that widens the bootstrap distribution over K clips, for each session.

        s = sqrt(K / (K - 1)) t / z

    sqrt(K / (K - 1)), since the variance of K resampled numbers is too small by that factor;
    Student's quantile t over the normal quantile z, since that variance is an estimate (Hesterberg
    2015, "What teachers should know about the bootstrap", The American Statistician 69:371, on
    narrowness bias). In a session with a single clip, only neurons are resampled.
    """
    k = np.asarray(clips, float)
    freedom = (k - 1).sum()
    if not freedom:
        return np.ones(len(k))
    tail = 0.5 * (1 + LEVEL)
    narrowness = np.sqrt(k / np.maximum(k - 1, 1))
    return narrowness * stdtrit(freedom, tail) / ndtri(tail)


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The 2.5th and the 97.5th percentile of resampled scores [draws]: a 95 % interval.

    Examples:
        >>> low, high = interval(np.arange(1001))
        >>> round(low, 6), round(high, 6)
        (25.0, 975.0)
    """
    low, high = np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
