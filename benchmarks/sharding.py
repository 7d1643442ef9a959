"""What devices send each other in a training step, against theory, and what sharing costs.

    python benchmarks/sharding.py [--devices 8] [--rounds 5] [--json FILE] [--plot FILE]

The demo-size GRU baseline on three mice of random numbers, on fake devices of one CPU: collectives
of the compiled program by kind, count and bytes (of one device's result), beside what must be sent:

  - gradients of the shared weights, once, in float32, and of weights of a device's own neurons
    where others read the same ones in other trials;
  - for every layer's batch normalisation, mean and variance, forwards and backwards;
  - sums and counts of the loss, one each for every mouse;
  - where devices share neurons, the feature maps of their trials forwards, and the maps' gradients;
    and of these trials what readouts need besides: gaze for a shifter, behaviour for a modulator,
    the number of the first frame for statistics by frame (XLA drops what nothing reads).

A collective of groups of one device each is none.

Fake devices share the cores, so that more of them cannot be faster: the seconds show what the
splitting itself costs, not how a pod scales.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path

import record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MESHES = ((1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (4, 2), (8, 2), (8, 4))
TRIALS, FRAMES, MICE, NEURONS = 8, 30, 3, 64
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {
    **{"pred": 1, "s8": 1, "u8": 1, "f16": 2, "bf16": 2},
    **{"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8},
}


def main() -> None:
    """Compile for every mesh, list what is sent, and time a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=8, help="fake devices (default 8)")
    parser.add_argument("--rounds", type=int, default=5, help="steps timed (default 5)")
    record.add_flags(parser)
    flags = parser.parse_args()
    count = f"--xla_force_host_platform_device_count={flags.devices}"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the devices are fake ones of it
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    from rich.console import Console
    from rich.table import Table

    found = measure([m for m in MESHES if m[0] <= flags.devices], flags.rounds)
    table = Table(title=f"GRU demo, {MICE} mice x {TRIALS} trials x {FRAMES} frames")
    for name in ("devices", "for neurons", *KINDS[:3], "KiB", "theory", "step, s"):
        table.add_column(name, justify="right")
    for one in found:
        sent = one["sent"]
        table.add_row(
            *(str(one[key]) for key in ("devices", "neuron_devices")),
            *(str(sent.get(kind, {}).get("count", 0)) for kind in KINDS[:3]),
            f"{sum(kind['bytes'] for kind in sent.values()) / 1024:.1f}",
            f"{one['theory_bytes'] / 1024:.1f}",
            f"{one['seconds']:.3f}",
        )
    Console().print(table)
    record.write(flags, {"meshes": found}, draw)


