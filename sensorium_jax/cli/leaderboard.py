"""Rank scored runs beside the published results of the benchmark.

    sensorium-jax leaderboard runs/gru_baseline-demo runs/static_baseline-demo

Correlation on every track, in single trials or of averages over repeats, mean over neurons, best on
the oracle tier first. Published results are on real mice and of other groups' models: the
competition's server scored the five new mice, whose responses are withheld; "own score" is
somebody's evaluation of the public oracle tier, "quoted" a number read in a second source. They
are in official units, and stand beside runs in the same (--units official); the row below such a
run is its floor, what each neuron's mean rate scores. A run on simulated mice is no rival of
theirs, and is marked so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import UNITS_HELP, Parser
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.scores.score import INTERVAL_SCORES, SINGLE_TRIAL
from sensorium_jax.scores.units import UNITS


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Print the board; write it."""
    from sensorium_jax.files import check_output, write_json
    from sensorium_jax.pages.terminal import make_console, show
    from sensorium_jax.scores.published import PUBLISHED, board, entry

    if flags.json:
        check_output(Path(flags.json), b'"runs":', b'"published":', option="--json")
    entries = [entry(folder, units=flags.units) for folder in flags.runs]
    show(board(entries, field=flags.score), make_console())
    if flags.json:
        lists = {"runs": entries, "published": PUBLISHED}
        write_json(Path(flags.json), {k: [e._asdict() for e in v] for k, v in lists.items()})
    return 0


def _parser() -> Parser:
    parser = Parser("leaderboard", __doc__)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="workdirs of scored runs, or folders of weights")
    add("--json", metavar="FILE", help="write the board there too")
    add("--units", choices=UNITS, help=UNITS_HELP)
    add(
        "--score",
        choices=INTERVAL_SCORES,
        default=SINGLE_TRIAL,
        help="what runs are ranked by (default single_trial)",
    )
    return parser
