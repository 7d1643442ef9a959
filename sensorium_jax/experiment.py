"""An experiment is one frozen dataclass; overrides and the run record work on it by field name."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import difflib
import typing
from typing import Any, Literal

from sensorium_jax import cores, losses, modulators, optim, readouts, shifters
from sensorium_jax.errors import UserError
from sensorium_jax.model import Model

SEEDS = 1000  # seeds set aside for the members of an ensemble


@dataclasses.dataclass(frozen=True)
class Data:
    """What a training batch is made of.

    Attributes:
        frames: length of the random crops, in frames of 1/30 s.
        trials: crops of every session in one batch, over all devices.
        statistics: "released" normalises frame by frame, as the starter kit does, and by the
            numbers that came with the recording; "framewise" by the same, computed from the train
            tier; "pooled" by one mean and std over all frames.
    """

    frames: int = 80
    trials: int = 8
    statistics: Literal["released", "framewise", "pooled"] = "released"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides the outcome of a run, but the recording.

    Attributes:
        model: core, readout and shifter.
        data: batches.
        scaling: how the elementwise Poisson loss is reduced.
        optimizer: the update rule.
        plateau: when to lower the learning rate and when to stop.
        epoch_steps: optimiser steps between two scores on the oracle tier.
        max_epochs: the run ends after so many epochs at the latest.
        evaluation_trials: full-length trials of every session predicted at a time.
        seed: of the weights, the batches and the sampled readout positions.
        neuron_devices: devices that share the neurons of every mouse, each with the weights and the
            optimiser state of its own, for populations that one device cannot hold; trials are
            shared by all devices in any case.
        members: more than one trains an ensemble: that many models with seeds of their own, whose
            predictions are averaged.
    """

    model: Model
    data: Data = Data()
    scaling: losses.Scaling = losses.Scaling()
    optimizer: optim.AdamW = optim.AdamW()
    plateau: optim.Plateau = optim.Plateau()
    epoch_steps: int = 45
    max_epochs: int = 200
    evaluation_trials: int = 4
    seed: int = 0
    neuron_devices: int = 1
    members: int = 1

    def __post_init__(self):
        for name in ("members", "neuron_devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected at least 1 of {name}, got {getattr(self, name)}")
        warmup = self.model.core.warmup_frames
        if self.data.frames <= warmup:
            raise ValueError(
                f"expected data.frames above {warmup}, the frames that the core's kernels over "
                f"time take away, got {self.data.frames}"
            )


def members_of(experiment: Experiment) -> list[Experiment]:
    """The experiments of an ensemble's members, each with a seed that no other ensemble has."""
    seeds = range(experiment.seed * SEEDS, experiment.seed * SEEDS + experiment.members)
    return [dataclasses.replace(experiment, seed=seed, members=1) for seed in seeds]


def override(experiment: Experiment, assignment: str) -> Experiment:
    """Change one field, as in ``override(e, "model.core.channels=16")``.

    The value is a Python literal; a word that is none is a string.

    Raises:
        UserError: no such field (the nearest names are given), or a value of another type.
    """
    path, equals, text = assignment.partition("=")
    if not equals:
        raise UserError(f"expected --set FIELD=VALUE, got {assignment!r}")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    return _replace(experiment, path.strip().split("."), value, path=path.strip())


def _replace(node: Any, names: list[str], value: Any, *, path: str) -> Any:
    name, *rest = names
    fields = _fields(node)
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=3, cutoff=0.4)
        known = f"nearest: {', '.join(near)}" if near else f"fields: {', '.join(fields)}"
        raise UserError(f"no field {name!r} in {type(node).__name__} (of {path!r}); {known}")
    current = getattr(node, name)
    if rest:
        value = _replace(current, rest, value, path=path)
    else:
        hint = typing.get_type_hints(type(node))[name]
        value = _checked(current, value, hint, path=path)
    try:
        return dataclasses.replace(node, **{name: value})
    except ValueError as error:  # a dataclass that checks its own fields
        raise UserError(f"{path}: {error}") from None


def _checked(current: Any, value: Any, hint: Any, *, path: str) -> Any:
    """``value`` as a field's annotation ``hint`` wants it; ``current`` is what it replaces."""
    if dataclasses.is_dataclass(current):
        if value is None:  # an optional part, such as the shifter
            return None
        raise UserError(
            f"{path} is a {type(current).__name__}: set one of its fields "
            f"({', '.join(f'{path}.{f}' for f in _fields(current))}), or None to leave it out"
        )
    if hint is float and type(value) is int:
        return float(value)
    if not _fits(value, hint):
        name = hint.__name__ if isinstance(hint, type) else hint
        raise UserError(
            f"expected a value of type {name} for {path}, like {current!r}; got {value!r}"
        )
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type; Literals are left to the dataclass."""
    kinds = typing.get_args(hint)
    match typing.get_origin(hint):
        case None:
            return type(value) is hint
        case typing.Literal:
            return type(value) in map(type, kinds)
        case builtins.tuple if isinstance(value, tuple):
            if kinds[-1] is ...:
                return all(_fits(v, kinds[0]) for v in value)
            return len(value) == len(kinds) and all(map(_fits, value, kinds))
        case builtins.tuple:
            return False
        case _:
            return any(_fits(value, kind) for kind in kinds)


def _fields(node: Any) -> dict[str, Any]:
    """A dataclass's fields that a person sets: flax adds two of its own to every module."""
    if not dataclasses.is_dataclass(node):
        return {}
    return {
        f.name: getattr(node, f.name)
        for f in dataclasses.fields(node)
        if f.name not in ("parent", "name")
    }


def to_record(node: Any) -> Any:
    """An experiment as plain JSON values, from which ``from_record`` builds an equal one.

    Raises:
        UserError: a part of a class that records do not know.
    """
    if not dataclasses.is_dataclass(node):
        return node
    return {"type": _label(type(node)), **{k: to_record(v) for k, v in _fields(node).items()}}


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


def differences(a: Any, b: Any, *, path: str = "") -> list[str]:
    """Fields in which two records differ, as "path: a, here b"."""
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return [] if a == b else [f"{path}: {a!r}, here {b!r}"]
    found = []
    for key in dict.fromkeys([*a, *b]):
        where = f"{path}.{key}" if path else key
        found += differences(a.get(key), b.get(key), path=where)
    return found
