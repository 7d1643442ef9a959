"""The share of training that the device spends waiting for its input.

    python benchmarks/waiting.py [--steps 100] [--data STORE] [--json FILE]

The loop of ``train``: a step is started, the next batch read and sent while it runs. The device
waits when a step has ended before the next batch is there. The same steps on one batch, over and
over, are what training would take without any input; both loops take turns. Without --data it runs
on the simulated mice of the default job.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.configs.gru_baseline import demo
from sensorium_jax import demo_store, load_recordings, parallel
from sensorium_jax import model as models
from sensorium_jax.data import pipeline
from sensorium_jax.types import TrainState

TURNS = 5


def main() -> None:
    """Run both loops in turn, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="steps of each loop (default 100)")
    parser.add_argument("--data", type=Path, metavar="STORE", help="(default: simulated mice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    flags = parser.parse_args()
    loop = Loop(flags.data or demo_store())
    loop.run(3, fresh=True)  # compiles, fills the reader's queue
    turns = [
        (loop.run(flags.steps // TURNS, fresh=True), loop.run(flags.steps // TURNS, fresh=False))
        for _ in range(TURNS)
    ]
    found = {
        "waiting": [fresh["waited"] / fresh["seconds"] for fresh, _ in turns],
        "reading": [fresh["read"] / fresh["seconds"] for fresh, _ in turns],
        "over one batch": [fresh["seconds"] / same["seconds"] for fresh, same in turns],
    }
    device = jax.devices()[0].device_kind
    for what, shares in (
        ("of the time the device waits for input", found["waiting"]),
        ("of the time the loop reads and sends, while the device works", found["reading"]),
        ("of the time of the same steps on one batch", found["over one batch"]),
    ):
        low, high = min(shares), max(shares)
        print(f"{device}: {np.median(shares):.2%} ({low:.2%} to {high:.2%}) {what}")
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=1) + "\n")


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
