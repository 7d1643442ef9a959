"""A PyTorch state dict, taken apart tensor by tensor; what is left over was not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sensorium_jax.errors import UserError, hint

ANY = -1  # a length that only the state dict knows
# Buffers that follow from the options: filters of penalties, Hermite functions, counters.
DERIVED = ("num_batches_tracked", "laplace.filter", "gaussian2d")
HERMITE = ".rotate_hermite."


class StateDict:
    """Arrays by name. Every name must be taken once, with the shape that the options say."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        if not arrays:
            raise UserError("expected a state dict, name -> array; found no entry")
        # A model wrapped for several GPUs has one more name in front.
        wrapped = all(name.startswith("module.") for name in arrays)
        self._arrays = {
            name.removeprefix("module.") if wrapped else name: np.asarray(x)
            for name, x in arrays.items()
            if not name.endswith(DERIVED) and HERMITE not in name
        }
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def names(self, prefix: str = "") -> list[str]:
        """All names that begin with ``prefix``."""
        return [name for name in self._arrays if name.startswith(prefix)]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; it counts as taken only by ``take``."""
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
            wanted in (ANY, length) for wanted, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"expected {name} of shape {_text(shape)}, as the options say; found "
                f"{_text(array.shape)} in the state dict"
            )
        self._taken.add(name)
        return array.astype(np.float32)

    def take_if_there(self, name: str, *shape: int) -> np.ndarray | None:
        """As ``take``, or None."""
        return self.take(name, *shape) if name in self else None

    def check_all_taken(self) -> None:
        """Raise a ``UserError`` that names what the options leave over."""
        left = [name for name in self._arrays if name not in self._taken]
        if left:
            raise UserError(
                f"expected the options to explain the whole state dict; {len(left)} left over: "
                f"{shapes_of(self, left)}"
            )


def shapes_of(state: StateDict, names: Iterable[str], most: int = 8) -> str:
    """Names with their shapes, the first few."""
    names = list(names)
    shown = ", ".join(f"{name} {_text(state.shape(name))}" for name in names[:most])
    return shown + (", ..." if len(names) > most else "")


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join("any" if n == ANY else str(n) for n in shape) + ")"
