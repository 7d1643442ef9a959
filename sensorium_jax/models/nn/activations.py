"""Nonlinearities between layers, by name."""

from __future__ import annotations

from collections.abc import Callable

import jax

from sensorium_jax.types import Array

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "identity": lambda x: x,
}
NAMES = tuple(_FUNCTIONS)


def activation(name: str, shift: tuple[float, float] = (0.0, 0.0)) -> Callable[[Array], Array]:
    """The function y = f(x - shift[0]) + shift[1], elementwise.

    With "elu" it is neuralpredictors' ``AdaptiveELU``.

    Raises:
        ValueError: no nonlinearity of this name.

    Examples:
        >>> float(activation("elu", shift=(0.0, 1.0))(0.0))  # ELU(0) + 1
        1.0
        >>> float(activation("relu", shift=(1.0, 0.0))(3.0))
        2.0
    """
    if name not in _FUNCTIONS:
        raise ValueError(f"expected a nonlinearity of {', '.join(NAMES)}, got {name!r}")
    function, (x_shift, y_shift) = _FUNCTIONS[name], shift
    return lambda x: function(x - x_shift) + y_shift
