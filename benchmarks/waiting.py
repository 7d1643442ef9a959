"""The share of training that the device spends waiting for its input.

    python benchmarks/waiting.py [--steps 100] [--data STORE] [--json FILE] [--plot FILE]

The loop of ``train``: a step is started, the next batch read and sent while it runs. The device
waits when a step has ended before the next batch is there. The same steps on one batch, over and
over, are what training would take without any input; both loops take turns. Without --data it runs
on the simulated mice of the default job.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import record
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sensorium_jax import demo_store, load_recordings, models, parallel
from sensorium_jax.configs.gru_baseline import demo
from sensorium_jax.data import pipeline
from sensorium_jax.pages import page
from sensorium_jax.types import TrainState

TURNS = 5
WAITS = "of the time, the device waits for input"
READS = "of the time, the loop reads and sends while the device works"
AGAINST = "time, of that of the same steps on one batch"


def main() -> None:
    """Run both loops in turn, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="steps of each loop (default 100)")
    parser.add_argument("--data", type=Path, metavar="STORE", help="(default: simulated mice)")
    record.add_flags(parser)
    flags = parser.parse_args()
    loop = Loop(flags.data or demo_store())
    loop.run(3, fresh=True)  # compiles, fills the reader's queue
    turns = [
        (loop.run(flags.steps // TURNS, fresh=True), loop.run(flags.steps // TURNS, fresh=False))
        for _ in range(TURNS)
    ]
    found = {
        WAITS: [fresh["waited"] / fresh["seconds"] for fresh, _ in turns],
        READS: [fresh["read"] / fresh["seconds"] for fresh, _ in turns],
        AGAINST: [fresh["seconds"] / same["seconds"] for fresh, same in turns],
    }
    found = {"steps": flags.steps // TURNS, "turns": found}
    Console().print(table(found))
    record.write(flags, found, draw)


def table(found: dict) -> Table:
    """Median and range over turns of every share."""
    out = Table(title=f"{jax.devices()[0].device_kind}: {TURNS} turns of {found['steps']} steps")
    for name in ("", "median", "lowest", "highest"):
        out.add_column(name, justify="right" if name else "left")
    for what, shares in found["turns"].items():
        out.add_row(what, *(f"{f(shares):.2%}" for f in (np.median, min, max)))
    return out


def draw(found: dict):
    """Every turn's shares, and their medians."""
    figure = page.make_figure(7, 2)
    axes = figure.subplots()
    for i, shares in enumerate(found["turns"].values()):
        axes.barh(i, 100 * np.median(shares), color="C0", alpha=0.4)
        axes.plot(100 * np.array(shares), [i] * len(shares), "k.", markersize=4)
    axes.set(yticks=range(len(found["turns"])), yticklabels=found["turns"], xlabel="%")
    axes.invert_yaxis()
    return figure


class Loop:
    """The training loop of the default job, with a clock."""

    def __init__(self, store: Path):
        recordings = load_recordings(store)
        self.mesh = parallel.make_mesh(1)
        plan = {"frames": demo.data.frames, "trials": demo.data.trials}
        self.batches = iter(pipeline.train_iterator(recordings, **plan, seed=0))
        example = pipeline.example_batch(recordings, frames=demo.data.frames)
        optimizer = demo.optimizer.make(10_000)
        params = models.init(demo.model, jax.random.key(0), example, recordings.neurons)
        state = TrainState(jax.numpy.zeros((), "int32"), params, optimizer.init(params.weights))
        self.state = parallel.place_state(state, demo.model, optimizer, self.mesh)
        self.rest = parallel.replicate(
            (
                recordings.neurons,
                recordings.statistics(demo.data.statistics),
                jax.random.key(1),
                jax.numpy.float32(1),
            ),
            self.mesh,
        )
        self.step = parallel.make_train_step(demo.model, demo.scaling, optimizer, self.mesh)
        self.batch = parallel.shard_batch(next(self.batches), self.mesh)

    def run(self, steps: int, *, fresh: bool) -> dict[str, float]:
        """Seconds in all, spent reading, and waited by the device."""
        read = waited = 0.0
        with ThreadPoolExecutor(1) as watcher:
            began = time.perf_counter()
            for _ in range(steps):
                self.state, metrics = self.step(self.state, self.batch, *self.rest)
                ended = watcher.submit(_time_of_end, metrics)
                if fresh:
                    asked = time.perf_counter()
                    batch = jax.block_until_ready(
                        parallel.shard_batch(next(self.batches), self.mesh)
                    )
                    there = time.perf_counter()
                    self.batch = batch
                    read += there - asked
                    waited += max(0.0, there - ended.result())
                else:
                    ended.result()
            return {"seconds": time.perf_counter() - began, "read": read, "waited": waited}


def _time_of_end(metrics: dict) -> float:
    jax.block_until_ready(metrics)
    return time.perf_counter()


if __name__ == "__main__":
    main()
