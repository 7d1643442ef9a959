"""Lowerings of convolutions, over space and over frames, side by side on this device.

    python benchmarks/convolution.py [--rounds 7] [--images 60] [--json FILE] [--plot FILE]

Over space: milliseconds of XLA's own convolution, and how many times faster than it are one matrix
product per kernel row (``shifted``) and the Fourier transform (``fourier``). Over frames:
milliseconds of XLA's own, and how many times faster is a sum of matrix products over shifted
frames (``products``). Each forward alone, and with the gradients of kernels and inputs. Every round
runs all of them in turn; medians over rounds. ``nn/conv.py`` picks by these numbers on CPUs.
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

from sensorium_jax.models.nn import conv
from sensorium_jax.pages import page

LOWERINGS = {
    "direct": conv.direct_convolver,
    "shifted": conv.shifted_convolver,
    "fourier": conv.fourier_convolver,
}
# name: images [N H W C] (N is --images where None), kernel size, outputs, padding
SHAPES = {
    "demo, first layer after its stride": ((720, 8, 13, 25), 3, 32, conv.VALID),
    "demo, hidden layer": ((720, 6, 11, 32), 3, 32, conv.same_padding(3)),
    "demo, GRU input": ((720, 6, 11, 32), 1, 96, conv.VALID),
    "full resolution, first layer": ((None, 36, 64, 1), 9, 64, conv.VALID),
    "full resolution, hidden layer": ((None, 28, 56, 16), 7, 16, conv.same_padding(7)),
    "full resolution, GRU input": ((None, 28, 56, 16), 9, 48, conv.same_padding(9)),
    "factorised, first layer": ((None, 36, 64, 3), 11, 32, conv.VALID),
    "factorised, second layer": ((None, 26, 54, 32), 5, 64, conv.VALID),
    "factorised, third layer": ((None, 22, 50, 64), 5, 128, conv.VALID),
    # on both sides of conv.LARGEST_SMALL
    "size 3": ((None, 28, 56, 16), 3, 16, conv.VALID),
    "size 3, padded": ((None, 28, 56, 16), 3, 16, conv.same_padding(3)),
    "size 5": ((None, 28, 56, 16), 5, 16, conv.VALID),
    "size 5, padded": ((None, 28, 56, 16), 5, 16, conv.same_padding(5)),
}
# name: maps [h w C], taps, outputs
FILMS = {
    "factorised, first layer": ((26, 54, 32), 11, 32),
    "factorised, second layer": ((22, 50, 64), 5, 64),
}
TASKS = ("forward", "forward and gradients")


def main() -> None:
    """Measure every shape and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="(default 7)")
    parser.add_argument("--images", type=int, default=60, help="of full resolution (default 60)")
    parser.add_argument("--only", default="", metavar="TEXT", help="shapes with this in their name")
    record.add_flags(parser)
    flags = parser.parse_args()
    space, frames = (
        {name: shape for name, shape in shapes.items() if flags.only in name}
        for shapes in (SHAPES, FILMS)
    )
    size = {"images": flags.images, "rounds": flags.rounds}
    found = {
        "space": {name: over_space(*shape, **size) for name, shape in space.items()},
        "frames": {name: over_frames(*shape, **size) for name, shape in frames.items()},
    }
    for where, each in found.items():
        if each:
            Console().print(table(where, each))
    record.write(flags, found, draw)


def over_space(shape, size, outputs, padding, *, images: int, rounds: int) -> dict[str, dict]:
    """Seconds of every round, by task and lowering, of a convolution of images."""
    shape = (shape[0] or images, *shape[1:])
    forms = {
        name: lambda x, w, make=make: make(w, x.shape[1:3], padding=padding)(x)
        for name, make in LOWERINGS.items()
    }
    return measure(forms, shape, (size, size, shape[-1], outputs), rounds)


