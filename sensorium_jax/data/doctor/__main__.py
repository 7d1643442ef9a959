"""Examine recordings or a store: is everything there, sound, and as published?

    python -m sensorium_jax.data.doctor RAW            folder of sessions or zips, or one of them
    python -m sensorium_jax.data.doctor STORE          what data_prep/ made of them
    python -m sensorium_jax.data.doctor STORE --raw RAW     and whether they are equal, bit for bit

Counts of trials, neurons and frames are compared with what is known of the release's ten mice;
statistics with recomputed ones; films with each other, to find the family and the clip of every
trial, and clips that leak from one tier, or one mouse, to another. Every trial is read once.

Exit code: 0 if there are no errors (warnings and notes are only told), 1 if there are, 2 if PATH
is neither recordings nor a store.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium_jax.data import doctor
from sensorium_jax.data.doctor import page
from sensorium_jax.errors import one_line


def main(argv: list[str] | None = None) -> int:
    """Run the program."""
    flags = _parser().parse_args(argv)
    try:
        diagnosis = _examine(flags)
        if flags.html:
            page.write(diagnosis, Path(flags.html))
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    page.show(diagnosis, Console())
    if flags.html:
        print(f"page: {flags.html}")
    return 0 if diagnosis.healthy else 1


def _examine(flags: argparse.Namespace) -> doctor.Diagnosis:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        tasks = {}

        def on_trial(session: str, done: int, total: int) -> None:
            if session not in tasks:
                tasks[session] = progress.add_task(session, total=total)
            progress.update(tasks[session], completed=done)

        raw = Path(flags.raw) if flags.raw else None
        return doctor.examine(Path(flags.path), raw=raw, on_trial=on_trial)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.data.doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="recordings or a store")
    parser.add_argument("--raw", metavar="RAW", help="recordings that the store was made from")
    parser.add_argument("--html", metavar="FILE", help="write a page with pictures as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
