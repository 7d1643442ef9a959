"""What a training step costs, against trials, frames, neurons and mice.

    python benchmarks/cost.py [--rounds 3] [--json FILE] [--plot FILE]

The demo-size GRU baseline on random numbers, one size varied at a time, all sizes in turn in every
round; medians. Also how often the step of ten mice is compiled for batches that differ: once.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import record
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sharding import random_inputs

from sensorium_jax import models, parallel
from sensorium_jax.configs.gru_baseline import demo
from sensorium_jax.models import losses
from sensorium_jax.pages import page
from sensorium_jax.types import TrainState

BASE = {"trials": 4, "frames": 30, "neurons": 500, "mice": 2}
SWEEPS = {
    "trials": (1, 2, 4, 8),
    "frames": (10, 30, 60, 120),
    "neurons": (125, 500, 2000, 8000),
    "mice": (1, 2, 5, 10),
}


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times every step runs (default 3)")
    record.add_flags(parser)
    flags = parser.parse_args()
    sizes = [BASE | {name: value} for name, values in SWEEPS.items() for value in values]
    sizes = [dict(pairs) for pairs in dict.fromkeys(tuple(s.items()) for s in sizes)]
    seconds, compiled = measure(sizes, flags.rounds)
    found = [
        size | {"seconds": float(np.median(t))} for size, t in zip(sizes, seconds, strict=True)
    ]
    Console().print(table(found))
    print(f"ten mice, {flags.rounds + 1} different batches: compiled {compiled} time(s)")
    record.write(flags, {"steps": found, "compiled": compiled}, draw)


def measure(sizes: list[dict[str, int]], rounds: int) -> tuple[list[list[float]], int]:
    """Seconds of a step of every size, by round; and how often that of most mice was compiled."""
    steps = [Step(**size) for size in sizes]
    for step in steps:
        step()
    seconds = [[step() for step in steps] for _ in range(rounds)]
    most = max(steps, key=lambda step: step.mice)
    return [list(t) for t in zip(*seconds, strict=True)], most.program._cache_size()


class Step:
    """A training step of one size."""

    def __init__(self, **size: int):
        self.mice, self.size = size["mice"], size
        self.mesh = parallel.make_mesh(1)
        batch, neurons, statistics = random_inputs(**size)
        optimizer = demo.optimizer.make(100)
        params = models.init(demo.model, jax.random.key(0), batch, neurons)
        state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
        self.state = parallel.place_state(state, demo.model, optimizer, self.mesh)
        rest = neurons, statistics, jax.random.key(1), jnp.float32(1)
        self.rest = parallel.replicate(rest, self.mesh)
        self.program = parallel.make_train_step(demo.model, losses.Scaling(), optimizer, self.mesh)
        self.seed = 0

    def __call__(self) -> float:
        """Seconds of a step with a new batch, its way to the device not counted."""
        self.seed += 1
        batch, _, _ = random_inputs(**self.size, seed=self.seed)
        batch = jax.block_until_ready(parallel.shard_batch(batch, self.mesh))
        began = time.perf_counter()
        self.state, _ = jax.block_until_ready(self.program(self.state, batch, *self.rest))
        return time.perf_counter() - began


def table(found: list[dict]) -> Table:
    """One row a size."""
    out = Table(title=f"{jax.devices()[0].device_kind}: train step of the demo-size GRU baseline")
    for name in (*BASE, "ms", "frames/s"):
        out.add_column(name, justify="right")
    for one in found:
        frames = one["mice"] * one["trials"] * one["frames"]
        values = 1e3 * one["seconds"], frames / one["seconds"]
        out.add_row(*(str(one[name]) for name in BASE), *(f"{x:,.0f}" for x in values))
    return out


def draw(found: dict):
    """Seconds against every size, the others fixed; both axes logarithmic."""
    found = found["steps"]
    figure = page.make_figure(8, 2.6)
    for axes, name in zip(figure.subplots(1, len(SWEEPS), sharey=True), SWEEPS, strict=True):
        rest = {k: v for k, v in BASE.items() if k != name}
        line = sorted((o[name], o["seconds"]) for o in found if all(o[k] == rest[k] for k in rest))
        axes.plot(*zip(*line, strict=True), "o-")
        axes.set(xlabel=name, xscale="log", yscale="log")
        title = ", ".join(f"{v} {k}" for k, v in rest.items())
        axes.set_title(title, fontsize=7)
    figure.axes[0].set_ylabel("seconds a step")
    return figure


if __name__ == "__main__":
    main()
