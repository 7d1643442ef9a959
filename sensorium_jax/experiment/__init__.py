"""What to run: a frozen dataclass, the fields that a person may change, and its record."""

from sensorium_jax.experiment.experiment import Data, Experiment, members_of
from sensorium_jax.experiment.fields import differences, override
from sensorium_jax.experiment.records import classes, from_record, register, to_record

__all__ = [
    "Data",
    "Experiment",
    "classes",
    "differences",
    "from_record",
    "members_of",
    "override",
    "register",
    "to_record",
]
