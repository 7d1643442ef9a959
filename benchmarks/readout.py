"""Reading 8,000 neurons from feature maps: memory and time, in groups and all at once.

    python benchmarks/readout.py [--neurons 8000] [--channels 128] [--frames 496] [--mice 1]
        [--json FILE] [--plot FILE]

Value and gradients of reading every neuron at its position: plainly, as the features of all
neurons, [frames neurons channels], interpolated and then weighed; by ``nn/sampling.bilinear_dot``
with every corner weighed by itself, all frames at once; and in groups of frames, as the library
reads them on a CPU and on accelerators. Memory is what the compiled program takes beside its
arguments and results; all is against the plain form. They run in turn, on maps of --height by
--width (the factorised core's, published: 18 x 46), mice side by side as ``model.py`` maps them.
"""

from __future__ import annotations

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import record
from rich.console import Console
from rich.table import Table

from sensorium_jax.models.nn import sampling
from sensorium_jax.pages import page


def plain(features: jax.Array, grid: jax.Array, weights: jax.Array) -> jax.Array:
    """As ``sampling.bilinear_dot``, by way of the features [M N C] of all neurons."""
    m, h, w, c = features.shape
    pixels = features.reshape(m, h * w, c)
    x, y = (grid[..., i] + 1 for i in (0, 1))
    x, y = x * (w - 1) / 2, y * (h - 1) / 2
    seen = 0
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = jnp.floor(x) + column, jnp.floor(y) + row
        share = (1 - jnp.abs(x - column)) * (1 - jnp.abs(y - row))
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
        here = jnp.take_along_axis(pixels, index.astype(jnp.int32)[..., None], axis=1)
        seen += jnp.where(inside, share, 0)[..., None] * here
    return jnp.einsum("mnc,nc->mn", seen, weights)


PLAIN = "plain"
FORMS = {
    PLAIN: plain,
    "all at once": functools.partial(sampling.grouped_bilinear_dot, gather_size=2**62),
    "in groups, for CPUs": functools.partial(
        sampling.grouped_bilinear_dot, gather_size=sampling.CPU_GATHER_SIZE
    ),
    "in groups, for accelerators": functools.partial(
        sampling.grouped_bilinear_dot, gather_size=sampling.GATHER_SIZE
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {"neurons": 8000, "channels": 128, "frames": 8 * 62, "height": 18, "width": 46}
    for name, size in (sizes | {"mice": 1, "rounds": 3}).items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default {size})")
    parser.add_argument("--memory-only", action="store_true", help="compile, do not run")
    record.add_flags(parser)
    flags = parser.parse_args()
    found = measure(flags)
    whole = found[PLAIN]
    table = Table(
        title=f"{jax.devices()[0].device_kind}: value and gradients of the readout, "
        f"{flags.mice} x {flags.neurons} neurons"
    )
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
    size = {name: getattr(flags, name) for name in (*sizes, "mice")}
    record.write(flags, {"size": size, "forms": found}, draw)


def measure(flags: argparse.Namespace) -> dict[str, dict]:
    """Bytes, and seconds of every round, of each form."""
    rng = np.random.default_rng(0)
    s, m, n, c = flags.mice, flags.frames, flags.neurons, flags.channels
    features = jnp.asarray(rng.normal(size=(s, m, flags.height, flags.width, c)), jnp.float32)
    grid = jnp.asarray(rng.uniform(-1, 1, (s, m, n, 2)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(s, n, c)), jnp.float32)

    def loss(features, grid, weights, *, form):
        return jnp.sum(jax.vmap(form)(features, grid, weights) ** 2)

    programs = {
        name: jax.jit(jax.value_and_grad(functools.partial(loss, form=form), argnums=(0, 1, 2)))
        .lower(features, grid, weights)
        .compile()
        for name, form in FORMS.items()
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


def draw(found: dict):
    """Memory and seconds of each form."""
    figure = page.make_figure(8, 2)
    memory, time_taken = figure.subplots(1, 2, sharey=True)
    for i, figures in enumerate(found["forms"].values()):
        memory.barh(i, figures["bytes"] / 2**20, color="C0", alpha=0.4)
        if "seconds" in figures:
            times = figures["seconds"]
            time_taken.barh(i, np.median(times), color="C0", alpha=0.4)
            time_taken.plot(times, [i] * len(times), "k.", markersize=4)
    memory.set(yticks=range(len(found["forms"])), yticklabels=found["forms"], xlabel="MiB")
    memory.invert_yaxis()
    time_taken.set_xlabel("seconds")
    return figure


if __name__ == "__main__":
    main()
