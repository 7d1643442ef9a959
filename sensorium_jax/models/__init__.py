"""From normalised films to rates: the one wing that knows flax.

A model is data plus pure functions; see ``model.py``. ``cores``, ``readouts``, ``shifters`` and
``modulators`` are its parts, ``nn`` the layers that they are made of, ``losses`` what it is trained
with.
"""

from flax.errors import ScopeParamShapeError as ParamShapeError  # weights of another size

from sensorium_jax.models.inputs import (
    SIGNALS,
    normalise_inputs,
    normalise_response,
    response_std,
)
from sensorium_jax.models.model import (
    Model,
    apply,
    drive_of_rate,
    forward,
    init,
    penalty,
    rate_of_drive,
    select_sessions,
)
from sensorium_jax.models.parts import Core, Modulator, Readout, Shifter

__all__ = [
    "SIGNALS",
    "Core",
    "Model",
    "Modulator",
    "ParamShapeError",
    "Readout",
    "Shifter",
    "apply",
    "drive_of_rate",
    "forward",
    "init",
    "normalise_inputs",
    "normalise_response",
    "penalty",
    "rate_of_drive",
    "response_std",
    "select_sessions",
]
