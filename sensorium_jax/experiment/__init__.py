"""Experiments: a frozen dataclass of all options, functions that change fields, JSON records."""

from sensorium_jax.experiment.experiment import Data, Experiment, Training, members_of
from sensorium_jax.experiment.fields import differences, override
from sensorium_jax.experiment.records import classes, from_record, register, to_record

__all__ = [
    "Data",
    "Experiment",
    "Training",
    "classes",
    "differences",
    "from_record",
    "members_of",
    "override",
    "register",
    "to_record",
]
