"""Small files: read with a clear word when damaged, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError


def read_json(path: Path, *, advice: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Parse a JSON file of one object that has these keys.

    Raises:
        UserError: it is missing, damaged, or holds something else; the message ends with ``advice``.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected {path}, which is missing; {advice}") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8
        raise UserError(f"expected JSON in {path}, which is damaged ({error}); {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"expected a JSON object in {path}, found {type(value).__name__}; {advice}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise UserError(f"expected {', '.join(missing)} in {path}, found no such key; {advice}")
    return value


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
