"""Models: from normalised videos to rates. The only package that imports flax.

A model is a dataclass and pure functions; see ``model.py``. ``cores``, ``readouts``, ``shifters``
and ``modulators`` are its parts, ``nn`` the layers of these parts, ``losses`` the training loss.
"""

from flax.errors import ScopeParamShapeError as ParamShapeError  # weights of another shape

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
    mouse_keys,
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
    "mouse_keys",
    "normalise_inputs",
    "normalise_response",
    "penalty",
    "rate_of_drive",
    "response_std",
    "select_sessions",
]
