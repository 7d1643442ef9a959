"""Simulated mice: recordings in the release's raw layout, of neurons whose true rate is known.

``small`` writes mice that a model learns in minutes; ``release`` mice with the trial table of the
release, whose neurons (``calibration``) are distributed like the real ones (``measures``).
``population`` and ``neurons`` are the model of a neuron, ``behavior`` that of running, pupil and
gaze, ``layout`` the files.
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
