"""Three lowerings of a convolution and its gradients, side by side on this device.

    python benchmarks/convolution.py [--rounds 7]

Per shape: milliseconds of XLA's own convolution, and how many times faster than it are one matrix
product per kernel row (``shifted``) and the Fourier transform (``fourier``). Every round runs all
three in turn; medians over rounds. ``nn/conv.py`` picks by these numbers on CPUs.
"""

from __future__ import annotations

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium_jax.nn import conv

LOWERINGS = {
    "direct": conv.direct_convolver,
    "shifted": conv.shifted_convolver,
    "fourier": conv.fourier_convolver,
}
# name: images [N H W C], kernel size, outputs, padding
SHAPES = {
    "demo, first layer after its stride": ((720, 8, 13, 25), 3, 32, conv.VALID),
    "demo, hidden layer": ((720, 6, 11, 32), 3, 32, conv.same(3)),
    "demo, GRU input": ((720, 6, 11, 32), 1, 96, conv.VALID),
    "full resolution, first layer": ((60, 36, 64, 1), 9, 64, conv.VALID),
    "full resolution, hidden layer": ((60, 28, 56, 16), 7, 16, conv.same(7)),
    "full resolution, GRU input": ((60, 28, 56, 16), 9, 48, conv.same(9)),
}


def main() -> None:
    """Measure every shape and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    table = Table(title=str(jax.devices()[0].device_kind))
    for column in ("value and gradients", "direct, ms", "shifted", "fourier"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, shape in SHAPES.items():
        direct, *others = measure(*shape, rounds=rounds)
        table.add_row(name, f"{1e3 * direct:.1f}", *(f"{direct / x:.2f}x" for x in others))
    Console().print(table)


def measure(images, size, outputs, padding, *, rounds: int) -> list[float]:
    """Median seconds of each lowering, value and both gradients."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=images), jnp.float32)
    w = jnp.asarray(rng.normal(size=(size, size, images[-1], outputs)), jnp.float32)

    def loss(w, x, *, convolver):
        return jnp.sum(convolver(w, x.shape[1:3], padding=padding)(x) ** 2)

    programs = [
        jax.jit(jax.value_and_grad(functools.partial(loss, convolver=c), argnums=(0, 1)))
        for c in LOWERINGS.values()
    ]
    times = np.array([[seconds(p, w, x) for p in programs] for _ in range(rounds + 1)])
    return np.median(times[1:], axis=0).tolist()  # the first round compiles


def seconds(program, *arrays) -> float:
    """Wall clock of one run."""
    began = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
