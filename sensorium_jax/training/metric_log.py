"""Log of a run's metrics: JSON lines, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jax

from sensorium_jax.files import read_json_lines, whole_file


class MetricLog:
    """Appends to ``<workdir>/metrics.jsonl``; only process 0 writes."""

    def __init__(self, workdir: Path):
        self._writes = jax.process_index() == 0
        self._path = workdir / "metrics.jsonl"
        self._board = _tensorboard(workdir) if self._writes else None

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log the values of a step."""
        if not self._writes:
            return
        record = {"step": step, "time": round(time.time(), 3), **values}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def forget_after(self, step: int) -> None:
        """Remove damaged lines and those of later steps, which a resumed run computes again."""
        if not (self._writes and self._path.exists()):
            return
        kept = [r for r in read_json_lines(self._path) if r["step"] <= step]
        with whole_file(self._path) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in kept))


def _tensorboard(workdir: Path):
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:  # the extra is not installed; the JSON lines hold the same numbers
        return None
    return SummaryWriter(str(workdir / "tensorboard"))
