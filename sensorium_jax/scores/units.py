"""Units of a score: what responses and predictions are divided by before they are correlated.

    official: y_n(t) / std_n(t)    the released std of every neuron and frame, over train trials
    raw:      y_n(t) / std_n       one number a neuron, which changes no correlation

The benchmark publishes official scores. Both sides of such a correlation are divided by the same
noisy std_n(t), so that a prediction that knows nothing scores above 0: the *floor* is the official
score of each neuron's mean rate,

    floor_n = corr(y_n(t) / std_n(t), 1 / std_n(t)).

It falls with the number of trials that make the std, and rises with the sparseness of responses
(``docs/floor.md``). In raw units a constant rate scores 0. Everything that measures signal and
noise exists in raw units only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError, hint

if TYPE_CHECKING:
    from sensorium_jax.data.recordings import Recordings  # loads tensorstore

OFFICIAL, RAW = UNITS = "official", "raw"
FEWEST_TRIALS = 100  # train trials below which official scores are mostly floor (docs/floor.md)
_RELEASE = {protocol.short_name(name) for name in protocol.SESSIONS.values()}


def check_units(units: str) -> str:
    """The units, or ``UserError`` where there are no such.

    Examples:
        >>> check_units("offical")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no units 'offical'; did you mean official?
    """
    if units not in UNITS:
        raise UserError(f"no units {units!r}; {hint(units, UNITS)}")
    return units


def default_units(recordings: Recordings) -> str:
    """ "official" for mice of the release with the statistics that came with them; else "raw".

    Small simulated mice have the release's names, but too few train trials (``FEWEST_TRIALS``).
    """
    released = all(
        protocol.short_name(s.name) in _RELEASE and s.has_released for s in recordings.sessions
    )
    return OFFICIAL if released and std_trials(recordings) >= FEWEST_TRIALS else RAW


def warnings_of(units: str, trials: int | None) -> list[str]:
    """A line of warning for official scores whose std is that of few ``trials``; else none.

    Examples:
        >>> warnings_of("official", 4)
        ['Warning: 4 train trials make the std: these scores are high for any model.']
        >>> warnings_of("official", 350), warnings_of("raw", 4)
        ([], [])
    """
    if units == RAW or trials is None or trials >= FEWEST_TRIALS:
        return []
    return [f"Warning: {trials} train trials make the std: these scores are high for any model."]


def std_trials(recordings: Recordings) -> int:
    """The number of train trials that make the released std, in the mouse with the fewest."""
    tiers = (s.trials.tier for s in recordings.sessions)
    return min(int(np.sum(tier == protocol.TRAIN)) for tier in tiers)
