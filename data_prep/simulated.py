"""Write simulated mice in the release's raw layout, with their truth beside them.

    python data_prep/simulated.py --out RAW

makes three mice (about 1.1 GB, some twenty seconds) to try the whole package on, without any
download. Convert the folders as you would the real recording.
"""

from __future__ import annotations

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium_jax import protocol, simulate
from sensorium_jax.errors import one_line


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when the mice are written, 2 for bad input."""
    try:
        for path in _write(_parser().parse_args(argv)):
            print(path)
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _write(flags: argparse.Namespace) -> list:
    letters = tuple(flags.mice.split(","))
    demo = {plan.letter: plan.neurons for plan in simulate.DEMO}
    default = max(demo.values())
    neurons = flags.neurons or [demo.get(letter, default) for letter in letters]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("trials", total=None)
        return simulate.write_recording(
            flags.out,
            seed=flags.seed,
            letters=letters,
            neurons=neurons,
            train=flags.train,
            dtype=flags.dtype,
            withhold=flags.withhold,
            on_trial=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", required=True, metavar="RAW", help="folder for the session folders")
    add("--seed", type=int, default=0, help="equal seeds give equal bytes (default 0)")
    add(
        "--mice",
        default="A,B,C",
        help=f"letters of {','.join(protocol.OOD_ASSIGNMENT)}; they choose the out-of-domain "
        "families (default A,B,C)",
    )
    add("--neurons", type=int, help="neurons of every mouse (default 96, 112, 128)")
    add("--train", type=int, default=72, help="train trials of every mouse (default 72)")
    add(
        "--dtype",
        default="float32",
        help="of the arrays: float32, as the release's old mice, or float64 (default float32)",
    )
    add(
        "--withhold",
        action="store_true",
        help="zero the responses of the test tiers, as for the release's new mice",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
