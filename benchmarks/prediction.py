"""Memory that prediction takes on a device, against mice, trials, frames and neurons.

    python benchmarks/prediction.py [--mice 1,5,10] [--trials 1,8] [--neurons 1000,8285]
        [--frames 300] [--json FILE] [--plot FILE]

The published GRU and factorised baselines' compiled prediction step: what the program takes beside
its arguments and results, and these. It is compiled and nothing runs, so that sizes beyond this
machine's memory can be asked for; what a program takes depends on the device it is compiled for.
8,285 neurons are those of the largest mouse of the benchmark.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
from pathlib import Path

import jax
import record
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sensorium_jax import models, parallel
from sensorium_jax.pages import page
from sensorium_jax.training.forecast import data_shapes

SIZES = {"mice": "1,5,10", "trials": "1,8", "neurons": "1000,8285"}
BYTES = "temporary", "arguments", "result"


def main() -> None:
    """Compile every size, and print what it takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", default="gru_baseline,factorized_baseline")
    parser.add_argument("--size", choices=("published", "demo"), default="published")
    for name, values in SIZES.items():
        parser.add_argument(f"--{name}", default=values, help=f"(default {values})")
    parser.add_argument("--frames", type=int, default=300, help="of a trial (default 300)")
    record.add_flags(parser)
    flags = parser.parse_args()
    sizes = [[int(n) for n in getattr(flags, name).split(",")] for name in SIZES]
    cases = list(itertools.product(flags.configs.split(","), *sizes))
    found = []
    for config, *size in track(cases, description="compiling", transient=True):
        experiment = getattr(importlib.import_module(f"sensorium_jax.configs.{config}"), flags.size)
        sizes_of = dict(zip(SIZES, size, strict=True)) | {"frames": flags.frames}
        found.append({"config": config, **sizes_of, **memory(experiment, **sizes_of)})
    Console().print(table(found))
    record.write(flags, {"programs": found}, draw)


def memory(experiment, *, mice: int, trials: int, frames: int, neurons: int) -> dict[str, int]:
    """Bytes of the compiled prediction step."""
    inputs = data_shapes(mice=mice, trials=trials, frames=frames, neurons=neurons)
    batch, people, _ = inputs
    params = jax.eval_shape(
        lambda batch, people: models.init(experiment.model, jax.random.key(0), batch, people),
        batch,
        people,
    )
    step = parallel.make_predict_step(experiment.model, parallel.make_mesh(1))
    used = step.lower(params, *inputs).compile().memory_analysis()
    sizes = used.temp_size_in_bytes, used.argument_size_in_bytes, used.output_size_in_bytes
    return dict(zip(BYTES, sizes, strict=True))


def table(found: list[dict]) -> Table:
    """One row a program."""
    kind, frames = jax.devices()[0].device_kind, found[0]["frames"]
    out = Table(title=f"{kind}: MiB of the step that predicts {frames} frames")
    out.add_column("config", no_wrap=True)
    for name in (*SIZES, *BYTES):
        out.add_column(name, justify="right")
    for one in found:
        sizes = (str(one[name]) for name in SIZES)
        out.add_row(one["config"], *sizes, *(f"{one[name] / 2**20:,.0f}" for name in BYTES))
    return out


def draw(found: dict):
    """Temporary memory against mice, a line for every config, number of trials and neurons."""
    lines: dict[str, list] = {}
    for one in found["programs"]:
        label = f"{one['config']}, {one['trials']} trials, {one['neurons']} neurons"
        lines.setdefault(label, []).append((one["mice"], one["temporary"] / 2**30))
    figure = page.make_figure(7, 3)
    axes = figure.subplots()
    for label, line in lines.items():
        axes.plot(*zip(*sorted(line), strict=True), "o-", label=label)
    axes.set(xlabel="mice", ylabel="GiB beside arguments and results", yscale="log")
    figure.legend(loc="outside right", fontsize=7)
    return figure


if __name__ == "__main__":
    main()
