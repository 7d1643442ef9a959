"""Small files: read with a clear word when damaged, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """A place beside ``path`` to write to, renamed at the end: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.partial")
    yield beside
    beside.replace(path)


def write_json(path: Path, values: Any) -> None:
    """Write JSON values, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n")
