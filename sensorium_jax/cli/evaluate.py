"""Score runs, weights or an ensemble on any tier.

    sensorium-jax evaluate runs/gru_baseline-demo
    sensorium-jax evaluate runs/gru_baseline-demo --tier oracle --tier live_test_bonus
    sensorium-jax evaluate runs/a runs/b --json scores.json          their mean prediction
    sensorium-jax evaluate weights/gru --data STORE                  exported or imported weights

Scores are correlations of responses and predictions, mean over neurons. Without --tier every tier
that has public responses is scored. Official units are those of published scores, in which a
constant rate scores above 0 (the floor, shown beside); raw units have no floor. The file of --json
holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax import protocol
from sensorium_jax.cli.parser import UNITS_HELP, Parser
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.scores.units import UNITS


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Print the table; write the report."""
    from sensorium_jax.cli.programs import use_compilation_cache
    from sensorium_jax.files import check_output, write_json
    from sensorium_jax.pages.terminal import bars, make_console, show
    from sensorium_jax.runs.ensembles import ensemble
    from sensorium_jax.scores.evaluate import evaluate_tiers

    if flags.json:
        check_output(Path(flags.json), b'"scores":', b'"means":', option="--json")
    console = make_console()
    use_compilation_cache(console)
    trained = ensemble(*flags.runs, data=flags.data, devices=flags.devices)
    options = {"tiers": flags.tier or protocol.EVALUATION_TIERS, "window": flags.window}
    options["units"] = flags.units
    with bars(console, transient=True) as on_progress:
        options["on_progress"] = on_progress
        report = evaluate_tiers(trained.evaluate, trained.params, trained.recordings, **options)
    show(report.table(title=", ".join(flags.runs)), console)
    if flags.json:
        write_json(Path(flags.json), report.to_json())
        console.print(f"scores: {flags.json}")
    return 0


def _parser() -> Parser:
    parser = Parser("evaluate", __doc__)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="workdirs of runs, or folders of weights")
    add(
        "--tier",
        action="append",
        choices=protocol.TIERS,
        metavar="TIER",
        help=f"{', '.join(protocol.TIERS)}; may be repeated (default: all but train)",
    )
    add("--data", metavar="STORE", help="the store, if it is not where the run found it")
    windows = tuple(protocol.WINDOWS)
    add("--window", choices=windows, default="starter", help="of scored frames (default starter)")
    add("--units", choices=UNITS, help=UNITS_HELP)
    add("--devices", type=int, default=1, metavar="N", help="to predict on (default 1)")
    add("--json", metavar="FILE", help="write every score there too")
    return parser
