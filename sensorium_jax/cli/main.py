"""``sensorium-jax SUBCOMMAND``: which module serves which word."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from sensorium_jax._version import __version__
from sensorium_jax.cli.signals import ignore_signals, report_stop, signals_interrupt
from sensorium_jax.errors import DONE, USER_ERROR, hint

COMMANDS = {
    "train": "train a model and score it on every tier",
    "plan": "memory, time and disk of a training, before it runs",
    "evaluate": "score runs, weights or an ensemble on any tier",
    "predict": "predict responses to a film, from mp4 or npy to npz",
    "report": "score a run again and write its page",
    "compare": "set two runs side by side, with intervals",
    "leaderboard": "rank runs beside the published results",
    "ask": "answer a question of the competition by training models",
    "fetch": "fetch the recordings of the release",
    "prepare": "convert recordings (raw or nwb) into a store",
    "examine": "check recordings or a store",
    "tiers": "write which trial serves what, as tables to edit, and folds",
    "simulate": "write simulated mice in the raw layout",
    "submit": "write or check submission files",
    "stimuli": "draw the out-of-domain stimuli",
    "import-torch": "convert weights of the PyTorch starter kit",
}
COMPUTES = (
    "train",
    "plan",
    "evaluate",
    "predict",
    "report",
    "ask",
    "submit",
)  # in large pages of memory

_HELP = """usage: sensorium-jax [--help] [--version] SUBCOMMAND ...

Models of mouse visual cortex on the SENSORIUM 2023 benchmark, in JAX.

{commands}

Try it, on simulated mice, in minutes:

    sensorium-jax train --config=gru_baseline

Each has its own help: sensorium-jax SUBCOMMAND --help. Exit codes: 0 done, 2 bad input (one line
says what to do), 130 stopped (the same command resumes), 1 a bug of ours.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return DONE if words else USER_ERROR
    if words[0] == "--version":
        print(f"sensorium_jax {__version__}")
        return DONE
    command, *rest = words
    if command not in COMMANDS:
        print(
            f"error: no subcommand {command!r}; {hint(command, COMMANDS)}; see --help",
            file=sys.stderr,
        )
        return USER_ERROR
    module = importlib.import_module(f"sensorium_jax.cli.{command.replace('-', '_')}")
    return module.main(rest)


def program() -> None:
    """The command as a program of its own: ``sensorium-jax``."""
    start(sys.argv[1:])


def start(argv: Sequence[str]) -> None:
    """Run a subcommand as the whole process, and end it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as daemons do
            setattr(sys, name, open(os.devnull, "w"))
    try:
        with signals_interrupt():
            if argv and argv[0] in COMPUTES:
                from sensorium_jax.cli.programs import use_huge_pages

                use_huge_pages()
            code = main(argv)
            ignore_signals()
    except KeyboardInterrupt:  # while modules are imported
        ignore_signals()
        code = report_stop()
    sys.exit(code)


def start_moved(command: str) -> None:
    """Run a subcommand that was a program of its own before version 0.2."""
    print(f"note: this program is now sensorium-jax {command}", file=sys.stderr)
    start([command, *sys.argv[1:]])


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"    {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return _HELP.format(commands="\n".join(lines))


if __name__ == "__main__":
    program()
