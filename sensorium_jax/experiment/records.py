"""Experiments as plain JSON values, and back: only classes of one table are ever built."""

from __future__ import annotations

import dataclasses
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.experiment import optim
from sensorium_jax.experiment.experiment import Data, Experiment
from sensorium_jax.experiment.fields import settable_fields
from sensorium_jax.models import Model, cores, losses, modulators, readouts, shifters


def to_record(node: Any) -> Any:
    """An experiment as plain JSON values, from which ``from_record`` builds an equal one.

    Raises:
        UserError: a part of a class that records do not know.
    """
    if not dataclasses.is_dataclass(node):
        return node
    return {
        "type": _label(type(node)),
        **{k: to_record(v) for k, v in settable_fields(node).items()},
    }


def from_record(record: Any) -> Any:
    """Build what ``to_record`` took apart, of the classes that records know and no others.

    Raises:
        UserError: a class that records do not know.
    """
    if isinstance(record, list):
        return tuple(map(from_record, record))
    if not isinstance(record, dict):
        return record
    label = record["type"]
    kind = classes().get(OLD_LABELS.get(label, label))
    if kind is None:
        raise UserError(
            f"expected a class that records know, found {label!r}; register a class of your own "
            f"with sensorium_jax.register, or use one of {', '.join(classes())}"
        )
    return kind(**{k: from_record(v) for k, v in record.items() if k != "type"})


def classes() -> dict[str, type]:
    """The classes that records may build, by public name."""
    modules = {
        "cores": cores,
        "readouts": readouts,
        "shifters": shifters,
        "modulators": modulators,
        "losses": losses,
        "optim": optim,
    }
    public = {
        f"{name}.{kind}": getattr(module, kind)
        for name, module in modules.items()
        for kind in module.__all__
        if dataclasses.is_dataclass(getattr(module, kind))
    }
    return {"Experiment": Experiment, "Model": Model, "experiment.Data": Data} | public | _OWN


def register(kind: type) -> type:
    """Let records build a dataclass of your own, such as a core; also a decorator.

    It is recorded by its module and name: a process that opens the run registers it first.

    Raises:
        UserError: it is no dataclass (flax modules are).
    """
    if not dataclasses.is_dataclass(kind):
        raise UserError(f"expected a dataclass to register, got {kind!r}")
    _OWN[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return kind


_OWN: dict[str, type] = {}  # classes that a user registered
# What runs and weights written before version 0.2 call the classes: the module that they were in.
OLD_LABELS = {
    "experiment.Experiment": "Experiment",
    "model.Model": "Model",
    "cores.equivariant.RotationEquivariant": "cores.RotationEquivariant",
    "cores.factorized.Factorized3D": "cores.Factorized3D",
    "cores.full3d.Full3D": "cores.Full3D",
    "cores.stacked.Stacked2D": "cores.Stacked2D",
    "nn.recurrent.ConvGRU": "cores.ConvGRU",
    "nn.penalties.Laplace": "cores.Laplace",
    "readouts.factorized.Factorized": "readouts.Factorized",
    "readouts.gaussian.Gaussian": "readouts.Gaussian",
}


def _label(kind: type) -> str:
    """The name by which records know a class."""
    for label, known in classes().items():
        if known is kind:
            return label
    raise UserError(
        f"expected classes that records know, got {kind.__module__}.{kind.__qualname__}; register "
        "it with sensorium_jax.register, so that the run can be opened again"
    )
