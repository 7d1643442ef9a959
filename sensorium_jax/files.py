"""Small files: read with a clear word when damaged, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError


def read_json(path: Path, *, advice: str) -> Any:
    """Parse a JSON file that this package wrote.

    Raises:
        UserError: it is missing or damaged; the message ends with ``advice``.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"expected {path}, which is missing; {advice}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"expected JSON in {path}, which is damaged ({error}); {advice}") from None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to, renamed at the end: a reader never sees half a file.

    When writing fails, what was written is removed, and ``path`` is as it was.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON, whole or not at all; see ``plain``."""
    with whole_file(path) as beside:
        beside.write_text(json.dumps(plain(values), indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Values as JSON has them: lists, NumPy numbers as Python's, null for what is not finite.

    Examples:
        >>> plain({"a": (1, float("nan")), "b": np.float32(0.5)})
        {'a': [1, None], 'b': 0.5}
    """
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
