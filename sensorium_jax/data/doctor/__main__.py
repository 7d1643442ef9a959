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

from sensorium_jax.data import doctor
from sensorium_jax.data.doctor import page
from sensorium_jax.programs import exit_code, session_bars


def main(argv: list[str] | None = None) -> int:
    """Run the program."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: _examine(flags))


def _examine(flags: argparse.Namespace) -> int:
    raw = Path(flags.raw) if flags.raw else None
    with session_bars(transient=True) as on_trial:
        diagnosis = doctor.examine(Path(flags.path), raw=raw, on_trial=on_trial)
    page.show(diagnosis, Console())
    if flags.html:
        page.write(diagnosis, Path(flags.html))
        print(f"page: {flags.html}")
    return 0 if diagnosis.healthy else 1


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
