"""Flags of the subcommands that train: which experiment, which size, on what and where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sensorium_jax.cli.parser import Parser
from sensorium_jax.configs import SIZES
from sensorium_jax.errors import UserError


def add_flags(parser: Parser) -> None:
    """``--data``, ``--size``, ``--set``, ``--tiers``, ``--devices`` and ``--workdir``."""
    add = parser.add_argument
    add(
        "--data",
        metavar="STORE",
        default=os.environ.get("SENSORIUM_DATA"),
        help="a store made by prepare (default: $SENSORIUM_DATA, else three simulated mice)",
    )
    add("--workdir", metavar="FOLDER", help="where checkpoints and pages go")
    add(
        "--size",
        choices=SIZES,
        help="of the config (default: published with --data, demo without)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the experiment, as in model.core.channels=8; may be repeated",
    )
    add(
        "--tiers",
        metavar="TABLE",
        help="a table written by sensorium-jax tiers, such as a fold (default: the store's own)",
    )
    add(
        "--devices",
        type=int,
        metavar="N",
        help="devices that share each batch (default: as many as divide it evenly)",
    )


def chosen_size(flags) -> str:
    """What --size says, else published with data and demo without."""
    return flags.size or ("published" if flags.data else "demo")


def store_path(flags) -> Path | None:
    """What --data names; None for the embedded default."""
    return Path(flags.data).resolve() if flags.data else None


def join_processes() -> None:
    """Join the other processes of a run, which Slurm, TPU pods or the environment name.

    Raises:
        UserError: there are none.
    """
    import jax

    number: dict[str, Any] = {
        name: int(os.environ[f"JAX_{name.upper()}"])
        for name in ("num_processes", "process_id")
        if f"JAX_{name.upper()}" in os.environ
    }
    try:
        jax.distributed.initialize(**number)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"expected other processes to join, found none ({error}); start all of them, by Slurm "
            "or with the variables that --help names"
        ) from None
