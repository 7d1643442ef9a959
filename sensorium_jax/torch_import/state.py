"""A PyTorch state dict, every tensor of which must be read exactly as the options say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sensorium_jax.errors import UserError, hint

ANY = -1  # in an expected shape: any length
# Buffers that the options determine: filters of penalties, Hermite functions, counters.
DERIVED = ("num_batches_tracked", "laplace.filter", "gaussian2d")
HERMITE = ".rotate_hermite."


class StateDict:
    """Arrays by name; every array must be taken, with the shape that the options determine.

    Examples:
        >>> state = StateDict({"core.bias": np.zeros(3)})
        >>> state.take("core.bias", 3).dtype.name
        'float32'
        >>> state.take("core.bias", 4)
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected core.bias of shape (4), as the options say; ...
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        if not arrays:
            raise UserError("expected a state dict, name -> array; found no entry")
        # Names of a model that is wrapped for several GPUs have one more prefix.
        wrapped = all(name.startswith("module.") for name in arrays)
        self._arrays = {
            name.removeprefix("module.") if wrapped else name: np.asarray(x)
            for name, x in arrays.items()
            if not name.endswith(DERIVED) and HERMITE not in name
        }
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def names(self, prefix: str = "") -> list[str]:
        """All names that begin with ``prefix``."""
        return [name for name in self._arrays if name.startswith(prefix)]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without taking it."""
        return self._arrays[name].shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The array of this name, float32.

        Raises:
            UserError: it is missing, or of another shape (``ANY`` fits every length).
        """
        if name not in self:
            raise UserError(
                f"expected {name} of shape {_text(shape)} in the state dict, found none "
                f"({hint(name, self._arrays)}); check the options against the trained model's"
            )
        array = self._arrays[name]
        fits = len(array.shape) == len(shape) and all(
            expected in (ANY, length) for expected, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"expected {name} of shape {_text(shape)}, as the options say; found "
                f"{_text(array.shape)} in the state dict"
            )
        self._used.add(name)
        return array.astype(np.float32)

    def take_optional(self, name: str, *shape: int) -> np.ndarray | None:
        """``take``, or None if there is no array of this name."""
        return self.take(name, *shape) if name in self else None

    def check_all_taken(self) -> None:
        """Check that every array was taken.

        Raises:
            UserError: some arrays were not; the message names them.
        """
        unused = [name for name in self._arrays if name not in self._used]
        if unused:
            raise UserError(
                f"expected the options to explain the whole state dict; {len(unused)} left over: "
                f"{_list_shapes(self, unused)}"
            )


def _list_shapes(state: StateDict, names: Iterable[str], limit: int = 8) -> str:
    """Names with their shapes, up to ``limit`` of them."""
    names = list(names)
    text = ", ".join(f"{name} {_text(state.shape(name))}" for name in names[:limit])
    return text + (", ..." if len(names) > limit else "")


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join("any" if n == ANY else str(n) for n in shape) + ")"
