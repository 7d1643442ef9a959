"""Training several members by one program that maps over them, against one after the other.

    python benchmarks/ensemble.py [--config factorized_baseline] [--members 3] [--rounds 5]
        [--json FILE] [--plot FILE]

Milliseconds for one step of all members at demo size, both ways in turn in every round; medians.
``train_members`` chooses by this on CPUs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import record
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
WAYS = "one after the other", "together"


def main() -> None:
    """Measure and print both times and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="factorized_baseline")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    record.add_flags(parser)
    flags = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    experiment = importlib.import_module(f"sensorium_jax.configs.{flags.config}").demo
    times = measure(experiment, members=flags.members, rounds=flags.rounds)
    alone, together = map(np.median, times.values())
    Console().print(
        f"{jax.devices()[0].device_kind}, {flags.config}, {flags.members} members: "
        f"{1e3 * alone:.0f} ms one after the other, {1e3 * together:.0f} ms together "
        f"({alone / together:.2f}x)"
    )
    found = {"config": flags.config, "members": flags.members, "seconds": times}
    record.write(flags, found, draw)


def draw(found: dict):
    """Every round's seconds, and their medians."""
    from sensorium_jax.pages import page

    figure = page.make_figure(6, 1.6)
    axes = figure.subplots()
    for i, times in enumerate(found["seconds"].values()):
        axes.barh(i, np.median(times), color="C0", alpha=0.4)
        axes.plot(times, [i] * len(times), "k.", markersize=4)
    axes.set(yticks=range(len(found["seconds"])), yticklabels=found["seconds"])
    axes.set_xlabel(f"seconds for a step of {found['members']} members, {found['config']}")
    return figure


def measure(experiment, *, members: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a step of all members, by round: one after the other, and together."""
    from sensorium_jax import demo_store, load_recordings, models, parallel
    from sensorium_jax.data import pipeline
    from sensorium_jax.types import TrainState

    e, recordings, mesh = experiment, load_recordings(demo_store()), parallel.make_mesh(1)
    optimizer = e.optimizer.make(rounds)
    parts = e.model, e.scaling, optimizer, mesh
    one, several = parallel.make_train_step(*parts), parallel.make_ensemble_step(*parts)
    data = recordings.neurons, recordings.statistics(e.data.statistics)
    iterator = iter(
        pipeline.train_iterator(recordings, frames=e.data.frames, trials=e.data.trials, seed=0)
    )
    batches = tuple(parallel.shard_batch(next(iterator), mesh) for _ in range(members))
    keys = tuple(jax.random.key(i) for i in range(members))
    rates = (jnp.float32(1),) * members

    def start() -> tuple[TrainState, ...]:
        params = [models.init(e.model, key, batches[0], recordings.neurons) for key in keys]
        return tuple(TrainState(jnp.int32(0), p, optimizer.init(p.weights)) for p in params)

    def step_alone(states):
        each = zip(states, batches, keys, rates, strict=True)
        return tuple(one(s, b, *data, k, r)[0] for s, b, k, r in each)

    def step_together(states):
        return several(states, batches, *data, keys, rates)[0]

    steps, seconds = (step_alone, step_together), ([], [])
    states = [jax.block_until_ready(step(start())) for step in steps]  # compiles
    for _ in range(rounds):
        for i, step in enumerate(steps):
            began = time.monotonic()
            states[i] = jax.block_until_ready(step(states[i]))
            seconds[i].append(time.monotonic() - began)
    return dict(zip(WAYS, seconds, strict=True))


if __name__ == "__main__":
    main()
