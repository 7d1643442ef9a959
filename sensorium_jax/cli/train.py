"""Train a model of mouse visual cortex and score it on every tier.

With no data, the model trains at demo size on three simulated mice: minutes on a laptop.

    sensorium-jax train --config=gru_baseline

With recordings (see sensorium-jax prepare), it trains at the published size.

    sensorium-jax train --config=gru_baseline --data=STORE

Any field of the experiment can be changed; the same command again resumes a run that was stopped.

    sensorium-jax train --config=gru_baseline --set model.core.channels=8 --set seed=1

The workdir (default runs/CONFIG-SIZE) gets checkpoints, metrics.jsonl (loss and scores by step),
report.json, scores.npz and report.html. Scores are correlations; learning rates are per step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.experiment_flags import add_flags, chosen_size, join_processes, store_path
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import check_devices, exit_code, use_compilation_cache


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Train, evaluate, report."""
    start = time.monotonic()
    import jax
    from absl import logging

    from sensorium_jax.configs import load_config
    from sensorium_jax.experiment import override
    from sensorium_jax.pages.terminal import make_console, show
    from sensorium_jax.training import complete

    logging.set_verbosity(logging.FATAL)  # orbax logs, traceback and all, what it raises too
    if flags.distributed:
        join_processes()
    check_devices()
    console = make_console(quiet=flags.distributed and jax.process_index() > 0)
    size = chosen_size(flags)
    if not flags.data:
        console.print(
            f"No --data given: training at {size} size on three simulated mice. "
            "Scores below are on simulated neurons, not on mice."
        )
    experiment = load_config(flags.config, size)
    for assignment in flags.set:
        experiment = override(experiment, assignment)
    use_compilation_cache(console)
    folder = Path(flags.workdir or f"runs/{Path(flags.config).stem}-{size}").resolve()
    report = complete(
        experiment,
        folder,
        store=store_path(flags),
        tiers=flags.tiers,
        devices=flags.devices,
        console=console,
        on_nan=flags.on_nan,
        skip_damaged=flags.skip_damaged,
    )
    show(report.table(title=f"{folder.name}: best weights"), console)
    console.print(f"Scores with intervals, neurons, filters: {folder / 'report.html'}")
    console.print(f"Done in {time.monotonic() - start:.0f} s.")
    return 0


def _parser() -> Parser:
    parser = Parser("train", __doc__)
    parser.add_argument(
        "--config",
        default="gru_baseline",
        metavar="NAME",
        help="an experiment of sensorium_jax/configs by name, or a Python file of your own "
        "(default gru_baseline)",
    )
    add_flags(parser)
    parser.add_argument(
        "--on-nan",
        choices=("stop", "skip"),
        default="stop",
        help="at a step whose loss, gradient or weights are not finite: stop, with a bundle that "
        "shows it again (default), or skip it, at most 10 in succession",
    )
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="read all trials first, and go on without those that are damaged, which are named "
        "here, in run.json and in report.html",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one process of several: Slurm, TPU pods and Open MPI say which; else set "
        "JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID",
    )
    return parser