def measure(meshes: list[tuple[int, int]], rounds: int) -> list[dict]:
    """For every mesh: what its program sends, and the median seconds of a step."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from sensorium_jax import models, parallel
    from sensorium_jax.configs.gru_baseline import demo
    from sensorium_jax.models import losses
    from sensorium_jax.models.nn.mesh import NEURONS as NEURON_AXIS
    from sensorium_jax.types import TrainState

    inputs = random_inputs(mice=MICE, trials=TRIALS, frames=FRAMES, neurons=NEURONS)
    batch, neurons, statistics = inputs
    optimizer = demo.optimizer.make(100)
    params = models.init(demo.model, jax.random.key(0), batch, neurons)
    rate = jnp.float32(1)
    found = []
    for devices, neuron_devices in meshes:
        mesh = parallel.make_mesh(devices, neuron_devices=neuron_devices)
        own = jax.tree.map(jnp.copy, params)
        state = TrainState(jnp.zeros((), jnp.int32), own, optimizer.init(own.weights))
        state = parallel.place_state(state, demo.model, optimizer, mesh)
        rest = parallel.replicate((neurons, statistics, jax.random.key(1), rate), mesh)
        split = parallel.shard_batch(batch, mesh)
        step = parallel.make_train_step(demo.model, losses.Scaling(), optimizer, mesh)
        program = step.lower(state, split, *rest).compile()
        seconds = []
        for _ in range(rounds + 1):  # the first one warms up
            began = time.perf_counter()
            state, metrics = jax.block_until_ready(program(state, split, *rest))
            seconds.append(time.perf_counter() - began)
        weights = jax.tree.leaves(state.params.weights)
        of_neurons = sum(x.nbytes for x in weights if NEURON_AXIS in spec(x))
        shared = sum(x.nbytes for x in weights) - of_neurons
        # A device's share of the neurons, where others have the same ones for other trials.
        gradients = shared + (of_neurons // neuron_devices) * (devices > neuron_devices)
        maps = jax.eval_shape(
            lambda p: demo.model.core.apply(
                {"params": p.weights["core"], "batch_stats": p.stats},
                *(jnp.asarray(x[0], jnp.float32) for x in batch[:3]),
                train=False,
            ),
            own,
        )
        found.append(
            {
                "devices": devices,
                "neuron_devices": neuron_devices,
                "sent": sent(program.as_text()),
                "theory_bytes": theory(
                    gradients, own.stats, batch, statistics, maps, devices, neuron_devices
                ),
                "seconds": float(np.median(seconds[1:])),
                "loss": float(metrics["loss"]),
            }
        )
    return found


def random_inputs(*, mice: int, trials: int, frames: int, neurons: int, seed: int = 0) -> tuple:
    """A batch, neurons and statistics of random numbers, at the benchmark's image size."""
    import numpy as np

    from sensorium_jax import protocol
    from sensorium_jax.types import Batch, Moments, Neurons, Statistics

    rng = np.random.default_rng(seed)
    image, clip = (protocol.HEIGHT, protocol.WIDTH), (mice, trials, frames)
    batch = Batch(
        rng.integers(0, 256, (*clip, *image)).astype(np.uint8),
        rng.uniform(0, 60, (*clip, 2)).astype(np.float32),
        rng.normal(150, 6, (*clip, 2)).astype(np.float32),
        rng.gamma(0.5, 4, (*clip, neurons)).astype(np.float32),
        np.zeros((mice, trials), np.int32),
        np.ones(clip, bool),
    )
    place = rng.uniform(0, 600, (mice, neurons, 3)).astype(np.float32)
    people = Neurons(place, np.ones((mice, neurons), np.float32), np.ones((mice, neurons), bool))

    def moments(mean: float, std: float, *shape: int) -> Moments:
        return Moments(*(np.full((mice, 1, *shape), x, np.float32) for x in (mean, std)))

    statistics = Statistics(
        moments(110, 60, *image),
        moments(30, 15, 2),
        moments(150, 6, 2),
        moments(3, 4, neurons),
        np.full(mice, 700.0, np.float32),
    )
    return batch, people, statistics


def spec(x) -> tuple:
    """The axes of a mesh over which an array is split."""
    return tuple(x.sharding.spec)


def sent(program: str) -> dict[str, dict[str, int]]:
    """Collectives of a compiled program: count and bytes of their results, by kind."""
    found: dict[str, dict[str, int]] = {}
    pattern = rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\((.*)"
    for shapes, kind, rest in re.findall(pattern, program):
        if re.search(r"replica_groups=(\{\{\d+\}|\[\d+,1\])", rest):
            continue
        one = found.setdefault(kind, {"count": 0, "bytes": 0})
        one["count"] += 1
        for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            elements = 1
            for n in filter(None, shape.split(",")):
                elements *= int(n)
            one["bytes"] += elements * BYTES[dtype]
    return found


def theory(
    gradients: int, stats, batch, statistics, maps, devices: int, neuron_devices: int
) -> int:
    """Bytes that must be sent, by the list in the module's docstring."""
    import jax

    from sensorium_jax.configs.gru_baseline import demo

    if devices == 1:
        return 0
    moments = 2 * MICE * sum(4 * x.size for x in jax.tree.leaves(stats))  # forwards, backwards
    sums = 2 * 4 * MICE
    gathered = 0
    if neuron_devices > 1:
        groups = devices // neuron_devices
        here = 4 * MICE * maps.size // groups  # maps of a group's trials
        gathered = here + here // neuron_devices  # gathered forwards, scattered backwards
        model, read = demo.model, []
        read += [batch.pupil_center] if model.shifter is not None else []
        read += [batch.behavior] if model.modulator is not None else []
        read += [batch.first_frame] if statistics.response.mean.shape[1] > 1 else []
        gathered += sum(x.nbytes for x in read) // groups
    return gradients + moments + sums + gathered


def draw(found: dict):
    """Bytes sent, and seconds, by mesh."""
    from sensorium_jax.pages import page

    found = found["meshes"]
    figure = page.make_figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    names = [f"{one['devices']}/{one['neuron_devices']}" for one in found]
    total = [sum(kind["bytes"] for kind in one["sent"].values()) / 1024 for one in found]
    left.bar(names, total, label="compiled")
    left.plot(names, [one["theory_bytes"] / 1024 for one in found], "k_", ms=14, label="theory")
    left.set(ylabel="KiB a device gets in a step", xlabel="devices / of these for neurons")
    left.legend()
    right.plot(names, [one["seconds"] for one in found], "o-")
    right.set(ylabel="seconds a step (fake devices)", ylim=(0, None))
    return figure


if __name__ == "__main__":
    main()
