"""Fields of nested dataclasses by their path: change one, compare records."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import typing
from typing import Any, TypeVar

from sensorium_jax.errors import UserError, hint

T = TypeVar("T")


def override(node: T, assignment: str) -> T:
    """Change one field of a dataclass, as in ``override(experiment, "model.core.channels=16")``.

    The value is a Python literal; any other text is a string.

    Raises:
        UserError: no such field (the message has the nearest names), or a value of another type.

    Examples:
        >>> from sensorium_jax.experiment import Data
        >>> override(Data(), "frames=60")
        Data(frames=60, trials=8, statistics='released')
        >>> override(Data(), "frame=60")
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: no field 'frame' in Data (of 'frame'); ...
    """
    path, equals, text = assignment.partition("=")
    if not equals:
        raise UserError(f"expected --set FIELD=VALUE, got {assignment!r}")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # too deep to be a value
        value = text
    return _replace(node, path.strip().split("."), value, path=path.strip())


def _replace(node: Any, names: list[str], value: Any, *, path: str) -> Any:
    name, *rest = names
    fields = settable_fields(node)
    if name not in fields:
        advice = hint(name, fields)
        raise UserError(f"no field {name!r} in {type(node).__name__} (of {path!r}); {advice}")
    current = getattr(node, name)
    if rest:
        value = _replace(current, rest, value, path=path)
    else:
        kind = typing.get_type_hints(type(node))[name]
        value = _check_value(current, value, kind, path=path)
    try:
        return dataclasses.replace(node, **{name: value})
    except (
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # a dataclass that checks its own fields
        raise UserError(f"{path}: {error}") from None


def _check_value(current: Any, value: Any, kind: Any, *, path: str) -> Any:
    """Check that ``value`` may replace ``current`` in a field annotated with ``kind``."""
    if dataclasses.is_dataclass(current):
        optional = type(None) in typing.get_args(kind)  # such as the shifter
        if value is None and optional:
            return None
        raise UserError(
            f"{path} is a {type(current).__name__}: set one of its fields "
            f"({', '.join(f'{path}.{f}' for f in settable_fields(current))})"
            f"{', or None for no such part' if optional else f', got {value!r}'}"
        )
    if kind is float and type(value) is int:
        return float(value)
    if not fits(value, kind):
        name = kind.__name__ if isinstance(kind, type) else kind
        raise UserError(
            f"expected a value of type {name} for {path}, like {current!r}; got {value!r}"
        )
    return value


def fits(value: Any, kind: Any) -> bool:
    """Whether a plain value has an annotated type; the dataclass checks Literals itself."""
    kinds = typing.get_args(kind)
    match typing.get_origin(kind):
        case None if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return isinstance(value, kind)
        case None:
            return type(value) is kind or (kind is float and type(value) is int)
        case typing.Literal:
            return type(value) in map(type, kinds)
        case builtins.tuple if isinstance(value, tuple):
            if kinds[-1] is ...:
                return all(fits(v, kinds[0]) for v in value)
            return len(value) == len(kinds) and all(map(fits, value, kinds))
        case builtins.tuple:
            return False
        case _:
            return any(fits(value, k) for k in kinds)


def settable_fields(node: Any) -> dict[str, Any]:
    """A dataclass's fields and values, without ``parent`` and ``name``, which flax adds to modules.

    Examples:
        >>> from sensorium_jax.models import shifters
        >>> settable_fields(shifters.MLP())
        {'layers': 3, 'hidden': 5}
    """
    if not dataclasses.is_dataclass(node):
        return {}
    return {
        f.name: getattr(node, f.name)
        for f in dataclasses.fields(node)
        if f.name not in ("parent", "name")
    }


def differences(a: Any, b: Any, *, path: str = "") -> list[str]:
    """Fields in which two records differ, as "path: a, here b".

    Examples:
        >>> differences({"seed": 0, "data": {"frames": 80}}, {"seed": 0, "data": {"frames": 60}})
        ['data.frames: 80, here 60']
    """
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return [] if a == b else [f"{path}: {a!r}, here {b!r}"]
    lines = []
    for key in dict.fromkeys([*a, *b]):
        key_path = f"{path}.{key}" if path else key
        lines += differences(a.get(key), b.get(key), path=key_path)
    return lines
