"""Convert recordings of the SENSORIUM 2023 release into a store that models train from.

    python data_prep/sensorium_2023.py --raw RAW --out STORE

RAW is the folder that holds the unzipped session folders (dynamic29515-10-12-Video-...), real or
made by data_prep/simulated.py, or one of them. Stopped half-way, the same command again goes on:
complete sessions are kept. Then train:

    python experiments/run.py --config=gru_baseline --data=STORE
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium_jax.data import raw
from sensorium_jax.errors import one_line


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when the store is complete, 2 for bad input."""
    flags = _parser().parse_args(argv)
    try:
        names = _convert(flags)
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    print(f"{len(names)} sessions in {flags.out}")
    return 0


def _convert(flags: argparse.Namespace) -> list[str]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        tasks = {}

        def on_trial(session: str, done: int, total: int) -> None:
            if session not in tasks:
                tasks[session] = progress.add_task(session, total=total)
            progress.update(tasks[session], completed=done)

        return raw.convert(
            Path(flags.raw),
            Path(flags.out),
            sessions=flags.sessions and flags.sessions.split(","),
            on_trial=on_trial,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--raw", required=True, metavar="RAW", help="folder of session folders, or one of them")
    add("--out", required=True, metavar="STORE", help="folder of the store")
    add(
        "--sessions",
        help="only these, by name or by the beginning of it, as in "
        "dynamic29515-10-12,dynamic29623-4-9 (default: all)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
