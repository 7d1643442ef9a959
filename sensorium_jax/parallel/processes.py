"""Communication between the processes of a distributed run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sensorium_jax.types import Array


def fetch(x: Array) -> np.ndarray:
    """The full array as NumPy, on every process.

    Examples:
        >>> fetch(jax.numpy.arange(3)).tolist()
        [0, 1, 2]
    """
    if jax.process_count() == 1:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true in any process; every process must call it.

    Examples:
        >>> any_process(False)
        False
    """
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def first_process_first(action: Callable[[], Any]) -> Any:
    """Call ``action`` in every process: in the first one, and then in the others.

    Returns:
        The result in this process.

    Examples:
        >>> first_process_first(lambda: "result")
        'result'
    """
    if jax.process_index() > 0:
        multihost_utils.sync_global_devices("first process")
        return action()
    result = action()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("first process")
    return result
