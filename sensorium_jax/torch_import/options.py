"""The starter kit's dictionaries of options, in which every key must be known.

Defaults are those of neuralpredictors' classes (a2055cd), which the published models were
trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium_jax.errors import UserError

REQUIRED = object()


def read_options(
    dictionary: str,
    options: Mapping[str, Any] | None,
    *,
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any] | None = None,
    ignored: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Options of a dictionary, with defaults for those that are missing.

    Args:
        dictionary: the name of the dictionary, for errors.
        options: the dictionary.
        defaults: of the supported options; ``REQUIRED`` for options without a default.
        fixed: options for which only this value is supported.
        ignored: options that change neither predictions nor penalties.

    Raises:
        UserError: an option is missing or not supported.

    Examples:
        >>> read_options("core_dict", {"layers": 4}, defaults={"layers": 3, "stride": 1})
        {'layers': 4, 'stride': 1}
    """
    options, fixed = dict(options or {}), fixed or {}
    for name, value in options.items():
        if name in fixed and not _same(value, fixed[name]):
            raise unsupported(dictionary, name, value, f"only {fixed[name]!r} is")
        if name not in defaults and name not in fixed and name not in ignored:
            raise unsupported(dictionary, name, value, f"known: {', '.join(sorted(defaults))}")
    values = {name: options.get(name, default) for name, default in defaults.items()}
    missing = [name for name, value in values.items() if value is REQUIRED]
    if missing:
        raise UserError(
            f"expected {dictionary}[{missing[0]!r}], found {', '.join(options) or 'no option'}"
        )
    return values


def unsupported(dictionary: str, name: str, value: Any, reason: str) -> UserError:
    """The error for an option that is not supported."""
    return UserError(f"{dictionary}[{name!r}] = {value!r} is not supported; {reason}")


def per_layer(dictionary: str, name: str, value: Any, layers: int) -> tuple[Any, ...]:
    """The values of an option for every layer, from a list or from one value for all.

    Examples:
        >>> per_layer("core_dict", "hidden_kern", 3, layers=2)
        (3, 3)
    """
    if not isinstance(value, (list, tuple)):
        return (value,) * layers
    if len(value) != layers:
        raise UserError(f"expected {layers} values in {dictionary}[{name!r}], found {value!r}")
    return tuple(value)


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a size, from two numbers or from one for both."""
    rows, columns = value if isinstance(value, (list, tuple)) else (value, value)
    return int(rows), int(columns)


def _same(a: Any, b: Any) -> bool:
    return a == b or (not a and not b)