def over_frames(shape, taps, outputs, *, images: int, rounds: int) -> dict[str, dict]:
    """Seconds of every round, by task and lowering, of a convolution of pixels' time courses."""
    forms = {"direct": time_directly, "products": time_as_products}
    return measure(forms, (1, images + taps - 1, *shape), (taps, shape[-1], outputs), rounds)


def time_directly(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B T h w C], [F C D] -> [B T' h w D], as ``conv.conv_time`` does on accelerators."""
    pixels = x.reshape(*x.shape[:2], -1, x.shape[-1])
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        pixels, kernel[:, None], (1, 1), "VALID", dimension_numbers=numbers
    )
    return y.reshape(*y.shape[:2], *x.shape[2:4], -1)


def time_as_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B T h w C], [F C D] -> [B T' h w D], as ``conv.conv_time`` does on CPUs."""
    frames = x.shape[1] - len(kernel) + 1
    return sum(x[:, i : i + frames] @ tap for i, tap in enumerate(kernel))


def measure(forms: dict, inputs: tuple, kernel: tuple, rounds: int) -> dict[str, dict]:
    """Seconds of every round, by task and form, on random numbers of these shapes."""
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (inputs, kernel))

    def loss(x, w, *, form):
        return jnp.sum(form(x, w) ** 2)

    programs = {
        TASKS[0]: {name: jax.jit(form) for name, form in forms.items()},
        TASKS[1]: {
            name: jax.jit(jax.grad(functools.partial(loss, form=form), argnums=(0, 1)))
            for name, form in forms.items()
        },
    }
    rounds = [
        {t: {name: seconds(p, x, w) for name, p in each.items()} for t, each in programs.items()}
        for _ in range(rounds + 1)
    ][1:]  # the first one compiles
    return {t: {name: [r[t][name] for r in rounds] for name in forms} for t in TASKS}


def seconds(program, *arrays) -> float:
    """Wall clock of one run."""
    began = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    return time.perf_counter() - began


def table(where: str, found: dict[str, dict]) -> Table:
    """One row a shape: of either task the milliseconds of XLA's own, and how others compare."""
    _, *others = next(iter(found.values()))[TASKS[0]]
    out = Table(title=f"{jax.devices()[0].device_kind}: convolution over {where}")
    out.add_column("")
    for task in TASKS:
        for column in (f"{task}: direct, ms", *others):
            out.add_column(column, justify="right")
    for name, tasks in found.items():
        cells = []
        for each in tasks.values():
            cells.append(f"{1e3 * np.median(each['direct']):.1f}")
            cells += [f"{speed(each, other):.2f}x" for other in others]
        out.add_row(name, *cells)
    return out


def speed(times: dict[str, list[float]], form: str) -> float:
    """How many times faster than XLA's own convolution."""
    return float(np.median(np.divide(times["direct"], times[form])))


def draw(found: dict[str, dict]):
    """How many times faster than XLA's own, forward (hollow) and with gradients (full)."""
    labels = [(where, name) for where, each in found.items() for name in each]
    figure = page.make_figure(7, 1.2 + 0.3 * len(labels))
    axes = figure.subplots()
    colours = {"shifted": "C0", "fourier": "C1", "products": "C2"}
    for i, (where, name) in enumerate(labels):
        for task, fill in zip(TASKS, ("none", None), strict=True):
            each = found[where][name][task]
            for form in list(each)[1:]:
                colour = colours[form]
                face = {"mfc": fill} if fill else {}
                axes.plot(speed(each, form), i, "o", color=colour, **face)
    for form, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=form)
    axes.axvline(1, color="k", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("times faster than XLA's convolution (hollow: forward alone)")
    axes.set(yticks=range(len(labels)), yticklabels=[f"{name}, {where}" for where, name in labels])
    axes.invert_yaxis()
    figure.legend(loc="outside upper right", ncols=len(colours))
    return figure


if __name__ == "__main__":
    main()
