"""Simulated mice: recordings in the release's raw layout, from neurons whose truth is known.

``small.py`` writes mice that a model learns in minutes; ``release.py`` mice with the trial table of
the release, whose neurons (``calibration.py``) have the distributions of the real ones
(``measures.py``). ``neurons.py`` and ``behavior.py`` are what all of them are made of.
"""

from sensorium_jax.simulate.small import (
    DEMO,
    VERSION,
    SessionPlan,
    session_name,
    trial_count,
    write_recording,
    write_session,
)

__all__ = [
    "DEMO",
    "VERSION",
    "SessionPlan",
    "session_name",
    "trial_count",
    "write_recording",
    "write_session",
]
