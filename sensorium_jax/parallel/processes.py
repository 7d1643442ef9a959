"""Several processes that run one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sensorium_jax.types import Array


def fetch(x: Array) -> np.ndarray:
    """An array on the host of every process."""
    if jax.process_count() == 1:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)


def any_process(flag: bool) -> bool:
    """Whether it is true in any process; all must ask together."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def in_turn(action: Callable[[], Any]) -> Any:
    """What ``action`` returns in this process; the first process is through before others begin."""
    if jax.process_index() > 0:
        multihost_utils.sync_global_devices("first process")
        return action()
    result = action()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("first process")
    return result
