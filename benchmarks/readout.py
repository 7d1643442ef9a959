"""Reading 8,000 neurons from feature maps: memory and time, in groups and all at once.

    python benchmarks/readout.py [--neurons 8000] [--channels 128] [--frames 496] [--json FILE]

Value and gradients of ``nn/sampling.bilinear_dot`` with the features of all neurons there at once,
[frames neurons channels], and in groups of frames, as the library reads them on a CPU and on
accelerators. Memory is what the
compiled program takes beside its arguments and results. Both run in turn, on maps of --height by
--width (the factorised core's, published: 18 x 46).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium_jax.nn import sampling

FORMS = {
    "all at once": 2**62,
    "in groups, for CPUs": sampling.CPU_AT_ONCE,
    "in groups, for accelerators": sampling.AT_ONCE,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {"neurons": 8000, "channels": 128, "frames": 8 * 62, "height": 18, "width": 46}
    for name, size in (sizes | {"rounds": 3}).items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default {size})")
    parser.add_argument("--memory-only", action="store_true", help="compile, do not run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    flags = parser.parse_args()
    found = measure(flags)
    whole = found["all at once"]
    table = Table(title=f"{jax.devices()[0].device_kind}: value and gradients of the readout")
    for column in ("features", "memory, MiB", "share", "median s", "speed"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, figures in found.items():
        ran = "seconds" in figures
        table.add_row(
            name,
            f"{figures['bytes'] / 2**20:,.0f}",
            f"1/{whole['bytes'] / figures['bytes']:.1f}",
            f"{np.median(figures['seconds']):.2f}" if ran else "",
            f"{np.median(np.divide(whole['seconds'], figures['seconds'])):.2f}x" if ran else "",
        )
    Console().print(table)
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(flags: argparse.Namespace) -> dict[str, dict]:
    """Bytes, and seconds of every round, of each form."""
    rng = np.random.default_rng(0)
    m, n, c = flags.frames, flags.neurons, flags.channels
    features = jnp.asarray(rng.normal(size=(m, flags.height, flags.width, c)), jnp.float32)
    grid = jnp.asarray(rng.uniform(-1, 1, (m, n, 2)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(n, c)), jnp.float32)

    def loss(features, grid, weights, *, at_once: int):
        return jnp.sum(sampling.in_groups(features, grid, weights, at_once=at_once) ** 2)

    programs = {
        name: jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)), static_argnames="at_once")
        .lower(features, grid, weights, at_once=at_once)
        .compile()
        for name, at_once in FORMS.items()
    }
    found = {
        name: {"bytes": program.memory_analysis().temp_size_in_bytes}
        for name, program in programs.items()
    }
    for _ in range(0 if flags.memory_only else flags.rounds):
        for name, program in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(features, grid, weights))
            found[name].setdefault("seconds", []).append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    main()
