"""What a training step takes: memory of its temporary arrays, and time, by the plan of its step.

    python benchmarks/memory.py [--mice 10] [--trials 8] [--frames 80] [--neurons 8285]
        [--rounds 0] [--configs gru_baseline,factorized_baseline] [--json FILE] [--plot FILE]

The compiled step of a config at published size, by XLA's memory analysis, without running it:

    all_at_once   all mice side by side, nothing computed again for gradients
    default       as training starts, where that fits (``training.plan``)
    in_turn       one mouse at a time, nothing computed again
    leanest       one mouse at a time, core and readout computed again

With --rounds N every step whose arrays fit into the free memory also runs N times on random
numbers, all settings in turn in every round; the time is the median, and null where it does not
fit. Temporary arrays come on top of the inputs (weights, optimiser, batch, statistics), which are
the same for all settings.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import record
from rich.console import Console
from rich.table import Table

from sensorium_jax import parallel
from sensorium_jax.configs import load_config
from sensorium_jax.experiment import Experiment, override
from sensorium_jax.pages import page
from sensorium_jax.training import forecast
from sensorium_jax.training.plan import Plan, fits, plans

SETTINGS = ("all_at_once", "default", "in_turn", "leanest")
SIZES = {"mice": 10, "trials": 8, "frames": 80, "neurons": 8285}


def main() -> None:
    """Compile, time what fits, print, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default {size})")
    parser.add_argument("--configs", default="gru_baseline,factorized_baseline")
    parser.add_argument("--size", default="published", help="of the config (default published)")
    parser.add_argument("--rounds", type=int, default=0, help="steps timed (default 0: none)")
    record.add_flags(parser)
    flags = parser.parse_args()
    sizes = {name: getattr(flags, name) for name in SIZES}
    rows = []
    for name in flags.configs.split(","):
        experiment = override(load_config(name, flags.size), f"data.trials={flags.trials}")
        experiment = override(experiment, f"data.frames={flags.frames}")
        rows += measure(name, experiment, sizes, flags.rounds)
    Console().print(table(rows, sizes))
    record.write(flags, {"sizes": sizes, "rows": rows}, draw)


def settings(experiment: Experiment, mice: int) -> dict[str, Plan]:
    """The plan of every setting."""
    default, *_, leanest = plans(experiment, mice=mice, devices=1)
    plan_of = Plan(mice, "none"), default, Plan(1, "none"), leanest
    return dict(zip(SETTINGS, plan_of, strict=True))


def measure(
    name: str, experiment: Experiment, sizes: dict[str, int], rounds: int
) -> list[dict[str, Any]]:
    """A row for every setting of a config."""
    mesh = parallel.make_mesh(1)
    shapes = forecast.step_shapes(experiment, [sizes["neurons"]] * sizes["mice"])
    programs, rows = {}, {}
    for setting, plan in settings(experiment, sizes["mice"]).items():
        program = forecast.compile_step(experiment, plan, shapes, mesh)
        needed = program.memory_analysis().temp_size_in_bytes
        row = {"model": name, "mice": sizes["mice"], "setting": setting, **plan._asdict()}
        rows[setting] = {**row, "temporary_gib": needed / 2**30, "step_s": None}
        if rounds and fits(program):
            programs[setting] = program
    if programs:
        taken = forecast.time_steps(
            experiment, list(programs.values()), shapes, mesh, rounds=rounds
        )
        for setting, seconds in zip(programs, taken, strict=True):
            rows[setting]["step_s"] = float(np.median(seconds))
    return list(rows.values())


def table(rows: list[dict[str, Any]], sizes: dict[str, int]) -> Table:
    """One row a setting."""
    title = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    out = Table(title=f"A training step on {title}, float32")
    for name in ("model", "setting", "mice at once", "computed again", "temporary GiB", "s a step"):
        out.add_column(name, justify="left" if name in ("model", "setting") else "right")
    for row in rows:
        step = "" if row["step_s"] is None else f"{row['step_s']:.2f}"
        plan = str(row["mice_at_once"]), row["rematerialise"]
        out.add_row(row["model"], row["setting"], *plan, f"{row['temporary_gib']:.2f}", step)
    return out


def draw(found: dict):
    """Memory of every setting; logarithmic."""
    figure = page.make_figure(5, 2.6)
    axes = figure.subplots()
    names = list(dict.fromkeys(row["model"] for row in found["rows"]))
    for i, setting in enumerate(SETTINGS):
        values = [r["temporary_gib"] for r in found["rows"] if r["setting"] == setting]
        places = np.arange(len(names)) + 0.2 * (i - 1.5)
        axes.bar(places, values, width=0.2, label=setting.replace("_", " "))
    axes.set(yscale="log", ylabel="temporary arrays (GiB)")
    axes.set_xticks(range(len(names)), names)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
