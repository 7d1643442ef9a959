"""Set two runs side by side, on the same trials.

    sensorium-jax compare runs/static_baseline-demo runs/gru_baseline-demo

A run is a workdir that was scored. For every tier and mouse: the correlation of both, in single
trials or of averages over repeats, B minus A with its 95 % interval, and the share of neurons that
B predicts better. The interval is over clips and neurons, drawn alike for both runs, so that what
is hard for both does not blur their difference. It says nothing of other mice, or of training again
with another seed.
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
    """Print the table; write the differences."""
    from sensorium_jax.files import check_output, write_json
    from sensorium_jax.pages.terminal import make_console, show
    from sensorium_jax.scores import results
    from sensorium_jax.scores.compare import compare, comparison_table

    if flags.json:
        check_output(Path(flags.json), b'"tier":', b'"better":', option="--json")
    console = make_console()
    with console.status("drawing clips and neurons again"):
        report = results.read_report(Path(flags.run_a))
        options = {"field": flags.score, "units": flags.units or results.units_of(report)}
        differences = compare(flags.run_a, flags.run_b, **options)
    title = f"A: {flags.run_a}\nB: {flags.run_b}"
    options["std_trials"] = report.get("std_trials")
    show(comparison_table(differences, title=title, **options), console)
    if flags.json:
        write_json(Path(flags.json), [d._asdict() for d in differences])
    return 0


def _parser() -> Parser:
    parser = Parser("compare", __doc__)
    add = parser.add_argument
    add("run_a", metavar="RUN_A", help="workdir of a scored run, or a folder of weights")
    add("run_b", metavar="RUN_B", help="workdir of another, on the same recording")
    add("--json", metavar="FILE", help="write the differences there too")
    add("--units", choices=UNITS, help=UNITS_HELP)
    add(
        "--score",
        choices=INTERVAL_SCORES,
        default=SINGLE_TRIAL,
        help="what is compared (default single_trial)",
    )
    return parser
