"""Experiments as JSON records, and back; only classes of one table are built from a record."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.experiment import optim
from sensorium_jax.experiment.experiment import Data, Experiment, Training
from sensorium_jax.experiment.fields import fits, settable_fields
from sensorium_jax.models import Model, cores, losses, modulators, readouts, shifters


def to_record(node: Any) -> Any:
    """An experiment as JSON values; ``from_record`` builds an equal experiment from them.

    Raises:
        UserError: a part whose class is not in ``classes()``.

    Examples:
        >>> to_record(Data(frames=60))
        {'type': 'experiment.Data', 'frames': 60, 'trials': 8, 'statistics': 'released'}
    """
    if not dataclasses.is_dataclass(node):
        return node
    return {
        "type": _label(type(node)),
        **{k: to_record(v) for k, v in settable_fields(node).items()},
    }


def from_record(record: Any) -> Any:
    """The experiment of a record that ``to_record`` made.

    Raises:
        UserError: a class that is not in ``classes()``, or a field of another name or type.

    Examples:
        >>> from_record(to_record(Data(frames=60))) == Data(frames=60)
        True
        >>> from_record({"type": "os.system", "command": "ls"})
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: expected a class that records know, found 'os.system'; ...
    """
    if isinstance(record, list):
        return tuple(map(from_record, record))
    if not isinstance(record, dict):
        return record
    label = record.get("type")
    kind = classes().get(OLD_LABELS.get(label, label)) if isinstance(label, str) else None
    if kind is None:
        raise UserError(
            f"expected a class that records know, found {label!r}; register a class of your own "
            f"with sensorium_jax.register, or use one of {', '.join(classes())}"
        )
    values = {k: from_record(v) for k, v in record.items() if k != "type"}
    if kind is Experiment:
        values.setdefault("units", "official")  # before version 0.2 there were no others
    try:
        _check_types(kind, values)
        return kind(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{label}: {error}") from None


def _check_types(kind: type, values: dict[str, Any]) -> None:
    """Raise ``ValueError`` for a value of another type than its field's, in a class of ours."""
    types = {} if kind in _REGISTRY.values() else typing.get_type_hints(kind)
    for name, value in values.items():
        if name in types and not fits(value, types[name]):
            raise ValueError(f"expected {name} of another type, got {value!r}")


def classes() -> dict[str, type]:
    """The classes that can be built from records, by label.

    Examples:
        >>> classes()["readouts.Gaussian"].__name__
        'Gaussian'
    """
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
    experiments = {"Experiment": Experiment, "Model": Model}
    experiments |= {f"experiment.{kind.__name__}": kind for kind in (Data, Training)}
    return experiments | public | _REGISTRY


def register(kind: type) -> type:
    """Add a dataclass, such as a core, to the classes of records; also a decorator.

    Its label is its module and name. A process that opens a run with it must register it first.

    Raises:
        UserError: it is no dataclass (flax modules are dataclasses).

    Examples:
        >>> register(dict)
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: expected a dataclass to register, got <class 'dict'>
    """
    if not dataclasses.is_dataclass(kind):
        raise UserError(f"expected a dataclass to register, got {kind!r}")
    _REGISTRY[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return kind


_REGISTRY: dict[str, type] = {}  # filled by ``register``
# Labels in runs and weights that were written before version 0.2: the classes' modules then.
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
    """The label of a class in records."""
    for label, cls in classes().items():
        if cls is kind:
            return label
    raise UserError(
        f"expected classes that records know, got {kind.__module__}.{kind.__qualname__}; register "
        "it with sensorium_jax.register, so that the run can be opened again"
    )
