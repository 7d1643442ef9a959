"""Scored runs beside the published results of the benchmark.

    python -m sensorium_jax.leaderboard RUN [RUN ...] [--score to_average]

Correlation on every track, in single trials or of averages over repeats, mean over neurons, best on
the oracle tier first. Published results are on real mice and of other groups' models: the
competition's server scored the five new mice, whose responses are withheld; "own score" is
somebody's evaluation of the public oracle tier, "quoted" a number read in a second source. A run on
simulated mice is no rival of theirs, and is marked so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sensorium_jax import protocol, results
from sensorium_jax.files import write_json
from sensorium_jax.programs import exit_code
from sensorium_jax.report import ALL, DRAWN, SHOWN, SINGLE_TRIAL

HEADERS = ("oracle", "live\nmain", "final\nmain", "live\nbonus", "final\nbonus")


class Entry(NamedTuple):
    """A line of the board: correlations by tier (those known), and what they are of.

    ``scores`` are in single trials, ``to_average`` of averages over repeats.
    ``kind`` says whose number it is: "server", the competition's answer to a submission; "own
    score", the authors' or their successors' evaluation of the public oracle tier; "quoted", read
    in a second source; or of a run here "yours", or "SIMULATED".
    """

    name: str
    scores: dict[str, float]
    source: str
    kind: str
    to_average: dict[str, float] = {}  # not to be changed


_WARNING = "Published: real mice. Scores on simulated mice are not comparable with them."
_TIERS = protocol.ORACLE, "live_test_main", "final_test_main", "live_test_bonus", "final_test_bonus"
_NTE = "124585083/neural-trajectory-evaluation @784f1b0"
_QUOTED = f"the retrospective, as quoted in {_NTE}"
# Oracle: new mice, frames 50 to 299. Means over neurons or over mice: not everybody says.
PUBLISHED = (
    Entry(
        "DwiseNeuro, 1st",
        dict(zip(_TIERS[1:], (0.3005, 0.2913, 0.2173, 0.2215), strict=True)),
        "lRomul/sensorium, README",
        "server",
    ),
    Entry(
        "its first stage",
        {"final_test_main": 0.2905, "final_test_bonus": 0.2207},
        "lRomul/sensorium, README",
        "server",
    ),
    Entry(
        "ViV1T, 3rd",
        {protocol.ORACLE: 0.2608},
        "bryanlimy/ViV1T, five models, frames 51 to 299",
        "own score",
    ),
    Entry(
        "OmniMouse, more data",
        {"final_test_main": 0.33, "final_test_bonus": 0.30},
        "reading notes on OmniMouse (80M parameters, 323 more recordings), rounded",
        "quoted",
    ),
    Entry("14 factorised", {"final_test_main": 0.197}, f"{_QUOTED}: their ensemble", "quoted"),
    Entry(
        "factorised, seed 42",
        {protocol.ORACLE: 0.1967, "final_test_main": 0.1887},
        f"oracle {_NTE}, final {_QUOTED}",
        "quoted",
        {"final_test_main": 0.3569},
    ),
    Entry(
        "factorised, mean",
        {"final_test_main": 0.1828},
        f"{_QUOTED}: 14 seeds, std 0.0094",
        "quoted",
    ),
    Entry(
        "factorised, Table 1",
        {"final_test_main": 0.164},
        f"{_QUOTED}; why it is below its own 14 seeds is not said",
        "quoted",
        {"final_test_main": 0.321},
    ),
    Entry("half as wide", {protocol.ORACLE: 0.1875}, _NTE, "own score"),
    Entry("static 2D network", {protocol.ORACLE: 0.1644}, _NTE, "own score"),
)


def entry(workdir: str | Path) -> Entry:
    """A scored run.

    Raises:
        UserError: it has no report.
    """
    workdir = Path(workdir).resolve()
    report = results.read_report(workdir)
    single, average = (
        {
            m["tier"]: m[f"{field}_by_neuron"]
            for m in report["means"]
            if m["family"] == ALL and m[f"{field}_by_neuron"] is not None
        }
        for field in DRAWN
    )
    simulated = any(score["single_trial_ceiling"] is not None for score in report["scores"])
    return Entry(workdir.name, single, str(workdir), "SIMULATED" if simulated else "yours", average)


def table(entries: list[Entry], *, field: str = SINGLE_TRIAL) -> Table:
    """For the terminal: the runs, best first, then what is published of this score."""

    def of(entry: Entry) -> dict[str, float]:
        return entry.scores if field == SINGLE_TRIAL else entry.to_average

    published = [e for e in PUBLISHED if of(e)]
    title = f"correlation, {SHOWN[field]}"
    out = Table(title=title, title_justify="left", caption_justify="left")
    out.caption = "\n".join([_WARNING, *(f"{e.name}: {e.source}." for e in published)])
    out.add_column("model")
    for header in HEADERS:
        out.add_column(header, justify="right", no_wrap=True)
    out.add_column("", no_wrap=True)
    for section, style in ((entries, None), (published, "dim")):
        for e in sorted(section, key=lambda e: -of(e).get(protocol.ORACLE, 0)):
            scores = (f"{of(e)[tier]:.4f}" if tier in of(e) else "" for tier in _TIERS)
            out.add_row(e.name, *scores, e.kind, style=style)
        out.add_section()
    return out


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when all is well, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", help="workdirs of scored runs")
    parser.add_argument("--json", metavar="FILE", help="write the board there too")
    parser.add_argument(
        "--score",
        choices=DRAWN,
        default=SINGLE_TRIAL,
        help="what runs are ranked by (single_trial)",
    )
    flags = parser.parse_args(argv)
    return exit_code(lambda: _main(flags))


def _main(flags: argparse.Namespace) -> int:
    entries = [entry(run) for run in flags.runs]
    Console().print(table(entries, field=flags.score))
    if flags.json:
        board = {"runs": entries, "published": PUBLISHED}
        write_json(
            Path(flags.json), {name: [e._asdict() for e in es] for name, es in board.items()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
