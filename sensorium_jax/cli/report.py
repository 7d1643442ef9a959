"""Score a run on every tier again, and write report.json, scores.npz and report.html.

    sensorium-jax report runs/gru_baseline-demo

    sensorium-jax report weights/gru --data STORE        exported or imported weights

Training ends with the same; this is for a run that was stopped, moved, or scored by another
version, and for weights without a run: compare and leaderboard then take their folder as a run.
Scores are correlations, mean over neurons.
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
    """Score, and write the files of a run."""
    from sensorium_jax.cli.programs import use_compilation_cache
    from sensorium_jax.pages.terminal import make_console, show
    from sensorium_jax.runs.ensembles import ensemble
    from sensorium_jax.training.complete import score_and_write

    console = make_console()
    use_compilation_cache(console)
    folder = Path(flags.run)
    trained = ensemble(folder, data=flags.data, devices=flags.devices)
    report = score_and_write(folder, trained, console)
    show(report.table(title=f"{folder.name}: best weights"), console)
    console.print(f"Scores with intervals, neurons, filters: {folder / 'report.html'}")
    return 0


def _parser() -> Parser:
    parser = Parser("report", __doc__)
    add = parser.add_argument
    add("run", metavar="RUN", help="workdir of a run or of an ensemble, or a folder of weights")
    add("--data", metavar="STORE", help="the store, if it is not where the run found it")
    add("--devices", type=int, default=1, metavar="N", help="to predict on (default 1)")
    return parser
