"""Examine recordings or a store: is everything there, sound, and as published?

    sensorium-jax examine RAW                       folder of sessions or zips, or one of them
    sensorium-jax examine STORE                     what prepare made of them
    sensorium-jax examine STORE --raw RAW           and whether they are equal, bit for bit

Counts of trials, neurons and frames are compared with what is known of the release's ten mice;
statistics with recomputed ones; films with each other, to find the family and the clip of every
trial, and clips that leak from one tier, or one mouse, to another. Every trial is read once.

Exit code: 0 if there are no errors (warnings and notes are only told), 1 if there are, 2 if PATH
is neither recordings nor a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Print what is found; 1 if there are errors."""
    from sensorium_jax.files import check_output
    from sensorium_jax.pages import doctor as page
    from sensorium_jax.pages.page import GENERATOR
    from sensorium_jax.pages.terminal import bars, make_console
    from sensorium_jax.prepare import doctor

    raw = Path(flags.raw) if flags.raw else None
    if flags.html:
        check_output(Path(flags.html), GENERATOR.encode(), option="--html")
    with bars(transient=True) as on_trial:
        diagnosis = doctor.examine(Path(flags.path), raw=raw, on_trial=on_trial)
    page.show(diagnosis, make_console())
    if flags.html:
        page.write(diagnosis, Path(flags.html))
        print(f"page: {flags.html}")
    return 0 if diagnosis.healthy else 1


def _parser() -> Parser:
    parser = Parser("examine", __doc__)
    parser.add_argument("path", metavar="PATH", help="recordings or a store")
    parser.add_argument("--raw", metavar="RAW", help="recordings that the store was made from")
    parser.add_argument("--html", metavar="FILE", help="write a page with pictures as well")
    return parser
