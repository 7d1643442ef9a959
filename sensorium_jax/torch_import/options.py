"""The starter kit's dictionaries of options, each key accounted for.

Defaults are those of neuralpredictors' classes (a2055cd), which the published models were
trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium_jax.errors import UserError

REQUIRED = object()


def read(
    where: str,
    given: Mapping[str, Any] | None,
    *,
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any] | None = None,
    ignored: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Options with their defaults.

    Args:
        where: the dictionary's name, for errors.
        given: it.
        defaults: of the options that are supported; ``REQUIRED`` for those without.
        fixed: options of which one value is supported.
        ignored: options that change neither predictions nor penalties.

    Raises:
        UserError: an option is missing, or one is not supported.
    """
    given, fixed = dict(given or {}), fixed or {}
    for name, value in given.items():
        if name in fixed and not _same(value, fixed[name]):
            raise refused(where, name, value, f"only {fixed[name]!r} is")
        if name not in defaults and name not in fixed and name not in ignored:
            raise refused(where, name, value, f"known: {', '.join(sorted(defaults))}")
    options = {name: given.get(name, default) for name, default in defaults.items()}
    missing = [name for name, value in options.items() if value is REQUIRED]
    if missing:
        raise UserError(
            f"expected {where}[{missing[0]!r}], found {', '.join(given) or 'no option'}"
        )
    return options


def refused(where: str, name: str, value: Any, why: str) -> UserError:
    """The error of an option that is not supported."""
    return UserError(f"{where}[{name!r}] = {value!r} is not supported; {why}")


def per_layer(where: str, name: str, value: Any, layers: int) -> tuple[Any, ...]:
    """One value for all layers, or a list with one each."""
    if not isinstance(value, (list, tuple)):
        return (value,) * layers
    if len(value) != layers:
        raise UserError(f"expected {layers} values in {where}[{name!r}], found {value!r}")
    return tuple(value)


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a size that may be one number."""
    rows, columns = value if isinstance(value, (list, tuple)) else (value, value)
    return int(rows), int(columns)


def _same(value: Any, wanted: Any) -> bool:
    return value == wanted or (not value and not wanted)
